"""A Kafka of one process for benches: hands out each record at its time, and notes when each forecast is handed over.

Stages `poll` and `produce` of the way of a tick, without a broker: what is left is the pipeline's own time.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.bench_load import Fill, Message
from tickcast.clients import Committed, Headers, OffsetRange, OnDelivery, Partition, RebalanceListener, Record
from tickcast.clock import Clock
from tickcast.records import decode

PARTITION = Partition("ticks", 0)
OUTPUT_TOPIC = "forecasts"
DEAD_LETTER_TOPIC = "dead-letters"
# A sleep ends up to so much late (p99 of what was measured); the rest of a wait is spent awake.
SPIN_NS = 150_000


class Poll(NamedTuple):
    """What one poll gave: so many records from `first` on, handed to the loop at `monotonic_ns`."""

    first: int
    records: int
    monotonic_ns: int


class Forecasts(NamedTuple):
    """What the pipeline handed over, in that order."""

    ticks: NDArray[np.int64]  # [forecasts], place of the tick that is answered among those scheduled
    handed_ns: NDArray[np.int64]  # [forecasts], monotonic
    paths: NDArray[np.str_]  # [forecasts]


def wait_until(clock: Clock, until_ns: int, spin_ns: int = SPIN_NS) -> int:
    """Return at `until_ns` sharp, monotonic: asleep as long as that is safe, then awake. The time it is then."""
    asleep_ns = until_ns - clock.monotonic_ns() - spin_ns
    if asleep_ns > 0:
        clock.sleep(asleep_ns / 1e9)
    while (now_ns := clock.monotonic_ns()) < until_ns:
        pass
    return now_ns


class BenchClient:
    """Fulfils `tickcast.clients.Client` for a group of one; acknowledges everything at the next poll.

    The fill lies before where the group starts: it is read back silently, as after a restart. Notes are kept as plain
    numbers and bytes, which the garbage collector does not look at.
    """

    def __init__(self, clock: Clock, fill: Fill, spin_ns: int = SPIN_NS) -> None:
        self.polls: list[Poll] = []
        self.dead_letters = 0
        self.beside = 0  # forecasts to other topics: a shadow's
        self.idle = False  # the last poll was ready to wait: the loop has nothing else to do
        self._clock = clock
        self._monotonic_ns = clock.monotonic_ns
        self._spin_ns = spin_ns
        self._fill = fill
        self._filled = 0
        self._records: list[Record] = []
        self._due_ns: list[int] = []
        self._one_by_one = False
        self._next = 0
        self._first_offset = fill.ticks
        self._handed_ns: list[int] = []
        self._handed_values: list[bytes] = []
        self._waiting: list[OnDelivery] = []
        self._listener: RebalanceListener | None = None
        self._joining = False
        self._paused = True

    # -- for the bench

    @property
    def filled(self) -> bool:
        """Whether the whole fill was handed out."""
        return self._filled == self._fill.ticks

    def open_reader(self) -> "BenchReader":
        """What the fill is read back with."""
        return BenchReader(self)

    def read_back(self, records_max: int) -> list[Record]:
        """The next ticks of the fill."""
        records = [
            Record(PARTITION, offset, message.event_time_ns // 1_000_000, message.key, message.value, ())
            for offset, message in enumerate(islice(self._fill.messages, records_max), self._filled)
        ]
        self._filled += len(records)
        return records

    @property
    def read_so_far(self) -> int:
        """Ticks of the fill handed out."""
        return self._filled

    @property
    def exhausted(self) -> bool:
        """Whether every tick scheduled was handed out."""
        return self._next == len(self._records)

    @property
    def handed(self) -> int:
        """Forecasts handed over so far, of the ticks scheduled last."""
        return len(self._handed_ns)

    @property
    def due_ns(self) -> NDArray[np.int64]:
        """When each tick handed out was due, monotonic."""
        return np.array(self._due_ns[: self._next], np.int64)

    def schedule(self, messages: Sequence[Message], due_ns: NDArray[np.int64] | None) -> None:
        """What comes next, and when: monotonic [messages], ascending. Forgets what was noted before.

        Without times each tick comes alone, as soon as the loop has nothing else to do.
        """
        self._first_offset += len(self._records)
        self._records = [
            Record(PARTITION, offset, message.event_time_ns // 1_000_000, message.key, message.value, ())
            for offset, message in enumerate(messages, self._first_offset)
        ]
        self._one_by_one = due_ns is None
        self._due_ns = [] if due_ns is None else due_ns.tolist()
        self._next = 0
        for noted in (self.polls, self._handed_ns, self._handed_values):
            noted.clear()

    def forecasts(self) -> Forecasts:
        """What was handed over of the ticks scheduled last."""
        answers = [decode(value) for value in self._handed_values]
        ticks = np.array([answer.offset for answer in answers], np.int64) - self._first_offset
        return Forecasts(ticks, np.array(self._handed_ns, np.int64), np.array([each.path for each in answers], np.str_))

    # -- Client

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """See `Client`."""
        self._listener = listener
        self._joining = True

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """See `Client`: what is due by now, and if that is nothing what is due within the timeout."""
        if self._joining and self._listener is not None:
            self._joining = False
            self._listener.assigned([PARTITION])
        self._acknowledge()
        self.idle = timeout_s > 0
        if self._paused:
            self._clock.sleep(timeout_s)
            return []
        return self._read_due(timeout_s, records_max)

    def assignment(self) -> frozenset[Partition]:
        """See `Client`."""
        return frozenset([PARTITION])

    def seek(self, partition: Partition, offset: int) -> None:
        """See `Client`. What is answered begins where the fill ends."""
        assert offset == self._fill.ticks

    def pause(self, partitions: Collection[Partition]) -> None:
        """See `Client`."""
        self._paused = True

    def resume(self, partitions: Collection[Partition]) -> None:
        """See `Client`."""
        self._paused = False

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`: a fresh group."""
        return dict.fromkeys(partitions)

    def last_committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`: a fresh group."""
        return dict.fromkeys(partitions)

    def offset_range(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, OffsetRange]:
        """See `Client`."""
        return {partition: OffsetRange(0, self._fill.ticks) for partition in partitions}

    def end_offsets(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """See `Client`."""
        return {partition: self._first_offset + len(self._records) for partition in partitions}

    def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See `Client`."""
        return self.end_offsets(partitions, 0.0)

    def offsets_for_time(
        self, partitions: Collection[Partition], timestamp_ms: int, timeout_s: float
    ) -> dict[Partition, int | None]:
        """See `Client`."""
        return dict.fromkeys(partitions)

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        """See `Client`."""
        return frozenset([PARTITION.number])

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """See `Client`. The forecast's way ends here."""
        handed_ns = self._monotonic_ns()
        self._waiting.append(on_delivery)
        if topic == DEAD_LETTER_TOPIC or value is None:
            self.dead_letters += 1
            return
        if topic != OUTPUT_TOPIC:
            self.beside += 1
            return
        self._handed_ns.append(handed_ns)
        self._handed_values.append(value)

    def flush(self, timeout_s: float) -> bool:
        """See `Client`."""
        self._acknowledge()
        return True

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """See `Client`."""

    def begin_transaction(self) -> None:
        """See `Client`. Nobody reads what is handed over: when it becomes visible makes no difference."""

    def commit_transaction(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """See `Client`."""
        self._acknowledge()

    def abort_transaction(self, timeout_s: float) -> None:
        """See `Client`. What was handed over stays noted: it is the loop's work that is measured."""
        self._acknowledge()

    def close(self, timeout_s: float) -> None:
        """See `Client`."""
        if self._listener is not None:
            self._listener.revoked([PARTITION])

    # -- private

    def _acknowledge(self) -> None:
        waiting, self._waiting = self._waiting, []
        for on_delivery in waiting:
            on_delivery(None)

    def _read_due(self, timeout_s: float, records_max: int) -> list[Record]:
        first, now_ns = self._next, self._monotonic_ns()
        if self.exhausted or (self._one_by_one and not self.idle):
            return []
        if self._one_by_one:
            self._due_ns.append(now_ns)
        elif self._due_ns[first] > now_ns and timeout_s > 0:
            now_ns = wait_until(self._clock, min(self._due_ns[first], now_ns + int(timeout_s * 1e9)), self._spin_ns)
        self._next = bisect_right(self._due_ns, now_ns, first, min(first + records_max, len(self._due_ns)))
        records = self._records[first : self._next]
        if records:
            self.polls.append(Poll(first, len(records), self._monotonic_ns()))
        return records


class BenchReader:
    """Reads a client's fill back; fulfils `clients.Reader`."""

    def __init__(self, client: BenchClient) -> None:
        self._client = client

    def assign(self, partition: Partition, offset: int) -> None:
        """See `Reader`. A bench replays all of its fill, or it would not know what it measures."""
        if offset:
            raise ValueError(f"reads back from {offset}: the fill is longer than `recovery.replay_records_max`")

    def drop(self, partition: Partition) -> None:
        """See `Reader`."""

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """See `Reader`."""
        return self._client.read_back(records_max)

    def reached(self, partition: Partition) -> int:
        """See `Reader`."""
        return self._client.read_so_far

    def close(self) -> None:
        """See `Reader`."""
