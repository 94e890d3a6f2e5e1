"""Which column of a tick file is what: the mapping that reading, training and replay share.

Nothing is guessed in silence: `suggest` proposes a mapping from a file's header, and whoever uses it prints
`TickColumns.text()`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tickcast.errors import TickFileError

TimeUnit = Literal["ns", "us", "ms", "s"]
NANOSECONDS_PER_UNIT: Mapping[TimeUnit, int] = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

BOOK_COLUMNS = ("bid", "ask", "bid_size", "ask_size")
EVENT_TIME = "event_time_ns"
SYMBOL = "symbol"

# Exchange names of the book's columns that mean one thing only.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "bid": ("bid_price", "best_bid", "best_bid_price", "bid_px", "b"),
    "ask": ("ask_price", "best_ask", "best_ask_price", "ask_px", "a"),
    "bid_size": ("bid_qty", "best_bid_size", "best_bid_qty", "bid_sz", "bid_amount", "B"),
    "ask_size": ("ask_qty", "best_ask_size", "best_ask_qty", "ask_sz", "ask_amount", "A"),
    SYMBOL: ("s", "instrument", "ticker"),
}
# A time column that says its unit: `receive_time_ns`, `timestamp_ms`, `ts_us`.
TIME_COLUMN = re.compile(r"(?:^|_)(?:time|timestamp|ts)_(ns|us|ms|s)$")


@dataclass(frozen=True)
class TickColumns:
    """Where a tick's parts lie in a file. `columns`: tick column -> file column, in the order of a tick's values."""

    columns: Mapping[str, str]
    event_time: str = EVENT_TIME
    event_time_unit: TimeUnit = "ns"
    symbol: str = SYMBOL  # empty: every tick is of `symbol_name`
    symbol_name: str = ""
    sequence: str = ""  # empty: there is none

    def __post_init__(self) -> None:
        if bool(self.symbol) == bool(self.symbol_name):
            raise TickFileError("mapping: give the symbol's column or one name for every tick, not both")
        if self.event_time_unit not in NANOSECONDS_PER_UNIT:
            raise TickFileError(
                f"mapping: event time unit {self.event_time_unit!r}: one of {', '.join(get_args(TimeUnit))}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The tick's columns, in order."""
        return tuple(self.columns)

    @property
    def file_columns(self) -> tuple[str, ...]:
        """Every file column that is read."""
        return tuple(name for name in (self.event_time, self.symbol, self.sequence, *self.columns.values()) if name)

    def text(self) -> str:
        """One line for people: what is taken from where."""
        symbol = f"symbol={self.symbol}" if self.symbol else f"symbol is {self.symbol_name!r}"
        sequence = [f"sequence={self.sequence}"] if self.sequence else []
        values = [f"{name}={file_column}" for name, file_column in self.columns.items()]
        return ", ".join([f"event_time={self.event_time} ({self.event_time_unit})", symbol, *sequence, *values])


class Part(NamedTuple):
    """Some rows of one file, as a format's reader hands them on."""

    symbols: list[str] | None  # None: the mapping names one symbol
    event_time_ns: NDArray[np.int64]
    values: NDArray[np.float64]  # [rows, columns]
    sequence: NDArray[np.int64] | None


def direct(columns: Sequence[str] = BOOK_COLUMNS) -> TickColumns:
    """The mapping of a file that has tickcast's own names."""
    return TickColumns({name: name for name in columns})


def suggest(header: Sequence[str], columns: Sequence[str] = BOOK_COLUMNS) -> TickColumns:
    """A mapping for a file with this header: own names, else the one name known to mean the same.

    Raises TickFileError when a part is absent or more than one column could be it.
    """
    return choose(header, columns)


def choose(
    header: Sequence[str],
    columns: Sequence[str] = BOOK_COLUMNS,
    *,
    event_time: str = "",
    event_time_unit: TimeUnit | None = None,
    symbol: str = "",
    symbol_name: str = "",
    sequence: str = "",
    columns_map: Mapping[str, str] | None = None,
) -> TickColumns:
    """What the caller names, and `suggest`'s rules for the rest. A named time column is in nanoseconds unless said."""
    columns_map = columns_map or {}
    unknown = sorted(set(columns_map) - set(columns))
    if unknown:
        raise TickFileError(f"mapping: no such tick column: {', '.join(unknown)}; there are {', '.join(columns)}")
    time_column, unit = (event_time, event_time_unit or "ns") if event_time else _time_column(header)
    values = {name: columns_map.get(name) or _column(header, name) for name in columns}
    symbol_column = "" if symbol_name else symbol or _column(header, SYMBOL)
    return TickColumns(values, time_column, event_time_unit or unit, symbol_column, symbol_name, sequence)


def _time_column(header: Sequence[str]) -> tuple[str, TimeUnit]:
    if EVENT_TIME in header:
        return EVENT_TIME, "ns"
    matches = [(name, match[1]) for name in header if (match := TIME_COLUMN.search(name))]
    found = [(name, unit) for name, said in matches for unit in NANOSECONDS_PER_UNIT if unit == said]
    if len(found) == 1:
        return found[0]
    several = f"several could be it: {', '.join(name for name, _ in found)}" if found else "none looks like it"
    raise TickFileError(f"column {EVENT_TIME}: absent, and {several}; name it (columns: {', '.join(header)})")


def _column(header: Sequence[str], name: str) -> str:
    if name in header:
        return name
    found = [alias for alias in ALIASES.get(name, ()) if alias in header]
    if len(found) == 1:
        return found[0]
    several = f"several could be it: {', '.join(found)}" if found else "nothing known to mean the same is there"
    raise TickFileError(f"column {name}: absent, and {several}; map it (columns: {', '.join(header)})")
