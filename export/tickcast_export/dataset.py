"""Training windows and targets, cut from ticks by the daemon's own windows module.

What shares a window in training is decided by `tickcast.windows`, tick by tick, just as in serving. Nothing is copied
per window: a window is its last row's place among the rows, and is gathered when a batch needs it.
"""

import dataclasses
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tickcast.errors import UsageError
from tickcast.manifest import SECONDS_SINCE_PREVIOUS, WindowRules
from tickcast.tick_files import Ticks
from tickcast.windows import NANOSECONDS, Windows

from tickcast_export.features import TickFeatures

# Raw pairs made at once: 64 Ki pairs of five columns are 5 MiB.
CHUNK_ROWS = 65_536
DAY_NS = 86_400 * NANOSECONDS
DAYS_MIN = 3  # one to train, one to validate, one to test

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """The rows that ticks make: each symbol's in one block, in order, runs one after the other.

    A row is computed from its tick and from the sampled tick before it in its run; both are places in `ticks`.
    """

    ticks: Ticks
    current: Indices  # [rows]
    previous: Indices  # [rows]
    run: Indices  # [rows], ascending; no window and no target reaches over a change of it

    def __len__(self) -> int:
        return len(self.current)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a raw tick: the file's, and the seconds since the previous sampled tick."""
        return (*self.ticks.columns, SECONDS_SINCE_PREVIOUS)

    def pairs(self, rows: Indices) -> NDArray[np.float64]:
        """Raw ticks (previous, current) of these rows: [n, 2, columns]; the previous one's seconds are 0."""
        return self._raw(np.stack([self.previous[rows], self.current[rows]], axis=1))

    def windows(self, ends: Indices, window: int) -> NDArray[np.float64]:
        """Raw ticks of the windows that end with these rows [n, window + 1, columns]; the first one's seconds: 0."""
        rows = ends[:, None] + np.arange(1 - window, 1)
        return self._raw(np.concatenate([self.previous[rows[:, :1]], self.current[rows]], axis=1))

    def ends(self, window: int, horizon: int) -> Indices:
        """Rows that end a full window and have `horizon` more rows of the same run after them."""
        starts = np.flatnonzero(np.diff(self.run, prepend=-1))  # first row of each run
        lengths = np.diff(starts, append=len(self))
        place = np.arange(len(self)) - np.repeat(starts, lengths)
        left = np.repeat(lengths, lengths) - 1 - place
        return np.flatnonzero((place >= window - 1) & (left >= horizon))

    def mid(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """Mean of `columns` at each row's tick: [rows]."""
        places = [self.ticks.columns.index(column) for column in columns]
        mid: NDArray[np.float64] = self.ticks.values[self.current][:, places].mean(axis=1)
        return mid

    def spread(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """The second of `columns` less the first at each row's tick: [rows]."""
        low, high = (self.ticks.columns.index(column) for column in columns)
        book = self.ticks.values[self.current]
        spread: NDArray[np.float64] = book[:, high] - book[:, low]
        return spread

    def features(self, layer: TickFeatures) -> NDArray[np.float32]:
        """Every row's features: [rows, features]."""
        return np.concatenate([layer.compute(self.pairs(chunk)) for chunk in self._chunks()])

    def span_ns(self, ends: Indices, window: int, horizon: int) -> tuple[Indices, Indices]:
        """Event times [n] of the first tick of each window and of the tick that its last target needs."""
        time_ns = self.ticks.event_time_ns
        return time_ns[self.previous[ends - window + 1]], time_ns[self.current[ends + horizon]]

    def _chunks(self) -> Iterator[Indices]:
        for start in range(0, len(self), CHUNK_ROWS):
            yield np.arange(start, min(start + CHUNK_ROWS, len(self)))

    def _raw(self, places: Indices) -> NDArray[np.float64]:
        """Ticks at `places` [n, m] -> [n, m, columns]."""
        seconds = np.zeros((*places.shape, 1))
        # Differenced as integers: nanoseconds since the epoch do not fit a float64.
        seconds[:, 1:, 0] = np.diff(self.ticks.event_time_ns[places], axis=1) / NANOSECONDS
        return np.concatenate([self.ticks.values[places], seconds], axis=2)


class Split(NamedTuple):
    """Window ends by what they are for, each apart from the others in time, targets included."""

    train: Indices
    validation: Indices
    test: Indices


def cut(ticks: Ticks, rules: WindowRules) -> Rows:
    """The rows that `ticks` make under `rules`, decided by the daemon's own windows module. Raises UsageError."""
    absent = [column for column in rules.change_columns if column not in ticks.columns]
    if absent:
        raise UsageError(f"change_columns: no column {', '.join(absent)}; there are {', '.join(ticks.columns)}")
    # The tick's place rides along as one more column, so that a decided row says which two ticks it is made of.
    place = np.arange(len(ticks), dtype=np.float64)
    numbered = dataclasses.replace(
        ticks, columns=(*ticks.columns, "place"), values=np.column_stack([ticks.values, place])
    )
    windows = Windows(rules, numbered.columns, replay_records_max=len(ticks) + 1, max_symbols=len(ticks.symbols))
    places = array("d")
    for tick in numbered:
        row = windows.decide(tick).row
        if row is not None:
            places.extend((row.previous[-1], row.current[-1]))
    previous, current = np.array(places).astype(np.int64).reshape(-1, 2).T
    by_symbol = np.argsort(ticks.symbol_ids[current], kind="stable")
    current, previous = current[by_symbol], previous[by_symbol]
    # Within a run, each row's previous tick is the row before's own; a cut or another symbol breaks the chain.
    chained = np.concatenate([[False], previous[1:] == current[:-1]])[: len(current)]
    return Rows(ticks, current, previous, np.cumsum(~chained, dtype=np.int64))


def changes(mid: NDArray[np.float64], ends: Indices, horizons: Sequence[int]) -> NDArray[np.float64]:
    """Targets: change of `mid` [rows] from each end to the row h sampled ticks later: [n, horizons]."""
    change: NDArray[np.float64] = mid[ends[:, None] + np.asarray(horizons)] - mid[ends][:, None]
    return change


def evenly(places: Indices, most: int) -> Indices:
    """At most `most` of `places`, evenly spaced."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.int64)]


def split_by_share(rows: Rows, window: int, horizon: int, train: float = 0.6, validation: float = 0.2) -> Split:
    """The first `train` of the ticks by time, the next `validation`, the rest. Raises UsageError if one is empty."""
    return _split(rows, window, horizon, *parts_by_share(rows.ticks, train, validation))


def split_by_day(rows: Rows, window: int, horizon: int, day_starts_at: time) -> Split:
    """All days but two, the last but one, and the last; days begin at `day_starts_at` UTC. Raises UsageError."""
    return _split(rows, window, horizon, *parts_by_day(rows.ticks, day_starts_at))


def parts_by_share(ticks: Ticks, train: float = 0.6, validation: float = 0.2) -> tuple[int, int]:
    """Event times at which validation and test begin, the first `train` of the ticks and the next `validation` on."""
    in_order = np.sort(ticks.event_time_ns)
    first, second = (int(in_order[int(len(in_order) * share)]) for share in (train, train + validation))
    return first, second


def parts_by_day(ticks: Ticks, day_starts_at: time) -> tuple[int, int]:
    """Event times at which the last day but one and the last begin. Raises UsageError for fewer than three days."""
    offset_s = day_starts_at.hour * 3_600 + day_starts_at.minute * 60 + day_starts_at.second
    offset_ns = offset_s * NANOSECONDS
    days = np.unique((ticks.event_time_ns - offset_ns) // DAY_NS)
    if len(days) < DAYS_MIN:
        raise UsageError(f"split by day: the ticks are of {len(days)} days; at least {DAYS_MIN} are needed")
    first_ns = days * DAY_NS + offset_ns
    return int(first_ns[-2]), int(first_ns[-1])


def _split(rows: Rows, window: int, horizon: int, validation_ns: int, test_ns: int) -> Split:
    ends = rows.ends(window, horizon)
    first_ns, last_ns = rows.span_ns(ends, window, horizon)
    split = Split(
        ends[last_ns < validation_ns],
        ends[(first_ns >= validation_ns) & (last_ns < test_ns)],
        ends[first_ns >= test_ns],
    )
    for name, part in split._asdict().items():
        if not len(part):
            raise UsageError(
                f"no window of {window} rows and {horizon} ticks ahead for {name}: too few ticks, or too short runs"
            )
    return split
