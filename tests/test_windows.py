"""The fast windows against the slow specification, over random logs and every start of a rebuild."""

from typing import NamedTuple

import numpy as np
import pytest
import window_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tickcast.manifest import WindowRules
from tickcast.row_pool import RowPool
from tickcast.windows import MarketState, Tick, Windows

GRID = 3

steps = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.sampled_from("ABC"),
        st.integers(-2, 7),
        st.integers(0, 1),
        st.integers(0, 2),
        st.sampled_from(["", "", "", "", "skip", "reset"]),
    ),
    max_size=40,
)
rules = st.builds(
    oracle.Rules,
    window=st.integers(1, 4),
    replay_records_max=st.integers(3, 20),
    sampling=st.sampled_from(["all", "on_change", "grid"]),
    grid=st.just(GRID),
    max_gap=st.sampled_from([None, 5]),
    order=st.sampled_from(["accept", "skip", "reset"]),
    drop_duplicates=st.booleans(),
    max_symbols=st.sampled_from([None, 1, 2]),
)


class Seen(NamedTuple):
    """What one decision came to: the fate, and the offsets of the window's rows by what they hold."""

    fate: str
    rows: tuple[float, ...]


class Fast:
    """Drives `Windows`, writing each row's own offset into it so that a window shows which rows it holds."""

    def __init__(self, given_rules: oracle.Rules) -> None:
        self.windows = Windows(
            _window_rules(given_rules), ("value",), given_rules.replay_records_max, given_rules.max_symbols or 10**6
        )
        self.rows = RowPool(given_rules.window, 1)

    def step(self, tick: oracle.Tick) -> Seen:
        decision = self.windows.decide(_tick(tick))
        if decision.row is None:
            return Seen("off_market" if tick.market else decision.fate, ())
        window = decision.row.window
        self.rows.push([decision.row], np.array([[tick.offset]], np.float32))
        held = self.rows.newest([window], window.count)
        return Seen(decision.fate, tuple(held[0, :, 0].tolist()))


def _window_rules(given_rules: oracle.Rules) -> WindowRules:
    return WindowRules(
        window=given_rules.window,
        sampling="grid_ms" if given_rules.sampling == "grid" else given_rules.sampling,
        change_columns=("value",),
        grid_ms=given_rules.grid,
        max_gap_s=None if given_rules.max_gap is None else given_rules.max_gap / 1_000,
        order=given_rules.order,
        duplicates="skip" if given_rules.drop_duplicates else "accept",
    )


def _tick(tick: oracle.Tick) -> Tick:
    state: MarketState | None = "crossed" if tick.market else None
    value, cuts = float(tick.value), tick.market == "reset"
    return Tick(tick.offset, tick.symbol, tick.event_time * 1_000_000, (value,), tick.sequence, state, cuts)


def _log(given_steps: list[tuple[int, str, int, int, int, str]]) -> list[oracle.Tick]:
    offset = time = 0
    log = []
    for do, symbol, dt, value, sequence, market in given_steps:
        offset, time = offset + do, time + dt
        log.append(oracle.Tick(offset, symbol, time, value, sequence, market))
    return log


@settings(max_examples=examples(1200), deadline=None)
@given(steps, rules)
def test_every_decision_equals_the_specification(given_steps, given_rules):
    slow, fast = oracle.Windows(given_rules), Fast(given_rules)
    for tick in _log(given_steps):
        fate, rows = slow.step(tick)
        assert fast.step(tick) == (fate, tuple(float(row.offset) for row in rows))


@settings(max_examples=examples(600), deadline=None)
@given(steps, rules)
def test_a_rebuild_from_any_allowed_start_goes_on_as_if_never_stopped(given_steps, given_rules):
    log = _log(given_steps)
    live, facts = Fast(given_rules), {}
    for tick in log:
        facts[tick.offset] = (live.windows.replay_from(tick.offset), live.step(tick))
    for n, (replay_from, _) in facts.items():
        oldest = n - given_rules.replay_records_max
        assert oldest <= replay_from <= n
        for start in {oldest, (oldest + replay_from) // 2, replay_from}:
            rebuilt = Fast(given_rules)
            for tick in log:
                if start <= tick.offset < n:
                    rebuilt.step(tick)
            for tick in log:
                if tick.offset >= n:
                    assert rebuilt.step(tick) == facts[tick.offset][1], (n, start, tick)


@settings(max_examples=examples(600), deadline=None)
@given(steps, rules)
def test_a_tick_that_a_market_state_skips_is_as_if_it_had_never_come(given_steps, given_rules):
    log = [tick._replace(market=tick.market and "skip") for tick in _log(given_steps)]
    dirty, clean = Fast(given_rules), Fast(given_rules)
    for tick in log:
        seen = dirty.step(tick)
        assert tick.market or clean.step(tick) == seen


def test_a_market_state_that_resets_lets_no_window_reach_over_it():
    windows = Fast(oracle.Rules(window=2, replay_records_max=100))
    log = [oracle.Tick(offset, "A", offset, 0, 0, "reset" if offset == 5 else "") for offset in range(10)]
    seen = [windows.step(tick) for tick in log]
    assert [each.fate for each in seen[4:]] == ["forecast", "off_market", "warming", "warming", "warming", "forecast"]
    assert seen[9].rows == (8.0, 9.0)
    assert windows.windows.replay_from(10) == 6


def test_a_reset_of_a_symbol_never_seen_changes_nothing():
    windows = Fast(oracle.Rules(window=2, replay_records_max=100))
    windows.step(oracle.Tick(0, "A", 0, 0, 0))
    windows.step(oracle.Tick(1, "B", 1, 0, 0, "reset"))
    assert (len(windows.windows), windows.windows.replay_from(2)) == (1, 0)


def test_replay_from_is_the_oldest_offset_a_window_rests_on():
    windows = Fast(oracle.Rules(window=3, replay_records_max=100))
    for offset in range(10, 20):
        windows.step(oracle.Tick(offset, "A", offset, 0, 0))
    # Rows 17, 18, 19; row 17 is computed from tick 16, whose sampling decision looked at tick 15.
    assert windows.windows.replay_from(20) == 15


def test_replay_from_of_a_partition_without_ticks_is_its_position():
    assert Fast(oracle.Rules(window=3, replay_records_max=100)).windows.replay_from(7) == 7


def test_more_symbols_than_slots_keep_their_own_needs():
    windows = Fast(oracle.Rules(window=1, replay_records_max=10_000))
    for offset in range(300):
        windows.step(oracle.Tick(offset, f"S{offset}", offset, 0, 0))
    assert len(windows.windows) == 300
    assert windows.windows.replay_from(300) == 0


def test_the_flood_of_symbols_evicts_the_longest_silent_and_counts_it():
    windows = Fast(oracle.Rules(window=1, replay_records_max=10_000, max_symbols=2))
    for offset, symbol in enumerate("ABAC"):
        windows.step(oracle.Tick(offset, symbol, offset, 0, 0))
    assert windows.windows.evicted == 1
    assert windows.step(oracle.Tick(4, "A", 4, 0, 0)).fate == "forecast"
    assert windows.step(oracle.Tick(5, "B", 5, 0, 0)).fate == "warming"


@pytest.mark.parametrize("seconds", [0.25, 1e-9, 86_400.0])
def test_seconds_since_previous_is_the_exact_difference_of_nanoseconds(seconds):
    windows = Windows(WindowRules(window=1), ("value", "seconds_since_previous"), 100, 100)
    start_ns = 1_700_000_000_123_456_789
    windows.decide(Tick(0, "A", start_ns - 5, (0.0,)))
    windows.decide(Tick(1, "A", start_ns, (1.0,)))
    row = windows.decide(Tick(2, "A", start_ns + round(seconds * 1e9), (2.0,))).row
    assert row is not None
    assert (row.previous, row.current) == ((1.0, 0.0), (2.0, seconds))
