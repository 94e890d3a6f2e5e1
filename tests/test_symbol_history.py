"""What is remembered of a symbol, and what it is worth: errors, changes, rates; and that it stays bounded."""

import itertools
import math
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import symbol_history
from tickcast.symbol_history import Histories, Shape, SymbolHistory
from tickcast.tape_reader import Entry

HORIZONS = (1, 3)
SHAPE = Shape(HORIZONS, window=16)
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def entry(
    position: int,
    mid: float | None = 100.0,
    forecast: tuple[float, ...] = (0.0, 0.0),
    symbol: str = "A",
    at_s: float = 0.0,
) -> Entry:
    now_ns = START_NS + round(at_s * 1e9)
    return Entry(symbol, "finish" if forecast else "none", position, now_ns - 1_000, now_ns, mid, forecast)


def history(*entries: Entry, keep: int = 100, shape: Shape = SHAPE) -> SymbolHistory:
    made = SymbolHistory("A", shape)
    for each in entries:
        made.take(each, keep)
    return made


def test_a_forecast_is_compared_with_the_tick_it_was_about() -> None:
    found = history(entry(20, 100.0, (0.0, 2.0)), entry(21, 101.0), entry(22, 101.0), entry(23, 103.0))
    assert found.error == pytest.approx(1.0)  # forecast +2, happened +3
    assert found.relative == pytest.approx(1 - 1 / 9)


def test_nothing_is_compared_over_a_gap_in_the_positions() -> None:
    found = history(entry(20, 100.0, (0.0, 2.0)), entry(21), entry(23), entry(24))
    assert found.error is None


def test_a_tick_without_a_forecast_or_a_mid_is_not_compared_and_does_not_break_the_run() -> None:
    found = history(
        entry(20, 100.0, ()), entry(21, None, (0.0, 1.0)), entry(22, 100.0, (0.0, 1.0)), *map(entry, (23, 24))
    )
    assert found.error is None
    found.take(entry(25, 101.0), 100)
    assert found.error == 0.0


def test_a_symbol_that_comes_back_with_positions_counted_anew_starts_anew() -> None:
    found = history(*(entry(position, 100.0 + position) for position in range(40, 60)), entry(15, 7.0), entry(16, 8.0))
    path = found.path(240)
    assert list(path.positions) == [15, 16]
    assert list(path.mids) == [7.0, 8.0]
    assert len(path.forecasts) == 2 * len(HORIZONS)


def test_horizons_as_long_as_the_window_are_not_compared() -> None:
    entries = [entry(position, 100.0 + position) for position in range(20, 40)]
    assert history(*entries, shape=Shape(HORIZONS, window=3)).error == pytest.approx(1.0)  # one ahead only
    assert history(*entries, shape=Shape(HORIZONS, window=1)).error is None


def test_old_errors_are_forgotten() -> None:
    found = history(*(entry(20 + index, 100.0, (0.0, 5.0)) for index in range(1_000)))
    assert found.error == pytest.approx(5.0)
    for index in range(3_000):
        found.take(entry(1_020 + index, 100.0, (0.0, 0.1)), 100)
    assert found.error == pytest.approx(0.1, rel=0.1)


def test_the_change_is_over_the_last_minute_and_zero_for_who_was_silent() -> None:
    found = history(entry(20, 100.0, at_s=0), entry(21, 105.0, at_s=30), entry(22, 107.0, at_s=50))
    assert found.change(START_NS + 50 * SECOND_NS) == 7.0
    assert found.change(START_NS + 105 * SECOND_NS) == 2.0
    assert found.change(START_NS + 600 * SECOND_NS) == 0.0
    found.take(entry(23, 110.0, at_s=600), 100)
    assert found.change(START_NS + 600 * SECOND_NS) == 3.0


def test_a_symbol_without_any_mid_has_no_change() -> None:
    assert history(entry(20, None)).change(START_NS) is None


def test_the_rate_is_of_the_last_seconds() -> None:
    entries = [entry(20 + index, at_s=index / 5) for index in range(150)]  # 30 s at five a second
    found = history(*entries)
    assert found.ticks_per_s(START_NS + 30 * SECOND_NS) == pytest.approx(5.0, rel=0.05)
    assert found.ticks_per_s(START_NS + 35 * SECOND_NS) == pytest.approx(2.5, rel=0.05)
    assert found.ticks_per_s(START_NS + 60 * SECOND_NS) == 0.0


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=300), st.integers(5, 30))
def test_a_path_is_the_newest_points_in_order_whatever_is_forgotten(steps: list[tuple[int, bool]], keep: int) -> None:
    position, entries = 15, []
    for step, is_long in steps:
        position += step if is_long else 1
        entries.append(entry(position, float(position), (float(position), -float(position))))
    found = history(*entries, keep=keep)
    if not entries:
        return
    path = found.path(1_000_000)
    wanted = [each.position for each in entries[-len(path.positions) :]]
    assert list(path.positions) == wanted
    assert len(wanted) >= min(keep, len(entries))
    assert len(wanted) < 2 * keep
    assert list(path.mids) == [float(each) for each in wanted]
    assert list(path.forecasts) == [value for each in wanted for value in (float(each), -float(each))]
    assert list(found.path(10).positions) == [each for each in wanted if each > position - 10]


def test_ten_thousand_symbols_take_no_more_points_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_history, "POINTS_MAX", 4_000)
    few, many = Histories(SHAPE), Histories(SHAPE)
    few.take(entry(20 + index) for index in range(9_000))
    many.take(entry(20 + index, symbol=f"S{symbol}") for index in range(50) for symbol in range(400))
    [only] = few.all()
    assert len(only.path(10**6).positions) <= 2 * symbol_history.PATH_POINTS_MAX
    assert sum(len(each.path(10**6).positions) for each in many.all()) <= 2 * 4_000
    assert all(len(each.path(10**6).positions) >= max(HORIZONS) + 2 for each in many.all())


def test_of_a_symbol_that_is_looked_at_more_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_history, "POINTS_MAX", 100)
    both = Histories(SHAPE)
    both.take(entry(20, symbol=symbol) for symbol in "AB")
    watched = both.get("A")
    assert watched is not None
    watched.is_watched = True
    both.take(entry(21 + index, symbol=symbol) for index in range(500) for symbol in "AB")
    lengths = {each.symbol: len(each.path(10**6).positions) for each in both.all()}
    assert lengths["A"] == 501
    assert lengths["B"] <= 100


def test_of_too_many_symbols_those_that_ticked_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_history, "SYMBOLS_MAX", 3)
    found = Histories(SHAPE)
    found.take(entry(20, symbol=symbol) for symbol in "ABCADE")
    assert [each.symbol for each in found.all()] == ["A", "D", "E"]


def test_with_far_horizons_fewer_symbols_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_history, "SCORED_POINTS_MAX", 1_000)
    histories = Histories(Shape((1, 98), window=128))
    histories.take(entry(position, symbol=f"S{number}") for number in range(15) for position in range(3))
    assert [each.symbol for each in histories.all()] == [f"S{number}" for number in range(5, 15)]


def test_a_broken_price_does_not_stay_in_the_error() -> None:
    mids = [100.0, 101.0, 1e300, -1e300, 104.0, 105.0, 106.0, 107.0, 108.0, 109.0]
    made = history(*(entry(position, mid) for position, mid in enumerate(mids)))
    assert made.error == pytest.approx(3.0)
    assert made.relative == pytest.approx(0.0)


def test_a_change_can_be_asked_for_while_ticks_come() -> None:
    made = history(entry(0))
    done = threading.Event()

    def take() -> None:
        for step in itertools.count(1):
            made.take(entry(step, at_s=10.0 * step), 100)  # a mark each
            if done.is_set():
                return

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    taker = threading.Thread(target=take)
    taker.start()
    try:
        long_after_ns = 2 * START_NS  # so that every mark is looked at
        changes = {made.change(long_after_ns) for _ in range(20_000)}
    finally:
        done.set()
        taker.join()
        sys.setswitchinterval(interval_s)
    assert changes == {0.0}


def test_a_mid_that_is_missing_is_a_gap_in_the_path() -> None:
    path = history(entry(20, 1.0), entry(21, None, ())).path(10)
    assert math.isnan(path.mids[1])
    assert all(math.isnan(value) for value in path.forecasts[2:])
