"""Whole under its name, or not there; and what cannot be written is said with that name."""

from pathlib import Path

import pytest
from tickcast import whole_files
from tickcast.errors import UsageError


def test_under_its_name_there_is_nothing_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    with whole_files.replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("made.csv", "whole")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_raises_leaves_what_was_there(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    path.write_text("before")
    with pytest.raises(error), whole_files.replacing(path) as part:  # noqa: PT012 - what is written counts
        part.write_text("half")
        raise error
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("made.csv", "before")]


def test_an_error_that_is_not_about_the_file_is_not_put_down_to_it(tmp_path: Path) -> None:
    """A broken connection is an OSError too."""
    with pytest.raises(ConnectionResetError), whole_files.replacing(tmp_path / "made.csv"):
        raise ConnectionResetError(104, "reset by peer")


def test_a_name_that_turned_into_a_folder_meanwhile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"

    def written() -> None:
        with whole_files.replacing(path) as part:
            part.write_text("whole")
            path.mkdir()

    with pytest.raises(UsageError, match=r"^[^:]*/made\.csv: cannot be written: "):
        written()
    assert list(tmp_path.iterdir()) == [path]


def test_kinds_are_told_by_the_end_of_the_name() -> None:
    kinds = {".csv": 1, ".csv.gz": 2}
    assert [whole_files.chosen(Path(name), kinds, "a file of ticks") for name in ("a.csv", "a.b.csv.gz")] == [1, 2]
    with pytest.raises(UsageError, match=r"a\.txt: not a file of ticks by its name: \.csv, \.csv\.gz"):
        whole_files.chosen(Path("a.txt"), kinds, "a file of ticks")


def test_a_place_that_takes_no_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    whole_files.check_place(tmp_path / "made.csv")
    for path, why in ((tmp_path, "a folder"), (tmp_path / "absent" / "made.csv", "there is no such folder")):
        with pytest.raises(UsageError, match=why):
            whole_files.check_place(path)


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_files.os, "access", lambda folder, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match="takes no new files"):
        whole_files.check_place(tmp_path / "made.csv")
