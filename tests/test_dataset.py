"""Windows and targets: what the daemon's windows module decides, and nothing over a cut."""

from collections.abc import Sequence
from datetime import time
from pathlib import Path

import numpy as np
import pytest
from tickcast import tick_files
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules
from tickcast.tick_columns import BOOK_COLUMNS, direct
from tickcast.tick_files import Ticks

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
import itertools

from tickcast_export import dataset, simulator
from tickcast_export.dataset import Rows
from tickcast_export.features import TickFeatures

QUOTES_A = Path(__file__).parents[2] / "shared" / "data" / "quotes_a.csv.gz"
SECOND = 1_000_000_000
MID = ("bid", "ask")


def ticks_at(times_s: Sequence[float], symbols: Sequence[str] | None = None) -> Ticks:
    """One tick per time; the bid counts them, so that every mid says which tick it is."""
    names = tuple(dict.fromkeys(symbols or ["A"]))
    count = len(times_s)
    bid = np.arange(count, dtype=np.float64)
    return Ticks(
        BOOK_COLUMNS,
        names,
        np.array([names.index(name) for name in symbols or ["A"] * count], np.int32),
        np.array([round(t * SECOND) for t in times_s], np.int64),
        np.stack([bid, bid + 1, bid + 10, bid + 20], axis=1),
        np.zeros(count, np.int64),
    )


def pairs_of(rows: Rows) -> list[tuple[int, int]]:
    return list(zip(rows.previous.tolist(), rows.current.tolist(), strict=True))


def test_the_first_tick_primes_and_a_gap_starts_a_fresh_run() -> None:
    rows = dataset.cut(ticks_at([0, 1, 2, 3, 100, 101, 102, 103]), WindowRules(window=2, max_gap_s=60))
    assert pairs_of(rows) == [(1, 2), (2, 3), (5, 6), (6, 7)]
    assert rows.run.tolist() == [1, 1, 2, 2]


def test_symbols_are_apart_and_each_one_in_order() -> None:
    rows = dataset.cut(ticks_at([0, 0, 1, 1, 2, 2, 3, 3], list("ABABABAB")), WindowRules(window=2))
    assert pairs_of(rows) == [(2, 4), (4, 6), (3, 5), (5, 7)]
    assert rows.run.tolist() == [1, 1, 2, 2]


def test_time_going_backwards_resets_and_unsampled_ticks_are_stepped_over() -> None:
    backwards = dataset.cut(ticks_at([0, 1, 2, 1, 2, 3, 4]), WindowRules(window=2, order="reset"))
    assert pairs_of(backwards) == [(1, 2), (4, 5), (5, 6)]
    on_grid = dataset.cut(
        ticks_at([0, 0.4, 1.1, 1.2, 1.3, 2.5, 3.5]), WindowRules(window=2, sampling="grid_ms", grid_ms=1000)
    )
    assert pairs_of(on_grid) == [(2, 5), (5, 6)]


def test_ends_have_a_full_window_before_them_and_every_horizon_after_them() -> None:
    rows = dataset.cut(ticks_at([*range(10), *range(100, 106)]), WindowRules(window=3, max_gap_s=60))
    ends = rows.ends(window=3, horizon=2)
    # Run 1 has rows at ticks 2..9, run 2 at ticks 12..15.
    assert rows.current[ends].tolist() == [4, 5, 6, 7]
    assert rows.ends(window=3, horizon=1).tolist() == [2, 3, 4, 5, 6, 10]
    assert rows.ends(window=5, horizon=4).tolist() == []


def test_raw_windows_hold_the_seconds_as_the_windows_module_has_them() -> None:
    rows = dataset.cut(ticks_at([0, 1, 1.25, 3, 3.5]), WindowRules(window=2))
    window = rows.windows(np.array([1]), window=2)
    assert window.shape == (1, 3, 5)
    assert window[0, :, 0].tolist() == [1, 2, 3]
    assert window[0, :, 4].tolist() == [0, 0.25, 1.75]
    assert rows.pairs(np.array([1]))[0, :, 4].tolist() == [0, 1.75]


def test_features_of_rows_equal_those_the_layer_makes_of_whole_windows() -> None:
    rows = dataset.cut(simulator.simulate(300, symbols=2), WindowRules(window=4, max_gap_s=60))
    layer = TickFeatures().adapt(rows.pairs(np.arange(len(rows))))
    ends = rows.ends(window=4, horizon=1)
    gathered = rows.features(layer)[ends[:, None] + np.arange(-3, 1)]
    whole = np.asarray(layer(rows.windows(ends, window=4)))
    np.testing.assert_allclose(gathered, whole, atol=1e-6)


def test_targets_equal_a_slow_reference_on_simulated_ticks() -> None:
    ticks = simulator.simulate(2_000, symbols=3, seed=5)
    rows = dataset.cut(ticks, WindowRules(window=5, max_gap_s=1.0, order="reset"))
    check_against_slow_reference(rows, window=5, horizons=(1, 3, 7), max_gap_s=1.0, every=1)


@pytest.mark.slow
def test_no_window_and_no_target_reaches_over_a_session_break_of_real_quotes() -> None:
    if not QUOTES_A.exists():
        pytest.skip("quotes_a is not there")
    ticks = tick_files.read_all([QUOTES_A], direct())
    rows = dataset.cut(ticks, WindowRules(window=64, max_gap_s=60, order="reset"))
    check_against_slow_reference(rows, window=64, horizons=tuple(range(1, 11)), max_gap_s=60, every=997)
    first_ns, last_ns = rows.span_ns(rows.ends(64, 10), 64, 10)
    breaks = np.flatnonzero(np.diff(ticks.event_time_ns) > 60 * SECOND)
    assert len(breaks) > 15
    for place in breaks:
        before, after = ticks.event_time_ns[place : place + 2]
        assert not ((first_ns <= before) & (last_ns >= after)).any()
    by_day = dataset.split_by_day(rows, 64, 10, time(18))
    assert [len(part) for part in by_day] == [235_172, 35_926, 89_704]


def check_against_slow_reference(
    rows: Rows, window: int, horizons: tuple[int, ...], max_gap_s: float, every: int
) -> None:
    """Walk each symbol's ticks one by one, as the rules' text says, and compare what comes out."""
    ticks = rows.ticks
    runs: list[list[int]] = []
    for symbol in range(len(ticks.symbols)):
        previous = None
        runs.append([])
        for place in np.flatnonzero(ticks.symbol_ids == symbol).tolist():
            gap_ns = 0 if previous is None else int(ticks.event_time_ns[place] - ticks.event_time_ns[previous])
            if previous is None or not 0 <= gap_ns <= max_gap_s * SECOND:
                runs.append([])  # the tick primes: no row, nor anything to compute a row from
            else:
                runs[-1].append(place)
            previous = place
    expected = {}
    for run in runs:
        for at in range(window, len(run) - horizons[-1]):
            mids = [sum(ticks.values[run[at + ahead], :2].tolist()) / 2 for ahead in (0, *horizons)]
            expected[run[at]] = (run[at - window], [mid - mids[0] for mid in mids[1:]])
    ends = rows.ends(window, horizons[-1])
    assert rows.current[ends].tolist() == [place for run in runs for place in run if place in expected]
    some = ends[::every]
    targets = dataset.changes(rows.mid(MID), some, horizons)
    for end, target, raw in zip(some, targets, rows.windows(some, window), strict=True):
        first, changes = expected[int(rows.current[end])]
        assert int(rows.previous[end - window + 1]) == first
        np.testing.assert_array_equal(target, changes)
        assert raw[0, :-1].tolist() == ticks.values[first].tolist()
        assert raw[-1, :-1].tolist() == ticks.values[rows.current[end]].tolist()


def test_a_split_keeps_windows_and_targets_of_its_parts_apart_in_time() -> None:
    rows = dataset.cut(simulator.simulate(3_000, symbols=2), WindowRules(window=8, max_gap_s=60))
    split = dataset.split_by_share(rows, 8, 5)
    spans = [rows.span_ns(part, 8, 5) for part in split]
    for (_, last_ns), (first_ns, _) in itertools.pairwise(spans):
        assert last_ns.max() < first_ns.min()
    shares = np.array([len(part) for part in split]) / sum(len(part) for part in split)
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.02)
    assert len(rows.ends(8, 5)) - sum(len(part) for part in split) <= 2 * 2 * (8 + 5)


def test_a_split_by_day_cuts_where_the_trading_day_begins() -> None:
    hour = 3_600
    times = [day * 24 * hour + start * hour + second for day in range(3) for start in (20, 33) for second in range(9)]
    rows = dataset.cut(ticks_at(times), WindowRules(window=2, max_gap_s=60))
    split = dataset.split_by_day(rows, 2, 1, time(18))
    # Each trading day: an evening and the next morning, 18 ticks, in two runs.
    for day, part in enumerate(split):
        assert {int(place) // 18 for place in rows.current[part]} == {day}
    with pytest.raises(UsageError, match="the ticks are of 1 days; at least 3 are needed"):
        dataset.split_by_day(dataset.cut(ticks_at(range(9)), WindowRules(window=2)), 2, 1, time(0))


def test_too_few_ticks_for_a_part_are_refused_by_name() -> None:
    rows = dataset.cut(ticks_at(range(30)), WindowRules(window=8))
    with pytest.raises(UsageError, match="no window of 8 rows and 10 ticks ahead for train"):
        dataset.split_by_share(rows, 8, 10)


def test_watching_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no column last"):
        dataset.cut(ticks_at(range(3)), WindowRules(window=2, sampling="on_change", change_columns=("last",)))
