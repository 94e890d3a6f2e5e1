"""Plays ticks into a topic, each at its time: the far end of the way of a tick, where markets would be.

Open loop: a tick is due at a fixed time after the start, whatever became of those before it. When the sink or the host
is late the next ticks follow at once, and the summary says how late it got; the schedule never slips.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from tickcast.clients import Client
from tickcast.clock import Clock
from tickcast.errors import BrokerError, DeliveryError, UsageError
from tickcast.windows import NANOSECONDS, Tick

OUTSTANDING_MAX = 10_000  # a few MB, and a second's worth at what a Python producer can do
FULL_PAUSE_S = 0.001  # a broker on loopback answers in about this
TOLD_INTERVAL_S = 0.2  # five times a second is as fast as a number can be read


class Sink(Protocol):
    """Where ticks go."""

    def send(self, value: bytes, key: bytes) -> None:
        """Hand one record over; waits while too many are unanswered. Raises BrokerError."""

    def finish(self) -> int:
        """Wait for every answer: how many records were acknowledged. Raises BrokerError if one was not."""


class Pace(Protocol):
    """When ticks are due."""

    def due_ns(self, tick: Tick) -> int | None:
        """Nanoseconds after the start at which `tick` is due; None: at once. Asked once for each tick, in order."""


class Unpaced:
    """As fast as the sink takes them."""

    def due_ns(self, tick: Tick) -> None:
        """There is no schedule to be behind."""


class FixedRate:
    """So many ticks a second, evenly."""

    def __init__(self, ticks_per_s: float) -> None:
        self._interval_ns = NANOSECONDS / ticks_per_s
        self._asked = 0

    def due_ns(self, tick: Tick) -> int:
        """Nanoseconds after the start."""
        due = round(self._asked * self._interval_ns)
        self._asked += 1
        return due


class Recorded:
    """As the event times say, `speed` times as fast. A silence over `gap_max_s` is played as one of `gap_max_s`.

    A tick older than the one before it is due together with it.
    """

    def __init__(self, speed: float = 1.0, gap_max_s: float | None = None) -> None:
        self._speed = speed
        self._gap_max_ns = None if gap_max_s is None else gap_max_s * NANOSECONDS
        self._previous_ns: int | None = None
        self._due_ns = 0.0

    def due_ns(self, tick: Tick) -> int:
        """Nanoseconds after the start."""
        if self._previous_ns is not None:
            gap_ns: float = max(0, tick.event_time_ns - self._previous_ns)
            if self._gap_max_ns is not None:
                gap_ns = min(gap_ns, self._gap_max_ns)
            self._due_ns += gap_ns / self._speed
        self._previous_ns = max(tick.event_time_ns, self._previous_ns or tick.event_time_ns)
        return round(self._due_ns)


class Played(NamedTuple):
    """What came of a replay."""

    ticks: int  # acknowledged
    seconds: float  # from the first to the last acknowledgement
    late_s_max: float  # how far behind its schedule a tick was handed over, at most; 0 where there is none


@dataclass(frozen=True)
class Encoder:
    """Ticks as JSON objects: symbol, event_time_ns, the columns, and the sequence number where the file has one."""

    columns: tuple[str, ...]
    with_sequence: bool = False

    def encode(self, tick: Tick) -> bytes:
        """One tick."""
        fields = {"symbol": tick.symbol, "event_time_ns": tick.event_time_ns}
        if self.with_sequence:
            fields["sequence"] = tick.sequence
        return msgspec.json.encode(fields | dict(zip(self.columns, tick.values, strict=True)))


def play(
    ticks: Iterable[Tick],
    encoder: Encoder,
    sink: Sink,
    pace: Pace,
    clock: Clock,
    tell: Callable[[int], None] = lambda sent: None,
) -> Played:
    """Send each tick when it is due, keyed by symbol, and wait for all answers. `tell` hears how many were sent.

    Time starts with the first tick in hand. Ctrl-C ends the playing, not the waiting for answers. Raises BrokerError as
    soon as one tick was not delivered.
    """
    ticks, start_ns = _started(ticks, clock)
    told_ns = start_ns
    late_ns_max = sent = 0
    try:
        for tick in ticks:
            due_ns = pace.due_ns(tick)
            if due_ns is not None:
                late_ns_max = max(late_ns_max, _wait(start_ns + due_ns, clock))
            sink.send(encoder.encode(tick), tick.symbol.encode())
            sent += 1
            if clock.monotonic_ns() - told_ns >= TOLD_INTERVAL_S * NANOSECONDS:
                told_ns = clock.monotonic_ns()
                tell(sent)
    except KeyboardInterrupt:
        pass
    tell(sent)
    acknowledged = sink.finish()
    return Played(acknowledged, (clock.monotonic_ns() - start_ns) / NANOSECONDS, late_ns_max / NANOSECONDS)


def _started(ticks: Iterable[Tick], clock: Clock) -> tuple[Iterator[Tick], int]:
    """The same ticks with the first one read, and when that was."""
    remaining = iter(ticks)
    first = list(itertools.islice(remaining, 1))
    return itertools.chain(first, remaining), clock.monotonic_ns()


def _wait(due_ns: int, clock: Clock) -> int:
    """Sleep until `due_ns`; how late it is then, in nanoseconds."""
    early_ns = due_ns - clock.monotonic_ns()
    if early_ns > 0:
        clock.sleep(early_ns / NANOSECONDS)
    return max(0, clock.monotonic_ns() - due_ns)


class TopicSink:
    """A Kafka topic, through whichever client is configured. Raises UsageError where the topic does not exist."""

    def __init__(
        self, client: Client, topic: str, clock: Clock, timeout_s: float, outstanding_max: int = OUTSTANDING_MAX
    ) -> None:
        if not client.partitions_of(topic, timeout_s):
            raise UsageError(f"topic {topic}: does not exist")
        self._client = client
        self._topic = topic
        self._clock = clock
        self._timeout_s = timeout_s
        self._outstanding_max = outstanding_max
        self._sent = 0
        self._answered = 0  # written by the client's thread only
        self._failure: BrokerError | None = None

    def send(self, value: bytes, key: bytes) -> None:
        """Hand one record over; waits while too many are unanswered. Raises BrokerError."""
        give_up_ns = self._clock.monotonic_ns() + self._timeout_s * NANOSECONDS
        while self._sent - self._answered >= self._outstanding_max:
            if self._clock.monotonic_ns() > give_up_ns:
                raise BrokerError(f"topic {self._topic}: no acknowledgement within {self._timeout_s:g} s")
            self._client.flush(0.0)  # lets callbacks come
            self._clock.sleep(FULL_PAUSE_S)
            self._raise_failure()
        self._raise_failure()
        self._sent += 1
        self._client.send(self._topic, value, key, [], self._on_delivery)

    def finish(self) -> int:
        """Wait for every answer: how many records were acknowledged. Raises BrokerError if one was not."""
        answered = self._client.flush(self._timeout_s)
        self._raise_failure()
        if not answered:
            unanswered = self._sent - self._answered
            raise BrokerError(f"topic {self._topic}: {unanswered} ticks without an answer after {self._timeout_s:g} s")
        return self._answered

    def _on_delivery(self, error: BrokerError | None) -> None:
        if error is not None:
            self._failure = error
        self._answered += 1

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise DeliveryError(f"topic {self._topic}: a tick was not delivered: {self._failure}") from self._failure
