"""The reader of `tickcast bench kafka`: a process of its own that notes when it has each record of a topic in hand.

The near end of the way of a tick, where users of forecasts would be. Run as a program, `bench_kafka_reader READING`
with a `Reading` as JSON: writes `ready` to standard output when it reads, and after SIGTERM, when it has read all that
was there by then, saves `Seen` and ends.
"""

import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickcast import clients
from tickcast.clients import Client, Partition, Record
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError
from tickcast.records import AnswerPath

NAME = "bench-reader"
READY = "ready"
POLL_S = 0.1
RECORDS_MAX = 2_000
TIMEOUT_S = 30.0
# At the end, so long without a record means that there are no more.
QUIET_S = 2.0
PATHS: tuple[AnswerPath | None, ...] = (None, *get_args(AnswerPath))  # None: an echo's, which is a tick


class Reading(msgspec.Struct, frozen=True):
    """What to read, and where to save what was seen."""

    client: str
    bootstrap_servers: str
    topic: str
    from_start: bool  # else from the end of the topic at the time
    output: str
    security: dict[str, object] = {}  # as `kafka.security` has it


class Seen(NamedTuple):
    """The records of a topic in the order they were read; arrays [records] of wall-clock nanoseconds."""

    seen_ns: NDArray[np.int64]
    due_ns: NDArray[np.int64]  # the event time: when the tick arrived by its schedule
    received_ns: NDArray[np.int64]  # by the daemon; 0 in an echo
    sent_ns: NDArray[np.int64]  # by the daemon; 0 in an echo
    stored_ms: NDArray[np.int64]  # Kafka's timestamp
    path: NDArray[np.int64]  # place in `PATHS`


class _Fields(msgspec.Struct):
    """What ticks and forecasts say of their times."""

    event_time_ns: int
    received_time_ns: int = 0
    sent_time_ns: int = 0
    path: AnswerPath | None = None


def load(path: Path) -> Seen:
    """What a reader saved."""
    with np.load(path) as arrays:
        return Seen(**arrays)


def table(records: Collection[tuple[int, Record]]) -> Seen:
    """What was seen, each with the time at which it was in hand."""
    decode = msgspec.json.Decoder(_Fields).decode
    rows = []
    for seen_ns, record in records:
        fields = decode(record.value or b"")
        times = (fields.event_time_ns, fields.received_time_ns, fields.sent_time_ns)
        rows.append((seen_ns, *times, record.timestamp_ms, PATHS.index(fields.path)))
    columns = dict(zip(Seen._fields, np.array(rows, np.int64).reshape(-1, len(Seen._fields)).T, strict=True))
    return Seen(**columns)


class Reader:
    """Reads every partition of a topic, alone in a group of its own."""

    def __init__(self, client: Client, reading: Reading) -> None:
        self._client = client
        self._from_start = reading.from_start
        self._wanted = len(client.partitions_of(reading.topic, TIMEOUT_S))
        self._next: dict[Partition, int] = {}
        self.records: list[tuple[int, Record]] = []
        client.subscribe([reading.topic], self)

    @property
    def ready(self) -> bool:
        """Whether every partition is read."""
        return len(self._next) == self._wanted

    def step(self) -> None:
        """Take what is there."""
        polled = self._client.poll(POLL_S, RECORDS_MAX)
        now_ns = time.time_ns()
        for record in polled:
            self._next[record.partition] = record.offset + 1
            self.records.append((now_ns, record))

    def finish(self) -> None:
        """Read all that is there now. Raises BrokerError where that takes too long.

        The end of a transaction takes an offset that is no record: where the last ones may be that, nothing more comes.
        """
        ends = self._client.end_offsets(list(self._next), TIMEOUT_S)
        deadline_s, moved_s, before = time.monotonic() + TIMEOUT_S, time.monotonic(), len(self.records)
        while any(self._next[partition] < end for partition, end in ends.items()):
            self.step()
            if len(self.records) > before:
                moved_s, before = time.monotonic(), len(self.records)
            if time.monotonic() - moved_s > QUIET_S:
                return
            if time.monotonic() > deadline_s:
                raise BrokerError(f"the end of the topic was not reached within {TIMEOUT_S:g} s")

    def assigned(self, partitions: Collection[Partition]) -> None:
        """See `RebalanceListener`."""
        for partition, held in self._client.offset_range(partitions, TIMEOUT_S).items():
            self._next[partition] = held.first if self._from_start else held.end
            self._client.seek(partition, self._next[partition])
        self._client.resume(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        """See `RebalanceListener`; only when closing."""

    def lost(self, partitions: Collection[Partition]) -> None:
        """See `RebalanceListener`; the group is nobody else's."""
        raise BrokerError("the reader's partitions went to somebody else")


def main(reading: Reading) -> None:
    """Read until SIGTERM, and what is there then; save it. Raises BrokerError."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    client = clients.connect(_kafka(reading), NAME)
    try:
        reader = Reader(client, reading)
        while not reader.ready:
            reader.step()
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        while not stopping:
            reader.step()
        reader.finish()
    finally:
        client.close(TIMEOUT_S)
    np.savez(reading.output, **table(reader.records)._asdict())


def _kafka(reading: Reading) -> KafkaConfig:
    """The group is one that nobody was ever in."""
    return KafkaConfig.model_validate(
        {
            "client": reading.client,
            "bootstrap_servers": reading.bootstrap_servers,
            "security": reading.security,
            "group_id": f"{NAME}-{time.time_ns()}",
            "input_topics": [reading.topic],
            "output_topic": reading.topic,
            "dead_letter_topic": reading.topic,
        }
    )


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Reading))
