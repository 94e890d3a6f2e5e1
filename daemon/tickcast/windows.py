"""Rolling windows, one per symbol: the window rules, fast. The only home of what decides which ticks share a window.

Stage `windows.push` of the way of a tick, used alike by the daemon, training, replay and audit. For each tick of one
partition, in offset order, `decide` says what becomes of it and `push` takes the feature row of one that makes a row.
Deciding needs no feature value, so the decisions of a whole poll come first, then one feature run, then the pushes.

No clock and no per-process counter decides anything: what a tick becomes is a function of the partition's last
`replay_records_max` offsets alone, so that a rebuild from any start at or below `replay_from` gives the same windows.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args
from weakref import ref

import msgspec
import numpy as np

from tickcast.manifest import SECONDS_SINCE_PREVIOUS, WindowRules

NANOSECONDS = 1_000_000_000
# An offset that nothing rests on.
NO_OFFSET = int(np.iinfo(np.int64).max)
PLACES_MIN = 64
# More than two event times can lie apart.
UNBOUNDED_NS = 1 << 65

# What a tick shows of its market that the topic has a rule for; see `market.py`.
MarketState = Literal["one_sided", "crossed", "halted"]
Fate = Literal["forecast", "warming", "unsampled", "late", "duplicate", MarketState]
Anchor = Literal["no", "yes", "void"]
SKIPPED: tuple[Fate, ...] = ("unsampled", "late", "duplicate", "one_sided", "crossed", "halted")

Values = tuple[float, ...]


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One decoded record: `values` are the record columns of the manifest, in its order."""

    offset: int
    symbol: str
    event_time_ns: int
    values: Values
    sequence: int = 0
    market: MarketState | None = None  # the state by whose rule it makes no row; NaN then stands for what is missing
    cuts: bool = False  # and by which its symbol starts anew


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row to be: the two raw ticks it is computed from, and where it goes."""

    window: "SymbolWindow"
    position: int
    tick: Tick
    previous: Values
    current: Values
    due: bool  # the window is full with this row: a forecast
    anchor: Anchor = "no"  # mode `carried`: whether the state starts anew from this window; void: none will be needed


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a tick; `row` is there for a sampled tick with a sampled one before it in its run."""

    fate: Fate
    row: Row | None = None


_WARMING, _UNSAMPLED = Decision("warming"), Decision("unsampled")
_LATE, _DUPLICATE = Decision("late"), Decision("duplicate")
_OFF_MARKET = {state: Decision(state) for state in get_args(MarketState)}


class SymbolWindow:
    """One symbol's memory: its previous tick of any fate, its newest sampled tick, where its rows are."""

    __slots__ = (
        "count",
        "needs",
        "oldest",
        "place",
        "previous",
        "release",
        "reported",
        "sampled",
        "sampled_needs",
        "sequence",
        "skipped",
        "slot",
    )

    def __init__(self, place: int, tick: Tick) -> None:
        self.place = place  # in the partition's `oldest_needed`
        self.slot = -1  # where its rows are in the `RowPool`, once there are any
        self.release: Callable[[int], None] | None = None  # gives the slot back
        self.previous = tick
        self.sampled: Tick | None = None
        self.sampled_needs = 0  # oldest offset that the sampling decision of `sampled` needed
        self.needs: array[int] = _NO_NEEDS  # ring: oldest offset that each row needs
        self.count = 0  # rows in the window, 0..window
        self.sequence = 0  # rows ever decided: names the window's state for carries
        self.skipped = 0  # due ticks ever skipped because of the clock; see `lag.py`
        self.reported = -1  # of these, how many there were by the newest forecast; -1: no forecast yet
        self.oldest = tick.offset  # oldest offset that a rebuild of this symbol needs

    def __del__(self) -> None:
        if self.release is not None:
            self.release(self.slot)

    @property
    def has_rows(self) -> bool:
        """Whether there were ever any: decided by this process, or before it, which has left it a slot."""
        return self.sequence > 0 or self.slot >= 0

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


_NO_NEEDS: "array[int]" = array("q")


class Windows:
    """The windows of one partition under one set of rules."""

    def __init__(self, rules: WindowRules, columns: Sequence[str], replay_records_max: int, max_symbols: int) -> None:
        """`columns` are a raw tick's, as the manifest names them."""
        self.rules = rules
        self.evicted = 0
        # Windows of the partition's other symbols, by other rules: together they remember `max_symbols` at most. Weak,
        # for in a circle the rows of partitions given back would wait for a garbage collection.
        self._neighbours: Sequence[ref[Windows]] = ()
        # The symbols met, for whoever sets a list and takes them out of it again; see `symbol_homes.py`.
        self.newcomers: list[str] | None = None
        # The symbols forgotten whose windows had rows, in the same way; see `state_keeper.py`.
        self.dropped: set[str] | None = None
        self._replay_records_max = replay_records_max
        self._max_symbols = max_symbols
        self._length = rules.window
        self._timed = SECONDS_SINCE_PREVIOUS in columns
        self._watched = tuple(columns.index(column) for column in rules.change_columns)
        self._max_gap_ns = UNBOUNDED_NS if rules.max_gap_s is None else round(rules.max_gap_s * NANOSECONDS)
        self._grid_ns = rules.grid_ms * 1_000_000
        self._takes_all = rules.sampling == "all"
        self._takes_duplicates = rules.duplicates != "skip"
        # Longest silent first: the order of each symbol's previous tick, none of which is older than `_silent_since`.
        self._symbols: OrderedDict[str, SymbolWindow] = OrderedDict()
        self._silent_since = NO_OFFSET
        self._oldest_needed = array("q", [NO_OFFSET] * PLACES_MIN)
        self._free_places = list(range(PLACES_MIN - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._symbols

    def decide(self, tick: Tick) -> Decision:
        """What becomes of `tick`, by the rules and the symbol's previous tick only.

        One whose market state makes no row is as if it had never come; where it cuts, the symbol is as if never seen.
        """
        if tick.market is not None:
            if tick.cuts and (cut := self._symbols.pop(tick.symbol, None)) is not None:
                self._drop(cut)
            return _OFF_MARKET[tick.market]
        oldest = tick.offset - self._replay_records_max
        if self._silent_since < oldest:
            self._forget_silent(oldest)
        window = self._symbols.get(tick.symbol)
        if window is None:
            self._remember(tick)
            return _WARMING
        self._symbols.move_to_end(tick.symbol)
        if window.oldest < oldest:
            window.forget(oldest)
        previous, window.previous = window.previous, tick
        decision = self._decide(window, tick, previous)
        window.oldest = self._oldest_needed[window.place] = window.oldest_needed()
        return decision

    def share(self, neighbours: "Sequence[Windows]") -> None:
        """`neighbours` are of the same partition, and of other symbols."""
        self._neighbours = [ref(each) for each in neighbours]

    def full(self, symbol: str) -> SymbolWindow | None:
        """The symbol's window, if it is full."""
        window = self._symbols.get(symbol)
        return window if window is not None and window.count == self._length else None

    def window(self, symbol: str) -> SymbolWindow | None:
        """The symbol's window, full or not."""
        return self._symbols.get(symbol)

    def with_rows(self) -> Iterator[SymbolWindow]:
        """The windows that have, or had, rows."""
        return (window for window in self._symbols.values() if window.has_rows)

    def replay_from(self, position: int) -> int:
        """An offset from which a rebuild up to `position` (exclusive) gives these very windows.

        Needs that lapsed since a symbol's last tick are older than position - R, where any rebuild may start.
        """
        if not self._symbols:
            return position
        oldest = int(np.frombuffer(self._oldest_needed, np.int64).min())
        return max(position - self._replay_records_max, min(position, oldest))

    def _decide(self, window: SymbolWindow, tick: Tick, previous: Tick) -> Decision:
        if not self._takes_duplicates and tick.sequence == previous.sequence:
            return _DUPLICATE
        elapsed_ns = tick.event_time_ns - previous.event_time_ns
        if not 0 <= elapsed_ns <= self._max_gap_ns:
            if elapsed_ns > 0 or self.rules.order == "reset":
                window.cut()
                return _WARMING
            if self.rules.order == "skip":
                return _LATE
        if self._takes_all or self._sampled(tick, previous):
            return self._row(window, tick, previous)
        return _UNSAMPLED

    def _sampled(self, tick: Tick, previous: Tick) -> bool:
        if self.rules.sampling == "on_change":
            return any(tick.values[i] != previous.values[i] for i in self._watched)
        return tick.event_time_ns // self._grid_ns != previous.event_time_ns // self._grid_ns

    def _row(self, window: SymbolWindow, tick: Tick, previous: Tick) -> Decision:
        before, needs = window.sampled, window.sampled_needs
        window.sampled, window.sampled_needs = tick, previous.offset
        if before is None:
            return _WARMING
        length, position = self._length, window.sequence
        if position == 0:  # only now: a flood of symbols that come once must cost little
            window.needs = array("q", bytes(8 * length))
        window.needs[position % length] = needs
        window.sequence = position + 1
        due = window.count >= length - 1
        window.count = length if due else window.count + 1
        earlier, current = before.values, tick.values
        if self._timed:
            earlier = (*earlier, 0.0)
            current = (*current, (tick.event_time_ns - before.event_time_ns) / NANOSECONDS)
        return Decision("forecast" if due else "warming", Row(window, position, tick, earlier, current, due))

    def _remember(self, tick: Tick) -> None:
        if self._neighbours or len(self._symbols) >= self._max_symbols:
            self._make_room(tick.offset - self._replay_records_max)
        if not self._symbols:
            self._silent_since = tick.offset
        if not self._free_places:
            self._grow()
        window = SymbolWindow(self._free_places.pop(), tick)
        self._symbols[tick.symbol] = window
        self._oldest_needed[window.place] = tick.offset
        if self.newcomers is not None:
            self.newcomers.append(tick.symbol)

    def _make_room(self, oldest: int) -> None:
        """Forget whoever is silent longest where too many are remembered whose last tick is at `oldest` or later."""
        sharing = [self, *(each for neighbour in self._neighbours if (each := neighbour()) is not None)]
        for each in sharing:
            each._forget_silent(oldest)  # of symbols whose like has not ticked for long, too
        if sum(map(len, sharing)) >= self._max_symbols:
            min(sharing, key=lambda each: each._silent_since if each._symbols else NO_OFFSET)._drop_longest_silent()
            self.evicted += 1

    def _forget_silent(self, oldest: int) -> None:
        while self._symbols:
            self._silent_since = next(iter(self._symbols.values())).previous.offset
            if self._silent_since >= oldest:
                return
            self._drop_longest_silent()

    def _drop_longest_silent(self) -> None:
        self._drop(self._symbols.popitem(last=False)[1])

    def _drop(self, window: SymbolWindow) -> None:
        """`window` is no symbol's any more."""
        self._oldest_needed[window.place] = NO_OFFSET
        self._free_places.append(window.place)
        if self.dropped is not None and window.has_rows:
            self.dropped.add(window.previous.symbol)

    def _grow(self) -> None:
        size = len(self._oldest_needed)
        self._oldest_needed.extend([NO_OFFSET] * size)
        self._free_places = list(range(2 * size - 1, size - 1, -1))
