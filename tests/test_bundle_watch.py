"""When a folder counts as holding another bundle."""

from pathlib import Path

import pytest
from tickcast.bundle_watch import BundleWatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bundle(tmp_path / "bundle", "old")


def bundle(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(text)
    (folder / "window.onnx").write_text(text)
    return folder


def test_a_folder_that_stays_as_it_is_holds_no_other_bundle(folder: Path):
    watch = BundleWatch(folder)
    assert [watch.changed() for _ in range(3)] == [False, False, False]


def test_a_folder_replaced_by_renaming_is_noticed_once(folder: Path):
    watch = BundleWatch(folder)
    new = bundle(folder.with_name("new"), "new")
    folder.rename(folder.with_name("gone"))
    new.rename(folder)
    assert [watch.changed() for _ in range(4)] == [False, True, False, False]


def test_a_link_to_another_folder_is_noticed(folder: Path):
    link = folder.with_name("current")
    link.symlink_to(folder)
    watch = BundleWatch(link)
    bundle(folder.with_name("new"), "new")
    link.unlink()
    link.symlink_to(folder.with_name("new"))
    assert [watch.changed() for _ in range(3)] == [False, True, False]


def test_a_folder_that_is_away_for_a_moment_is_waited_for(folder: Path):
    watch = BundleWatch(folder)
    folder.rename(folder.with_name("gone"))
    assert [watch.changed() for _ in range(3)] == [False, False, False]
    bundle(folder, "new")
    assert [watch.changed() for _ in range(3)] == [False, True, False]


def test_the_same_files_back_again_are_no_other_bundle(folder: Path):
    watch = BundleWatch(folder)
    gone = folder.with_name("gone")
    folder.rename(gone)
    watch.changed()
    gone.rename(folder)
    assert [watch.changed() for _ in range(3)] == [False, False, False]


def test_a_bundle_that_is_being_copied_in_is_waited_for(folder: Path):
    watch = BundleWatch(folder)
    found = []
    for text in ("a", "ab", "abc"):
        (folder / "window.onnx").write_text(text)
        found.append(watch.changed())
    assert [*found, watch.changed(), watch.changed()] == [False, False, False, True, False]


def test_what_is_loaded_by_other_means_is_not_noticed_again(folder: Path):
    watch = BundleWatch(folder)
    (folder / "window.onnx").write_text("longer")
    watch.follow(folder)
    assert [watch.changed() for _ in range(3)] == [False, False, False]
