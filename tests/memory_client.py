"""A Kafka of one process in memory: fulfils `tickcast.clients.Client`, so that the pipeline can be tested alone."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from tickcast.clients import Committed, Headers, OffsetRange, OnDelivery, Partition, RebalanceListener, Record
from tickcast.errors import BrokerError, DeliveryError


class MemoryCluster:
    """Topics and what groups committed; outlives its clients."""

    def __init__(self) -> None:
        self.topics: dict[Partition, list[Record]] = defaultdict(list)
        self.committed: dict[Partition, Committed] = {}
        self.commits: list[dict[Partition, Committed]] = []

    def append(self, partition: Partition, value: bytes | None, key: bytes | None = None, skip: int = 0) -> None:
        """Write a record, `skip` offsets after the previous one (compaction and transactions leave such holes)."""
        log = self.topics[partition]
        offset = (log[-1].offset + 1 if log else 0) + skip
        log.append(Record(partition, offset, 1_700_000_000_000 + offset, key, value, ()))

    def end(self, partition: Partition) -> int:
        """One past the newest offset."""
        log = self.topics[partition]
        return log[-1].offset + 1 if log else 0


class MemoryClient:
    """One member that owns `partitions`. Acknowledges when told to (`acknowledge`), or at once."""

    def __init__(self, cluster: MemoryCluster, partitions: Sequence[Partition], acknowledges: bool = True) -> None:
        self.cluster = cluster
        self.sent: list[tuple[str, bytes | None, bytes | None, Headers]] = []
        self.paused: set[Partition] = set()
        self.failing: BrokerError | None = None
        self._owned = list(partitions)
        self._positions: dict[Partition, int] = {}
        self._waiting: list[OnDelivery] = []
        self._acknowledges = acknowledges
        self._listener: RebalanceListener | None = None
        self._told = False

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self._listener = listener

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        assert self._listener is not None
        if not self._told:
            self._told = True
            self.paused = set(self._owned)
            self._listener.assigned(self._owned)
        polled: list[Record] = []
        for partition in self._owned:
            if partition in self.paused:
                continue
            at = self._positions[partition]
            found = [r for r in self.cluster.topics[partition] if r.offset >= at][: records_max - len(polled)]
            if found:
                self._positions[partition] = found[-1].offset + 1
                polled += found
        return polled

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._owned)

    def seek(self, partition: Partition, offset: int) -> None:
        self._positions[partition] = offset

    def pause(self, partitions: Collection[Partition]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self.paused -= set(partitions)

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        return {p: self.cluster.committed.get(p) for p in partitions}

    def offset_range(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, OffsetRange]:
        logs = {p: self.cluster.topics[p] for p in partitions}
        return {p: OffsetRange(log[0].offset if log else 0, self.cluster.end(p)) for p, log in logs.items()}

    def end_offsets(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        return {p: self.cluster.end(p) for p in partitions}

    def offsets_for_time(
        self, partitions: Collection[Partition], timestamp_ms: int, timeout_s: float
    ) -> dict[Partition, int | None]:
        return {
            p: next((r.offset for r in self.cluster.topics[p] if r.timestamp_ms >= timestamp_ms), None)
            for p in partitions
        }

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        return frozenset(p.number for p in self.cluster.topics if p.topic == topic)

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        self.sent.append((topic, value, key, headers))
        self._waiting.append(on_delivery)
        if self._acknowledges:
            self.acknowledge()

    def acknowledge(self, count: int | None = None) -> None:
        """Answer the `count` oldest records waiting, or all."""
        done, self._waiting = self._waiting[:count], self._waiting[len(self._waiting[:count]) :]
        for on_delivery in done:
            on_delivery(self.failing)

    def acknowledge_on_flush(self) -> None:
        """From now on a flush, like a send, is answered at once."""
        self._acknowledges = True

    def fail(self) -> None:
        """The next answers are final failures."""
        self.failing = DeliveryError("the test says so")

    def flush(self, timeout_s: float) -> bool:
        if self._acknowledges:
            self.acknowledge()
        return not self._waiting

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        self.cluster.committed.update(offsets)
        self.cluster.commits.append(dict(offsets))

    def close(self, timeout_s: float) -> None:
        assert self._listener is not None
        if self._told:
            self._listener.revoked(self._owned)
