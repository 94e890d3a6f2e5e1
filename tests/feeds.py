"""Ticks for the tests on a real broker: several symbols' books made up from a seed, and what sends them."""

import itertools
import json
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from kafka import KafkaProducer

START_NS = 1_735_806_600_000_000_000
PRICE_STEP = 0.01
TICK_GAP_NS = 20_000_000
# One of each kind of record that is bad by itself, None being a tombstone. `OVERSIZE_BYTES` is what tests configure.
OVERSIZE_BYTES = 2_000
BAD_VALUES: tuple[bytes | None, ...] = (
    b"{not json",
    None,
    b'{"symbol": "SIM-0", "bid": 1.0, "ask": 2.0, "bid_size": 1, "ask_size": 1}',
    b'{"symbol": "SIM-0", "event_time_ns": 1, "bid": "NaN", "ask": 2.0, "bid_size": 1, "ask_size": 1}',
    b'{"symbol": ' + b'"x"' * OVERSIZE_BYTES + b"}",
    b"[1, 2, 3]",
)


class Message(NamedTuple):
    """A record to be, for partition `number` modulo the topic's partitions."""

    number: int
    key: bytes
    value: bytes | None


def ticks(
    count: int, symbols: int = 6, seed: int = 0, silence_every: int = 0, silence_s: float = 60.0
) -> Iterator[Message]:
    """`count` ticks around prices of 30,000 to 100,000 in steps of 0.01, symbols in random order.

    About one tick in `silence_every` comes `silence_s` after the one before it of the same symbol.
    """
    random = np.random.default_rng(seed)
    bids = random.integers(3_000_000, 10_000_000, symbols)  # in price steps
    times_ns = np.full(symbols, START_NS)
    for _ in range(count):
        symbol = int(random.integers(symbols))
        bids[symbol] += random.integers(-2, 3)
        silent = silence_every and random.integers(silence_every) == 0
        times_ns[symbol] += int(silence_s * 1e9) if silent else int(random.exponential(TICK_GAP_NS))
        bid_size, ask_size = (int(size) for size in random.integers(1, 50, 2))
        book = {
            "symbol": f"SIM-{symbol}",
            "event_time_ns": int(times_ns[symbol]),
            "bid": round(int(bids[symbol]) * PRICE_STEP, 2),
            "ask": round((int(bids[symbol]) + int(random.integers(1, 4))) * PRICE_STEP, 2),
            "bid_size": bid_size,
            "ask_size": ask_size,
        }
        yield Message(symbol, book["symbol"].encode(), json.dumps(book).encode())


def with_bad_records(messages: Iterable[Message], every: int) -> Iterator[Message]:
    """`messages`, and after each `every` of them a bad one, of each kind in turn."""
    kinds = itertools.cycle(BAD_VALUES)
    for number, message in enumerate(messages, 1):
        yield message
        if number % every == 0:
            yield message._replace(value=next(kinds))


class Feed:
    """A producer into one topic. A context manager; leaving it waits until everything is acknowledged."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True, linger_ms=5)
        self._topic = topic
        self._partitions = partitions

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Hand `messages` over; they arrive in this order, while the caller goes on."""
        for number, key, value in messages:
            self._producer.send(self._topic, key=key, value=value, partition=number % self._partitions)

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        self._producer.flush()
