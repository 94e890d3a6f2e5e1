"""Where carried states start anew: everywhere the same, wherever a rebuild started."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tickcast.anchored_windows import AnchoredWindows
from tickcast.manifest import WindowRules
from tickcast.windows import Row, SymbolWindow, Tick

Step = tuple[int, str, int, bool]  # offsets to the next tick, symbol, milliseconds, whether its market state resets

# A few symbols, so that not every offset is needed by one of them.
steps = st.sampled_from(["A", "AAAAB", "ABC"]).flatmap(
    lambda symbols: st.lists(
        st.tuples(
            st.integers(1, 2), st.sampled_from(symbols), st.integers(-1, 7), st.sampled_from([False] * 9 + [True])
        ),
        min_size=10,
        max_size=60,
    )
)
rules = st.builds(
    WindowRules,
    window=st.integers(2, 4),
    max_gap_s=st.sampled_from([None, 0.005]),
    order=st.sampled_from(["accept", "skip", "reset"]),
)


class Followed:
    """Drives windows, and keeps as each symbol's state the offsets of its anchor's window and of all rows since."""

    def __init__(self, given_rules: WindowRules, reach: int, interval: int, symbols_max: int, publish_from: int = 0):
        self.windows = AnchoredWindows(given_rules, ("value",), reach, symbols_max, interval, publish_from)
        self._length = given_rules.window
        self._rows: dict[SymbolWindow, list[int]] = {}
        self._states: dict[SymbolWindow, tuple[int, ...] | None] = {}

    def step(self, tick: Tick) -> tuple[str, tuple[int, ...] | None]:
        """What becomes of the tick, and the state after it if it is due."""
        fate, row = (decision := self.windows.decide(tick)).fate, decision.row
        if row is None:
            return fate, None
        window = row.window
        self._rows.setdefault(window, []).append(tick.offset)
        if not row.due:
            assert row.anchor == "no"
            return fate, None
        self._states[window] = self._state(row, tick.offset)
        return fate, self._states[window]

    def _state(self, row: Row, offset: int) -> tuple[int, ...] | None:
        if row.anchor == "void":
            return None
        if row.anchor == "yes":
            return tuple(self._rows[row.window][-self._length :])
        before = self._states[row.window]
        assert before is not None, "a step without a state"
        return (*before, offset)


def _log(given_steps: list[Step]) -> list[Tick]:
    offset, time_ns, log = 0, 0, []
    for skip, symbol, milliseconds, resets in given_steps:
        offset, time_ns = offset + skip, time_ns + milliseconds * 1_000_000
        log.append(Tick(offset, symbol, time_ns, (0.0,), market="halted" if resets else None, cuts=resets))
    return log


@settings(max_examples=examples(400), deadline=None)
@given(steps, rules, st.integers(3, 20), st.integers(1, 25), st.integers(1, 3))
def test_a_rebuild_from_any_allowed_start_has_the_same_states(given_steps, given_rules, reach, interval, symbols_max):
    log = _log(given_steps)
    live, facts = Followed(given_rules, reach, interval, symbols_max), {}
    for tick in log:
        facts[tick.offset] = (live.windows.replay_from(tick.offset), live.step(tick))
    for n, (replay_from, _) in facts.items():
        oldest = n - reach - interval
        assert oldest <= replay_from <= n
        for start in {oldest, (oldest + replay_from) // 2, replay_from}:
            rebuilt = Followed(given_rules, reach, interval, symbols_max, publish_from=n)
            for tick in log:
                if start <= tick.offset < n:
                    rebuilt.step(tick)
            for tick in log:
                if tick.offset >= n:
                    assert rebuilt.step(tick) == facts[tick.offset][1], (n, start, tick)


def _anchors(symbol: str, count: int, interval: int, publish_from: int = 0) -> dict[int, str]:
    """Offset -> what the row at it says, of one symbol's ticks at all offsets; rows that step are left out."""
    windows = AnchoredWindows(WindowRules(window=3), ("value",), 1_000, 10, interval, publish_from)
    rows = [windows.decide(Tick(offset, symbol, offset, (0.0,))).row for offset in range(count)]
    return {row.tick.offset: row.anchor for row in rows if row is not None and row.due and row.anchor != "no"}


def test_a_symbol_anchors_when_its_window_is_full_and_once_in_every_stretch_of_offsets():
    anchors = list(_anchors("A", 50, 10))
    assert anchors[0] == 4  # 0 primes (it has no tick before it), 1 has no sampled tick before it; rows 2, 3, 4
    assert {later - earlier for earlier, later in itertools.pairwise(anchors[1:])} == {10}


def test_a_window_that_is_full_again_after_a_cut_anchors_anew():
    windows = AnchoredWindows(WindowRules(window=3, max_gap_s=1.0), ("value",), 1_000, 10, 1_000_000, 0)
    times_s = [*range(8), *range(100, 110)]  # a silence before the tick at offset 8
    rows = [windows.decide(Tick(offset, "A", time_s * 10**9, (0.0,))).row for offset, time_s in enumerate(times_s)]
    assert [row.tick.offset for row in rows if row is not None and row.anchor == "yes"] == [4, 12]


def test_a_symbol_that_takes_the_place_of_one_forgotten_does_not_go_on_with_its_state():
    windows = AnchoredWindows(WindowRules(window=2), ("value",), 1_000, 1, 1_000_000, 0)
    rows = [windows.decide(Tick(offset, "AB"[offset // 8], offset, (0.0,))).row for offset in range(16)]
    assert [row.tick.offset for row in rows if row is not None and row.anchor == "yes"] == [3, 11]


def test_symbols_do_not_all_anchor_at_once():
    assert len({list(_anchors(symbol, 200, 100))[1] % 100 for symbol in "ABCDEFGH"}) > 4


def test_a_rebuild_keeps_no_states_that_no_answer_rests_on():
    says = _anchors("A", 60, 20, publish_from=50)
    first = next(offset for offset, anchor in says.items() if anchor == "yes")
    assert 30 < first <= 50
    assert {anchor for offset, anchor in says.items() if offset < first} == {"void"}


def test_replay_from_covers_the_window_at_the_anchor_of_a_stretch_that_goes_on():
    windows = AnchoredWindows(WindowRules(window=3), ("value",), 1_000, 10, 100, 0)
    anchored = [
        offset
        for offset in range(150)
        if (row := windows.decide(Tick(offset, "A", offset, (0.0,))).row) is not None and row.anchor == "yes"
    ]
    assert windows.replay_from(150) == anchored[-1] - 4  # three rows, the tick before them, and what that looked at
    assert windows.replay_from(anchored[-1] + 100) == 145  # the next row anchors anyway
