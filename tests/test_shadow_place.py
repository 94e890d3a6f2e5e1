"""A bundle becomes the shadow: the folders hold what is in force and it, whatever was promoted, broken off or there."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import manifest_with
from tickcast import manifest, shadow_place
from tickcast.config import ModelConfig
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import MANIFEST_NAME, WindowRules, sealed
from tickcast.shadow_place import Placed

FITTING = {"reference_columns": ("bid", "ask")}


def bundle(folder: Path, version: str, window: int = 4) -> str:
    """A folder with a manifest; its sha256."""
    folder.mkdir(parents=True)
    made = sealed(manifest_with(version=version, rules=WindowRules(window=window), **FITTING))
    (folder / MANIFEST_NAME).write_text(made.model_dump_json())
    return manifest.read(folder)[1]


class Place:
    """A host's folders, with one bundle in force."""

    def __init__(self, folder: Path) -> None:
        self.live, self.candidate = folder / "live", folder / "candidate"
        self.folder = folder
        self.first = bundle(self.live, "1")

    def put(self, candidate: Path, is_promoted: bool = False) -> Placed:
        written = ModelConfig(bundle=self.live, shadow=self.candidate)
        applied = ModelConfig(bundle=self.candidate, shadow=self.live) if is_promoted else written
        return shadow_place.put(candidate, written, applied, "windowed")

    def held(self) -> dict[str, str]:
        """Version by folder; nothing else lies there."""
        return {each.name: manifest.read(each)[0].version for each in sorted(self.folder.iterdir())}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    def load(folder: Path) -> SimpleNamespace:
        read, sha256 = manifest.read(folder)
        return SimpleNamespace(manifest=read, sha256=sha256)

    monkeypatch.setattr(shadow_place.bundle, "load", load)  # these have no graphs
    return Place(tmp_path / "bundles")


def test_the_first_shadow_is_a_copy_of_what_was_exported(place: Place, tmp_path: Path) -> None:
    second = bundle(tmp_path / "desk-2", "2")
    assert place.put(tmp_path / "desk-2") == Placed(place.first, second, True)
    assert place.held() == {"live": "1", "candidate": "2"}
    assert manifest.read(tmp_path / "desk-2")[1] == second


def test_a_shadow_that_was_not_promoted_makes_way(place: Place, tmp_path: Path) -> None:
    for version in ("2", "3"):
        bundle(tmp_path / version, version)
        place.put(tmp_path / version)
    assert place.held() == {"live": "1", "candidate": "3"}


def test_what_was_promoted_comes_to_lie_where_the_bundle_in_force_does_and_one_before_it_is_kept(
    place: Place, tmp_path: Path
) -> None:
    for version in ("2", "3", "4"):
        bundle(tmp_path / version, version)
    place.put(tmp_path / "2")
    assert place.put(tmp_path / "3", is_promoted=True).in_force == manifest.read(tmp_path / "2")[1]
    assert place.held() == {"live": "2", "candidate": "3", "live.previous": "1"}
    place.put(tmp_path / "4", is_promoted=True)
    assert place.held() == {"live": "3", "candidate": "4", "live.previous": "2"}


def test_the_same_one_again_changes_nothing(place: Place, tmp_path: Path) -> None:
    """As where several daemons' hosts share a folder, or a nightly job is repeated."""
    bundle(tmp_path / "2", "2")
    first = place.put(tmp_path / "2")
    assert place.put(tmp_path / "2") == first._replace(changed=False)


def test_a_run_that_was_broken_off_leaves_nothing_in_the_way(place: Place, tmp_path: Path) -> None:
    bundle(tmp_path / "2", "2")
    for name in (".candidate.new", ".candidate.old", "candidate"):
        (place.folder / name).mkdir()
        (place.folder / name / "half").write_text("")
    place.put(tmp_path / "2")
    assert place.held() == {"live": "1", "candidate": "2"}


def test_a_bundle_beside_the_shadow_is_not_taken_for_a_copy_of_one(place: Place) -> None:
    bundle(place.folder / "candidate.new", "2")
    place.put(place.folder / "candidate.new")
    assert place.held() == {"live": "1", "candidate": "2", "candidate.new": "2"}


def test_links_are_moved_and_what_they_lead_to_stays(place: Place, tmp_path: Path) -> None:
    for version in ("2", "3"):
        bundle(tmp_path / version, version)
    place.candidate.symlink_to(tmp_path / "2")
    place.put(tmp_path / "3")
    assert place.held() == {"live": "1", "candidate": "3"}
    assert manifest.read(tmp_path / "2")[0].version == "2"


def test_at_no_moment_a_folder_of_a_daemon_holds_a_part_of_a_bundle(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2", "3"):
        bundle(tmp_path / version, version)
    place.put(tmp_path / "2")
    written: list[str] = []

    def noted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*folders: Path) -> Any:
            written.append(folders[-1].name)
            return real(*folders)

        return call

    for name in ("copytree", "rmtree"):
        monkeypatch.setattr(shadow_place.shutil, name, noted(getattr(shadow_place.shutil, name)))
    place.put(tmp_path / "3")
    assert written == [".candidate.new", ".candidate.old"]


def test_where_the_shadow_cannot_be_moved_everything_is_as_it_was(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2", "3"):
        bundle(tmp_path / version, version)
    place.put(tmp_path / "2")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "candidate":
            raise OSError(18, "Invalid cross-device link", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UsageError, match="candidate: cannot be written: Invalid cross-device link"):
        place.put(tmp_path / "3", is_promoted=True)
    held = {each.name: manifest.read(each)[0].version for each in place.folder.iterdir() if each.name[0] != "."}
    assert held == {"live": "1", "candidate": "2"}


def test_a_bundle_that_changes_while_it_is_copied_does_not_become_the_shadow(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2", "3"):
        bundle(tmp_path / version, version)
    copytree = shadow_place.shutil.copytree
    monkeypatch.setattr(shadow_place.shutil, "copytree", lambda source, to: copytree(tmp_path / "3", to))
    with pytest.raises(BundleError, match="while it was copied"):
        place.put(tmp_path / "2")
    assert not place.candidate.exists()


def test_a_bundle_that_may_not_be_a_shadow_there_is_refused_and_nothing_moves(place: Place, tmp_path: Path) -> None:
    bundle(tmp_path / "longer", "2", window=5)
    with pytest.raises(BundleError, match="its window rules"):
        place.put(tmp_path / "longer")
    with pytest.raises(UsageError, match="in force already"):
        place.put(place.live)
    alone = ModelConfig(bundle=place.live)
    with pytest.raises(UsageError, match=r"set models\.shadow"):
        shadow_place.put(tmp_path / "longer", alone, alone, "windowed")
    assert place.held() == {"live": "1"}


def test_a_folder_that_cannot_be_written_is_named(place: Place, tmp_path: Path) -> None:
    bundle(tmp_path / "2", "2")
    (tmp_path / "file").write_text("")
    entry = ModelConfig(bundle=place.live, shadow=tmp_path / "file" / "candidate")
    with pytest.raises(UsageError, match="file: cannot be written"):
        shadow_place.put(tmp_path / "2", entry, entry, "windowed")
