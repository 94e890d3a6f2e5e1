"""Which of the ticks the demo trains on and which it plays."""

from pathlib import Path

import numpy as np
import pytest
from tickcast import tick_columns, tick_files
from tickcast.errors import TickFileError
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast.tick_files import Ticks
from tickcast_export import demo_ticks
from tickcast_export.demo_ticks import Pace

SECOND_NS = 10**9


def _ticks(symbol_ids: list[int], seconds: list[float]) -> Ticks:
    count = len(seconds)
    names = tuple(f"S{i}" for i in range(max(symbol_ids) + 1))
    times = (np.array(seconds) * SECOND_NS).astype(np.int64)
    values = np.column_stack([np.arange(count), np.arange(count) + 1.0, np.ones(count), np.ones(count)])
    return Ticks(BOOK_COLUMNS, names, np.array(symbol_ids, np.int32), times, values, np.zeros(count, np.int64))


def _file(folder: Path, ticks: Ticks) -> Path:
    path = folder / "quotes.csv"
    tick_files.write_csv(path, ticks)
    return path


def test_the_last_ticks_are_played_and_those_before_them_train(tmp_path: Path) -> None:
    path = _file(tmp_path, _ticks([0] * 100, list(range(100))))
    found = demo_ticks.from_file(path, tick_columns.direct(), Pace(duration_s=2, ticks_per_s=10))
    assert found.played.values[:, 0].tolist() == list(range(80, 100))
    assert found.train.values[:, 0].tolist() == list(range(80))
    assert not found.simulated
    assert found.source == "quotes.csv"
    assert found.note == "100 ticks; of the one symbol the last 20 are played, the 80 before them train the model"


def test_a_short_file_keeps_most_of_its_ticks_to_train_on(tmp_path: Path) -> None:
    path = _file(tmp_path, _ticks([0] * 100, list(range(100))))
    found = demo_ticks.from_file(path, tick_columns.direct(), Pace(duration_s=20, ticks_per_s=500))
    assert (len(found.train), len(found.played)) == (70, 30)


def test_a_long_file_is_capped_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_ticks, "TRAIN_TICKS_MAX", 30)
    monkeypatch.setattr(demo_ticks, "PLAYED_TICKS_MAX", 5)
    monkeypatch.setattr(tick_files.chunks, "__defaults__", (10,))
    path = _file(tmp_path, _ticks([0] * 100, list(range(100))))
    found = demo_ticks.from_file(path, tick_columns.direct(), Pace(duration_s=100, ticks_per_s=100))
    assert found.played.values[:, 0].tolist() == list(range(95, 100))
    assert found.train.values[:, 0].tolist() == list(range(65, 95))
    assert found.note.startswith("100 ticks; ")


def test_only_the_busiest_symbols_of_a_wide_file_are_taken(tmp_path: Path) -> None:
    busy = [i % 20 for i in range(200)] + [i % demo_ticks.SYMBOLS_MAX for i in range(200)]
    path = _file(tmp_path, _ticks(busy, list(range(400))))
    found = demo_ticks.from_file(path, tick_columns.direct(), Pace(duration_s=1, ticks_per_s=50))
    ids = np.concatenate([found.train.symbol_ids, found.played.symbol_ids])
    assert sorted(set(ids.tolist())) == list(range(demo_ticks.SYMBOLS_MAX))
    assert f"of {demo_ticks.SYMBOLS_MAX} symbols" in found.note


def test_at_recorded_pace_as_many_ticks_are_played_as_fit_the_time() -> None:
    ticks = _ticks([0] * 6, [0, 1000, 1000.5, 1001, 1001.5, 1002])
    assert Pace(1.0, 0).last(ticks) == 3  # and the two gaps of half a second before it
    assert Pace(1.0, 0, speed=2).last(ticks) == 5
    assert Pace(3.0, 0).last(ticks) == 6  # the long silence counts as one second


def test_pace_is_told_alike_to_people_and_to_replay() -> None:
    assert Pace(1, 250).options() == ["--rate", "250"]
    assert Pace(1, 250).text() == "250 ticks a second"
    assert Pace(1, 0, 4).options()[:2] == ["--speed", "4"]
    assert Pace(1, 0, 4).text() == "4 times recorded pace"
    assert Pace(1, 0).text() == "recorded pace"


def test_simulated_ticks_are_the_same_for_the_same_seed_and_said_to_be_simulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_ticks, "SIMULATED_TRAIN_TICKS", 400)
    first, again, other = (demo_ticks.simulated(Pace(2, 50), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.played.values, again.played.values)
    assert not np.array_equal(first.played.values, other.played.values)
    assert len(first.played) == 100
    assert first.simulated
    assert "simulated" in first.source


def test_an_empty_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("event_time_ns,symbol,bid,ask,bid_size,ask_size\n")
    with pytest.raises(TickFileError, match=r"empty\.csv: no ticks"):
        demo_ticks.from_file(path, tick_columns.direct(), Pace(1, 1))
