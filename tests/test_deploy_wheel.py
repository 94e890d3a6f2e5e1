"""The wheel that an image installs, made from the checkout: all of the two packages, and nothing else."""

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from deployments import ROOT
from tickcast import __version__

WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
# Where in the wheel -> which folder of the checkout.
FOLDERS = {Path(package).name: ROOT / package for package in WHEEL["packages"]}
FOLDERS |= {target: ROOT / source for source, target in WHEEL.get("force-include", {}).items()}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the wheel's files."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"tickcast-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_packages_is_in_it_and_none_beside(names):
    """Pages and units too, which are no Python."""
    wanted = {
        str(Path(target) / path.relative_to(folder))
        for target, folder in FOLDERS.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert {"tickcast/__main__.py", "tickcast/py.typed", "tickcast_export/report.html"} <= wanted


def test_it_brings_the_command_that_is_the_image_s_entry_point_and_its_licence(names):
    assert f"tickcast-{__version__}.dist-info/entry_points.txt" in names
    assert f"tickcast-{__version__}.dist-info/licenses/LICENSE" in names
