"""Tick files written are the ticks that are read from them, and never half a file."""

import gzip
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import tick_columns, tick_files, tick_output
from tickcast.errors import MissingExtraError, UsageError
from tickcast.tick_output import Shape
from tickcast.windows import Tick

NAMES = ["ticks.csv", "ticks.csv.gz", "ticks.parquet"]
BOTH = ("bid", "ask")

numbers = st.floats(allow_nan=False, allow_infinity=False)
symbols = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)
ticks = st.lists(st.tuples(symbols, st.integers(0, 2**62), numbers), min_size=1, max_size=20)


def written(path: Path, rows: Iterable[Tick], shape: Shape) -> Path:
    with tick_output.opened(path, shape) as output:
        for row in rows:
            output.add(row)
    return path


def read(path: Path, shape: Shape) -> list[Tick]:
    mapping = tick_columns.choose(
        tick_files.header(path), shape.columns, sequence=tick_output.SEQUENCE if shape.with_sequence else ""
    )
    return list(tick_files.read_all([path], mapping))


@pytest.mark.parametrize("name", NAMES)
@given(ticks, st.booleans())
def test_ticks_are_read_back_bit_for_bit(
    name: str, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, float]], with_sequence: bool
) -> None:
    path = tmp_path_factory.mktemp("made") / name
    shape = Shape(BOTH, with_sequence)
    made = [
        Tick(number, symbol, time_ns, (value, -value), number if with_sequence else 0)
        for number, (symbol, time_ns, value) in enumerate(rows)
    ]
    assert read(written(path, made, shape), shape) == made


@pytest.mark.parametrize("name", NAMES)
def test_more_ticks_than_are_held_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_output, "ROWS_AT_ONCE", 7)
    made = [Tick(number, "A", number, (number, 1.0)) for number in range(50)]
    assert read(written(tmp_path / name, made, Shape(BOTH, False)), Shape(BOTH, False)) == made


def test_the_header_has_the_names_that_training_takes_by_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "ticks.csv.gz", [Tick(0, "A", 5, (1.0, 2.5), 9)], Shape(BOTH, True))
    assert gzip.decompress(path.read_bytes()).decode() == "event_time_ns,symbol,sequence,bid,ask\n5,A,9,1.0,2.5\n"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_of_a_file_that_was_not_finished(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("of yesterday")
    with pytest.raises(ZeroDivisionError):
        written(path, (Tick(number, "A", 0, (1.0, 2 / number)) for number in (1, 0)), Shape(BOTH, False))
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.read_text() == "of yesterday"


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "ticks.txt", "not a tick file by its name"),
        (tmp_path / "absent" / "ticks.csv", "there is no such folder"),
        (tmp_path, "not a tick file"),
    ):
        with pytest.raises(UsageError, match=why):
            tick_output.check(path)


class Full:
    """A disk with no room left."""

    def __init__(self, path: Path, shape: Shape) -> None:
        path.write_text("")

    def write(self, ticks: Sequence[Tick]) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


def test_a_full_disk_is_said_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tick_output.ROWS, ".csv", Full)
    with pytest.raises(UsageError, match=r"full\.csv: cannot be written: No space left"):
        written(tmp_path / "full.csv", [Tick(0, "A", 0, (1.0, 2.0))], Shape(BOTH, False))
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match="or write CSV"):
        tick_output.check(tmp_path / "ticks.parquet")
