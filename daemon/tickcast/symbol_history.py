"""What the page remembers of each symbol: its newest ticks and forecasts, and how these turned out.

Beside the way of a tick, in the process that serves, only while somebody looks. Bounded in points and in symbols,
however many there are: of many, each is remembered for fewer ticks.
"""

import math
from array import array
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tickcast.tape_reader import Entry

# Some 64 bytes each with ten horizons; up to twice as many for a moment.
POINTS_MAX = 200_000
# What a chart has room for; of a symbol that somebody looks at so many are kept however many symbols there are.
PATH_POINTS_MAX = 720
# Those that ticked last; 2 KB each. Fewer where the longest horizon needs more points of each than these in all.
SYMBOLS_MAX = 20_000
SCORED_POINTS_MAX = 1_000_000
# Ticks are counted in steps of so much wall time, and mids marked: for the rate, and for the change in a minute.
STEP_NS = 10_000_000_000
CHANGE_STEPS = 6
# What is left of an error's weight when the next one comes: an average over some 256 of them.
ERROR_MEMORY = 1 - 1 / 256
# What misses by more is a broken price: its square is no number, and would never be forgotten.
MISSED_MAX = 1e100


class Shape(NamedTuple):
    """Of all entries of one model."""

    horizons: tuple[int, ...] = ()
    window: int = 0

    @property
    def scored(self) -> tuple[int, ...]:
        """Indices of the horizons whose outcome entries prove: a full window shows that its rows are of one run."""
        return tuple(index for index, ahead in enumerate(self.horizons) if ahead < self.window)


class Path(NamedTuple):
    """A copy of a symbol's newest points, oldest first; NaN where a value is missing."""

    positions: "array[int]"
    event_times_ns: "array[int]"
    mids: "array[float]"
    forecasts: "array[float]"  # [points, horizons], flat
    shape: Shape


class SymbolHistory:
    """One symbol. A gap in its positions is a cut or a tick left out: nothing is compared over it."""

    __slots__ = (
        "_before",
        "_column",
        "_count",
        "_event_times_ns",
        "_forecasts",
        "_marks",
        "_mids",
        "_persistence",
        "_positions",
        "_run",
        "_shape",
        "_squared",
        "_step",
        "_weight",
        "folded",
        "is_watched",
        "mid",
        "newest",
        "place",
        "symbol",
    )

    newest: Entry

    def __init__(self, symbol: str, shape: Shape, place: int = 0) -> None:
        """`place`: of the model that answers it, see `Entry`."""
        self.symbol = symbol
        self.place = place
        self.folded = symbol.casefold()  # to be searched
        self.is_watched = False
        self.mid: float | None = None  # the newest known
        self._shape = shape
        self._column = max(shape.scored, default=-1)  # of the longest horizon that can be scored
        self._positions = array("q")
        self._event_times_ns = array("q")
        self._mids = array("d")
        self._forecasts = array("f")
        self._run = 0  # entries up to the newest without a gap
        self._marks: deque[tuple[int, float]] = deque(maxlen=CHANGE_STEPS + 1)
        self._step = self._count = self._before = 0
        self._weight = self._squared = self._persistence = 0.0

    def take(self, entry: Entry, keep: int) -> None:
        """The next entry; at least the newest `keep` are remembered."""
        positions = self._positions
        last = positions[-1] if positions else -2
        if entry.position != last + 1:
            self._run = 0
            if entry.position <= last:  # the symbol was forgotten and has come back: positions are counted anew
                self._drop(len(positions))
        self._run += 1
        mid = entry.mid
        positions.append(entry.position)
        self._event_times_ns.append(entry.event_time_ns)
        self._mids.append(math.nan if mid is None else mid)
        self._forecasts.extend(entry.forecast or (math.nan,) * len(self._shape.horizons))
        self.newest = entry
        self._mark(entry.received_ns // STEP_NS, mid)
        if mid is not None:
            self.mid = mid
            self._score(mid)
        if len(positions) >= 2 * keep:
            self._drop(len(positions) - keep)

    @property
    def error(self) -> float | None:
        """Root mean square error of the longest horizon's recent forecasts, in the forecast's unit."""
        return math.sqrt(self._squared / self._weight) if self._weight else None

    @property
    def relative(self) -> float | None:
        """How much of the squared error of no change they took away; below 0: they added some. None where none was."""
        return 1 - self._squared / self._persistence if self._persistence else None

    def change(self, now_ns: int) -> float | None:
        """Of the mid, over about the last minute."""
        if self.mid is None:
            return None
        since = now_ns // STEP_NS - CHANGE_STEPS
        marks = tuple(self._marks)  # in one go: another thread may be adding to them
        return self.mid - next((mid for step, mid in marks if step >= since), self.mid)

    def ticks_per_s(self, now_ns: int) -> float:
        """Over the last `STEP_NS`, as far as steps tell."""
        passed, into_ns = divmod(now_ns - self._step * STEP_NS, STEP_NS)
        count, before = (self._count, self._before) if passed <= 0 else (0, self._count if passed == 1 else 0)
        share = into_ns / STEP_NS if passed >= 0 else 1.0
        return (count + before * (1 - share)) / (STEP_NS / 1e9)

    def path(self, points: int) -> Path:
        """The points at the newest `points` positions, as far as they are remembered."""
        begin = bisect_right(self._positions, self._positions[-1] - points)
        width = len(self._shape.horizons)
        return Path(
            self._positions[begin:],
            self._event_times_ns[begin:],
            self._mids[begin:],
            self._forecasts[begin * width :],
            self._shape,
        )

    def _mark(self, step: int, mid: float | None) -> None:
        if step != self._step:
            self._before = self._count if step == self._step + 1 else 0
            self._count = 0
            self._step = step
            base = mid if self.mid is None else self.mid  # as it stood when the step began
            if base is not None:
                self._marks.append((step, base))
        self._count += 1

    def _score(self, mid: float) -> None:
        if self._column < 0:
            return
        ahead = self._shape.horizons[self._column]
        if self._run <= ahead:
            return
        at = len(self._positions) - 1 - ahead
        happened = mid - self._mids[at]
        missed = happened - self._forecasts[at * len(self._shape.horizons) + self._column]
        if abs(missed) <= MISSED_MAX:  # so neither is NaN
            self._weight = self._weight * ERROR_MEMORY + 1.0
            self._squared = self._squared * ERROR_MEMORY + missed * missed
            self._persistence = self._persistence * ERROR_MEMORY + happened * happened

    def _drop(self, points: int) -> None:
        """Forget the oldest."""
        for values in (self._positions, self._event_times_ns, self._mids):
            del values[:points]
        del self._forecasts[: points * len(self._shape.horizons)]


class Histories:
    """All symbols of one tape. Not thread-safe."""

    def __init__(self, *shapes: Shape) -> None:
        """`shapes` are of the tape's models."""
        self._shapes = shapes
        self._widest = max((len(shape.horizons) for shape in shapes), default=0)
        self._by_symbol: OrderedDict[str, SymbolHistory] = OrderedDict()  # who ticked last is last
        longest = max((horizon for shape in shapes for horizon in shape.horizons), default=0)
        self._keep_min = longest + 2  # for the longest horizon to be scored
        self._symbols_max = max(1, min(SYMBOLS_MAX, SCORED_POINTS_MAX // self._keep_min))

    def __len__(self) -> int:
        return len(self._by_symbol)

    def take(self, entries: Iterable[Entry]) -> None:
        """The next entries of the tape."""
        by_symbol = self._by_symbol
        keep = self._keep()
        for entry in entries:
            width = len(self._shapes[entry.place].horizons)
            if width < self._widest:
                entry = entry._replace(forecast=entry.forecast[:width])
            history = by_symbol.get(entry.symbol)
            if history is None:
                made = SymbolHistory(entry.symbol, self._shapes[entry.place], entry.place)
                history = by_symbol[entry.symbol] = made
                if len(by_symbol) > self._symbols_max:
                    by_symbol.popitem(last=False)
                keep = self._keep()
            else:
                by_symbol.move_to_end(entry.symbol)
            history.take(entry, PATH_POINTS_MAX if history.is_watched else keep)

    def get(self, symbol: str) -> SymbolHistory | None:
        """The history of `symbol`, where there is any."""
        return self._by_symbol.get(symbol)

    def all(self) -> Sequence[SymbolHistory]:
        """Every symbol that is remembered."""
        return list(self._by_symbol.values())

    def _keep(self) -> int:
        """How many points of each symbol."""
        fair = POINTS_MAX // max(1, len(self._by_symbol))
        return max(self._keep_min, min(PATH_POINTS_MAX, fair))
