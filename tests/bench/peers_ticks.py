"""The ticks that every system of the comparison gets: 64 symbols in turn, made up from a seed, as JSON."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

SYMBOLS = 64
PARTITIONS = 4
START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000  # between one tick and the next, whatever their symbols
SEED = 1


class Tick(msgspec.Struct, frozen=True):
    """One record of the input topic."""

    symbol: str
    event_time_ns: int
    bid: float
    ask: float
    bid_size: int
    ask_size: int
    last: float
    last_size: int


class Series(NamedTuple):
    """One symbol's ticks, oldest first."""

    event_time_ns: NDArray[np.int64]  # [n]
    values: NDArray[np.float64]  # [n, 6]: bid, ask, bid_size, ask_size, last, last_size


def ticks(count: int) -> Iterator[Tick]:
    """The first `count` ticks: each symbol's price walks by itself, a cent either side of it is quoted."""
    random = Random(SEED)
    mid = [100.0] * SYMBOLS
    for number in range(count):
        at = number % SYMBOLS
        mid[at] += random.gauss(0, 0.01)
        yield Tick(
            symbol=name_of(at),
            event_time_ns=START_NS + number * STEP_NS,
            bid=round(mid[at] - 0.01, 4),
            ask=round(mid[at] + 0.01, 4),
            bid_size=random.randint(1, 500),
            ask_size=random.randint(1, 500),
            last=round(mid[at], 4),
            last_size=random.randint(1, 100),
        )


def series(count: int, symbols: int) -> dict[str, Series]:
    """What the first `symbols` symbols have of the first `count` ticks."""
    names = [name_of(at) for at in range(symbols)]
    gathered: dict[str, list[Tick]] = {name: [] for name in names}
    for tick in ticks(count):
        if tick.symbol in gathered:
            gathered[tick.symbol].append(tick)
    return {name: _series(gathered[name]) for name in names}


def name_of(symbol: int) -> str:
    """The symbol of this number."""
    return f"S{symbol:04d}"


def partition_of(number: int) -> int:
    """The partition of the tick of this number: every partition has as many symbols."""
    return number % SYMBOLS % PARTITIONS


def number_of(event_time_ns: int) -> int:
    """Which tick has this event time."""
    return (event_time_ns - START_NS) // STEP_NS


def _series(of_one: list[Tick]) -> Series:
    times = np.array([tick.event_time_ns for tick in of_one], np.int64)
    values = [(t.bid, t.ask, t.bid_size, t.ask_size, t.last, t.last_size) for t in of_one]
    return Series(times, np.array(values, np.float64).reshape(-1, 6))
