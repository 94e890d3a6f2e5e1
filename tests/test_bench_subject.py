"""What a bench is about, and what it needs for that."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from factories import manifest_with
from tickcast import bench_subject, tick_columns, tick_files
from tickcast.bundle import Bundle, Golden
from tickcast.errors import MissingExtraError, UsageError
from tickcast.tick_files import Ticks


def _bundle() -> Bundle:
    golden = Golden(np.zeros((1, 4, 2)), np.zeros((1, 2), np.float32), np.array(["real"]))
    return Bundle(Path("small"), manifest_with(), "", {}, golden)


def _file(path: Path, *columns: str) -> Path:
    count = 50
    ticks = Ticks(
        columns=columns,
        symbols=("A",),
        symbol_ids=np.zeros(count, np.int32),
        event_time_ns=np.arange(count, dtype=np.int64),
        values=np.ones((count, len(columns))),
        sequence=np.zeros(count, np.int64),
    )
    tick_files.write_csv(path, ticks)
    return path


def test_a_subject_gives_the_same_ticks_to_everything_that_is_compared():
    subject = bench_subject.simulated(_bundle(), None, symbols=7, seed=1)
    assert subject.feed().take(20) == subject.feed().take(20)
    assert subject.name == "foreign, window 4, 7 symbols"


def test_a_tick_file_is_asked_for_the_bundle_s_columns(tmp_path):
    path = _file(tmp_path / "ticks.csv", "bid", "ask")
    mapping = tick_columns.choose(tick_files.header(path), ("bid", "ask"))
    subject = bench_subject.recorded(_bundle(), None, path, mapping)
    assert not subject.simulated
    assert len(subject.feed().take(100)) == 50


def test_a_tick_file_without_a_column_of_the_bundle_is_refused(tmp_path):
    path = _file(tmp_path / "ticks.csv", "bid")
    mapping = tick_columns.choose(tick_files.header(path), ("bid",))
    with pytest.raises(UsageError, match=r"the bundle needs columns ask; name them with --map"):
        bench_subject.recorded(_bundle(), None, path, mapping)


@pytest.mark.parametrize("library", bench_subject.EXPORT_LIBRARIES)
def test_a_family_without_the_extra_export_says_what_to_install(library, monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else found(name))
    with pytest.raises(
        MissingExtraError, match=rf"--family additive` needs {library}: pip install 'tickcast\[export\]'"
    ):
        bench_subject.of_family("additive", [8], 1, tmp_path)
