"""Rolling windows, one per symbol: the window rules, fast. The only home of what decides which ticks share a window.

Stage `windows.push` of the way of a tick, used alike by the daemon, training, replay and audit. For each tick of one
partition, in offset order, `decide` says what becomes of it and `push` takes the feature row of one that makes a row.
Deciding needs no feature value, so the decisions of a whole poll come first, then one feature run, then the pushes.

No clock and no per-process counter decides anything: what a tick becomes is a function of the partition's last
`replay_records_max` offsets alone, so that a rebuild from any start at or below `replay_from` gives the same windows.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.manifest import SECONDS_SINCE_PREVIOUS, WindowRules

NANOSECONDS = 1_000_000_000

Fate = Literal["forecast", "warming", "unsampled", "late", "duplicate"]
SKIPPED: tuple[Fate, ...] = ("unsampled", "late", "duplicate")

Values = tuple[float, ...]

_NO_ROWS = np.zeros((0, 0), np.float32)


class Tick(NamedTuple):
    """One decoded record: `values` are the record columns of the manifest, in its order."""

    offset: int
    symbol: str
    event_time_ns: int
    values: Values
    sequence: int = 0


class Row(NamedTuple):
    """A row to be: the two raw ticks it is computed from, and where it goes."""

    window: "SymbolWindow"
    position: int
    previous: Values
    current: Values
    due: bool  # the window is full with this row: a forecast


class Decision(NamedTuple):
    """What becomes of a tick; `row` is there for a sampled tick with a sampled one before it in its run."""

    fate: Fate
    row: Row | None


class SymbolWindow:
    """One symbol's memory: its previous tick of any fate, its newest sampled tick, its rows.

    `rows` is a ring written twice, [2 * window, features], so that any window is one contiguous view of it.
    """

    __slots__ = ("count", "needs", "next_needs", "previous", "rows", "sampled", "sampled_needs", "sequence", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot  # in the partition's `oldest_needed`
        self.previous: Tick
        self.sampled: Tick | None = None
        self.sampled_needs = 0  # oldest offset that the sampling decision of `sampled` needed
        self.rows = _NO_ROWS
        self.needs: list[int] = []  # ring: oldest offset that each row needs
        self.count = 0  # rows in the window, 0..window
        self.sequence = 0  # rows ever decided: names the window's state for carries

    def make_room(self, window: int, features: int) -> None:
        """Allocate for the first row: a flood of symbols that come once must cost little."""
        self.rows = np.zeros((2 * window, features), np.float32)
        self.needs = [0] * window

    def view(self, position: int) -> NDArray[np.float32]:
        """The window that ends with the row at `position`: [window, features], oldest first, no copy."""
        window = len(self.needs)
        start = position % window + 1
        return self.rows[start : start + window]

    def push(self, position: int, row: NDArray[np.float32]) -> None:
        """Write the feature row [features] decided for `position`."""
        window = len(self.needs)
        at = position % window
        self.rows[at] = row
        self.rows[at + window] = row

    def forget(self, oldest: int) -> None:
        """Drop the rows and the sampled tick that rest on offsets below `oldest`."""
        window = len(self.needs)
        while self.count and self.needs[(self.sequence - self.count) % window] < oldest:
            self.count -= 1
        if self.sampled is not None and self.sampled_needs < oldest:
            self.sampled = None

    def cut(self) -> None:
        """Start a fresh run."""
        self.count = 0
        self.sampled = None

    def oldest_needed(self) -> int:
        """The oldest offset that a rebuild of this symbol needs."""
        if self.count:
            return self.needs[(self.sequence - self.count) % len(self.needs)]
        return self.sampled_needs if self.sampled is not None else self.previous.offset


class Windows:
    """The windows of one partition under one set of rules."""

    def __init__(
        self, rules: WindowRules, columns: Sequence[str], features: int, replay_records_max: int, max_symbols: int
    ) -> None:
        """`columns` are a raw tick's, as the manifest names them; `features` is the width of a row."""
        self.rules = rules
        self.evicted = 0
        self._features = features
        self._replay_records_max = replay_records_max
        self._max_symbols = max_symbols
        self._timed = SECONDS_SINCE_PREVIOUS in columns
        self._watched = tuple(columns.index(column) for column in rules.change_columns)
        self._max_gap_ns = None if self.rules.max_gap_s is None else round(self.rules.max_gap_s * NANOSECONDS)
        self._grid_ns = self.rules.grid_ms * 1_000_000
        # Longest silent first: the order of each symbol's previous tick.
        self._symbols: OrderedDict[str, SymbolWindow] = OrderedDict()
        self._oldest_needed = np.full(64, np.iinfo(np.int64).max, np.int64)
        self._free_slots = list(range(63, -1, -1))

    def __len__(self) -> int:
        return len(self._symbols)

    def decide(self, tick: Tick) -> Decision:
        """What becomes of `tick`, by the rules and the symbol's previous tick only."""
        oldest = tick.offset - self._replay_records_max
        self._forget_silent(oldest)
        window = self._symbols.get(tick.symbol)
        if window is None:
            self._remember(tick)
            return Decision("warming", None)
        self._symbols.move_to_end(tick.symbol)
        window.forget(oldest)
        decision = self._decide(window, tick, window.previous)
        window.previous = tick
        self._oldest_needed[window.slot] = window.oldest_needed()
        return decision

    def replay_from(self, position: int) -> int:
        """An offset from which a rebuild up to `position` (exclusive) gives these very windows.

        Needs that lapsed since a symbol's last tick are older than position - R, where any rebuild may start.
        """
        if not self._symbols:
            return position
        return max(position - self._replay_records_max, min(position, int(self._oldest_needed.min())))

    def _decide(self, window: SymbolWindow, tick: Tick, previous: Tick) -> Decision:
        rules = self.rules
        elapsed_ns = tick.event_time_ns - previous.event_time_ns
        if rules.duplicates == "skip" and tick.sequence == previous.sequence:
            return Decision("duplicate", None)
        if (elapsed_ns < 0 and rules.order == "reset") or (
            self._max_gap_ns is not None and elapsed_ns > self._max_gap_ns
        ):
            window.cut()
            return Decision("warming", None)
        if elapsed_ns < 0 and rules.order == "skip":
            return Decision("late", None)
        if not self._sampled(tick, previous):
            return Decision("unsampled", None)
        return self._row(window, tick, previous)

    def _sampled(self, tick: Tick, previous: Tick) -> bool:
        if self.rules.sampling == "on_change":
            return any(tick.values[i] != previous.values[i] for i in self._watched)
        if self.rules.sampling == "grid_ms":
            return tick.event_time_ns // self._grid_ns != previous.event_time_ns // self._grid_ns
        return True

    def _row(self, window: SymbolWindow, tick: Tick, previous: Tick) -> Decision:
        before, needs = window.sampled, window.sampled_needs
        window.sampled, window.sampled_needs = tick, previous.offset
        if before is None:
            return Decision("warming", None)
        length = self.rules.window
        position = window.sequence
        if position == 0:
            window.make_room(length, self._features)
        window.needs[position % length] = needs
        window.sequence = position + 1
        window.count = min(window.count + 1, length)
        due = window.count == length
        earlier, current = before.values, tick.values
        if self._timed:
            earlier = (*earlier, 0.0)
            current = (*current, (tick.event_time_ns - before.event_time_ns) / NANOSECONDS)
        return Decision("forecast" if due else "warming", Row(window, position, earlier, current, due))

    def _remember(self, tick: Tick) -> None:
        if len(self._symbols) >= self._max_symbols:
            self._drop_longest_silent()
            self.evicted += 1
        if not self._free_slots:
            self._grow()
        window = SymbolWindow(self._free_slots.pop())
        window.previous = tick
        self._symbols[tick.symbol] = window
        self._oldest_needed[window.slot] = tick.offset

    def _forget_silent(self, oldest: int) -> None:
        while self._symbols and next(iter(self._symbols.values())).previous.offset < oldest:
            self._drop_longest_silent()

    def _drop_longest_silent(self) -> None:
        _, window = self._symbols.popitem(last=False)
        self._oldest_needed[window.slot] = np.iinfo(np.int64).max
        self._free_slots.append(window.slot)

    def _grow(self) -> None:
        size = len(self._oldest_needed)
        self._oldest_needed = np.concatenate([self._oldest_needed, np.full(size, np.iinfo(np.int64).max, np.int64)])
        self._free_slots = list(range(2 * size - 1, size - 1, -1))
