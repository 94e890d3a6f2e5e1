"""What a bench feeds the pipeline: tick bytes, and the times at which they arrive, fixed before anything runs.

Beside the way of a tick: where markets would be. Open loop: an arrival is never put off because an answer was late.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tickcast.replay import Encoder, Recorded
from tickcast.tick_files import Ticks
from tickcast.windows import NANOSECONDS, Tick

# Ticks made at a time: those of 100,000 symbols' windows would take gigabytes at once.
CHUNK_TICKS = 16_384
# Of each simulated symbol by its event times, whatever the pace: no run's longest gap is reached.
SYMBOL_TICKS_PER_S = 5.0
START_NS = 1_735_806_600_000_000_000  # 2025-01-02 08:30 UTC
PRICE_STEP = 0.01
# A longer silence in a tick file is played as one of so many seconds: there is nothing to measure in it.
GAP_MAX_S = 1.0


class Message(NamedTuple):
    """One record to be."""

    key: bytes
    value: bytes
    event_time_ns: int


class Fill(NamedTuple):
    """Ticks after which every symbol has a full window, and how many they are."""

    ticks: int
    messages: Iterator[Message]


class Feed(Protocol):
    """Ticks in order, the same for the same arguments; the fill comes first."""

    @property
    def symbols(self) -> int:
        """How many symbols there are."""

    def fill(self, window: int) -> Fill:
        """What a full window of `window` rows takes."""

    def take(self, count: int) -> list[Message]:
        """The next `count` ticks, or what is left."""

    def take_for(self, duration_s: float) -> list[Message]:
        """The ticks that the next `duration_s` would bring by their event times."""


class SimulatedFeed:
    """Quotes of each symbol on a seeded random walk; after the fill it is random, too, which symbol is next."""

    def __init__(self, columns: Sequence[str], symbols: int, seed: int) -> None:
        self.symbols = symbols
        self._random = np.random.default_rng(seed)
        self._columns = columns
        self._bids = self._random.integers(3_000_000, 10_000_000, symbols)  # [symbols], in price steps
        self._names = [b"SIM-%d" % index for index in range(symbols)]
        self._time_ns = START_NS
        self._gap_ns = round(NANOSECONDS / (SYMBOL_TICKS_PER_S * symbols))
        fields = b"".join(b',"%s":%s' % (name.encode(), _form(name)) for name in columns)
        self._template = b'{"symbol":"%s","event_time_ns":%d' + fields + b"}"

    def fill(self, window: int) -> Fill:
        """Each symbol in turn: a tick that primes and `window` rows."""
        total = (window + 1) * self.symbols
        starts = range(0, total, CHUNK_TICKS)
        chunks = (np.arange(start, min(start + CHUNK_TICKS, total)) % self.symbols for start in starts)
        return Fill(total, (message for ids in chunks for message in self._messages(ids)))

    def take(self, count: int) -> list[Message]:
        """The next `count` ticks."""
        return list(self._messages(self._random.integers(0, self.symbols, count)))

    def take_for(self, duration_s: float) -> list[Message]:
        """See `Feed`."""
        return self.take(max(1, round(duration_s * NANOSECONDS / self._gap_ns)))

    def _messages(self, ids: NDArray[np.int64]) -> Iterator[Message]:
        """Ticks of the symbols `ids` [ticks]."""
        random, count = self._random, len(ids)
        bids = self._walk(ids) * PRICE_STEP
        values = {
            "bid": bids,
            "ask": bids + random.integers(1, 4, count) * PRICE_STEP,
            "bid_size": random.integers(1, 50, count),
            "ask_size": random.integers(1, 50, count),
        }
        columns = [values.get(name, bids).tolist() for name in self._columns]
        times = range(self._time_ns, self._time_ns + count * self._gap_ns, self._gap_ns)
        self._time_ns += count * self._gap_ns
        names, template = self._names, self._template
        for index, time_ns, *row in zip(ids.tolist(), times, *columns, strict=True):
            yield Message(names[index], template % (names[index], time_ns, *row), time_ns)

    def _walk(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bids [ticks], in price steps: each symbol's moves, from where it stands."""
        order = np.argsort(ids, kind="stable")
        moves = self._random.integers(-2, 3, len(ids)).cumsum()  # over all symbols, one after the other
        sorted_ids = ids[order]
        first = np.flatnonzero(np.diff(sorted_ids, prepend=-1))
        before = np.where(first > 0, moves[first - 1], 0)
        bids = np.empty_like(moves)
        bids[order] = self._bids[sorted_ids] + moves - np.repeat(before, np.diff(first, append=len(ids)))
        self._bids[ids] = bids  # of several the last one stays
        return bids


class FileFeed:
    """The ticks of a file, in order, as `tickcast replay` encodes them."""

    def __init__(self, ticks: Ticks, sequence: bool) -> None:
        """`sequence`: with their sequence numbers."""
        self.symbols = len(ticks.symbols)
        self._ticks = ticks
        self._encoder = Encoder(ticks.columns, sequence)
        self._next = 0

    def fill(self, window: int) -> Fill:
        """Twice what full windows take where every tick makes a row, but at most half of the file."""
        messages = self.take(min(2 * (window + 1) * self.symbols, len(self._ticks) // 2))
        return Fill(len(messages), iter(messages))

    def take(self, count: int) -> list[Message]:
        """The next `count` ticks, or what is left."""
        part = self._ticks.slice(self._next, min(self._next + count, len(self._ticks)))
        self._next += len(part)
        return [Message(tick.symbol.encode(), self._encoder.encode(tick), tick.event_time_ns) for tick in part]

    def take_for(self, duration_s: float) -> list[Message]:
        """The ticks of the next `duration_s`, as `recorded` paces them, or what is left; at least one of these."""
        gaps_s = np.diff(self._ticks.event_time_ns[self._next :]) / NANOSECONDS
        return self.take(1 + int(np.searchsorted(np.clip(gaps_s, 0, GAP_MAX_S).cumsum(), duration_s)))


def poisson(rate_per_s: float, count: int, seed: int) -> NDArray[np.int64]:
    """Arrivals [count] of a Poisson process, nanoseconds after its start. Same seed, same arrivals."""
    gaps_s = np.random.default_rng(seed).exponential(1 / rate_per_s, count)
    return (np.cumsum(gaps_s) * NANOSECONDS).astype(np.int64)


def recorded(messages: Sequence[Message]) -> NDArray[np.int64]:
    """Arrivals [messages] as `tickcast replay` paces them, nanoseconds after the first one."""
    pace = Recorded(gap_max_s=GAP_MAX_S)
    due = (pace.due_ns(Tick(0, "", message.event_time_ns, ())) for message in messages)
    return np.fromiter(due, np.int64, len(messages))


def _form(name: str) -> bytes:
    return b"%d" if name.endswith("_size") else b"%.2f"
