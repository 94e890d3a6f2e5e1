"""A Kafka of one process in memory: fulfils `tickcast.clients.Client`, so that the pipeline can be tested alone."""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence

from tickcast.clients import Committed, Headers, OffsetRange, OnDelivery, Partition, RebalanceListener, Record
from tickcast.errors import BrokerError, DeliveryError, TransactionAbortedError


class MemoryCluster:
    """Topics and what groups committed; outlives its clients."""

    def __init__(self) -> None:
        self.topics: dict[Partition, list[Record]] = defaultdict(list)
        self.committed: dict[Partition, Committed] = {}
        self.commits: list[dict[Partition, Committed]] = []
        self.unstable: dict[Partition, int] = defaultdict(int)  # records of open transactions behind the end

    def append(self, partition: Partition, value: bytes | None, key: bytes | None = None, skip: int = 0) -> None:
        """Write a record, `skip` offsets after the previous one (compaction and transactions leave such holes)."""
        log = self.topics[partition]
        offset = (log[-1].offset + 1 if log else 0) + skip
        log.append(Record(partition, offset, 1_700_000_000_000 + offset, key, value, ()))

    def compact(self, partition: Partition) -> None:
        """Of each key only the newest record stays, where it was."""
        log = self.topics[partition]
        newest = {record.key: record.offset for record in log}
        log[:] = [record for record in log if newest[record.key] == record.offset]

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
        self.failing: BrokerError | None = None  # what becomes of records from now on
        self.refusing: BrokerError | None = None  # what `send` raises from now on
        self._owned = list(partitions)
        self._positions: dict[Partition, int] = {}
        self._waiting: list[OnDelivery] = []
        self._acknowledges = acknowledges
        self._listener: RebalanceListener | None = None
        self._told = False
        # What readers of committed records see, and what a transaction under way holds.
        self.visible: list[tuple[str, bytes | None, bytes | None, Headers]] = []
        self.transaction: list[tuple[str, bytes | None, bytes | None, Headers]] | None = None
        self.placed: list[tuple[Partition, bytes | None, bytes | None]] = []  # of it, to partitions that were named
        self.commit_answers: deque[BrokerError | None] = deque()  # to the next calls of `commit_transaction`
        self.plain_commit_answers: deque[BrokerError | None] = deque()  # to the next calls of `commit`
        self.send_answers: deque[BrokerError | None] = deque()  # to the next calls of `send`
        self.revoked_next: list[Partition] = []  # by the next poll, which brings records of the others all the same
        self.assigned_next: list[Partition] = []  # by the next poll, after what is revoked
        self.commits_unheard = False  # a transaction is committed even where the answer is an error

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
        gone, self.revoked_next = self.revoked_next, []
        if gone:
            self._listener.revoked(gone)
            self._owned = [partition for partition in self._owned if partition not in gone]
        new, self.assigned_next = self.assigned_next, []
        if new:
            self._owned += new
            self.paused |= set(new)
            self._listener.assigned(new)
        return [record for record in polled if record.partition not in gone]

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

    def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {p: self.cluster.end(p) + self.cluster.unstable[p] for p in partitions}

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
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        answer = self.send_answers.popleft() if self.send_answers else self.refusing
        if answer is not None:
            raise answer
        if partition is not None:  # what somebody reads back: the others are looked at where they were sent
            if self.transaction is None:
                self.cluster.append(Partition(topic, partition), value, key)
            else:
                self.placed.append((Partition(topic, partition), value, key))
        self.sent.append((topic, value, key, headers))
        if self.transaction is not None:
            self.transaction.append((topic, value, key, headers))
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
        answer = self.plain_commit_answers.popleft() if self.plain_commit_answers else None
        if answer is not None and not self.commits_unheard:
            raise answer
        self._commit(offsets)
        if answer is not None:
            raise answer

    def _commit(self, offsets: Mapping[Partition, Committed]) -> None:
        self.cluster.committed.update(offsets)
        self.cluster.commits.append(dict(offsets))

    def begin_transaction(self) -> None:
        assert self.transaction is None, "one transaction at a time"
        self.transaction = []

    def commit_transaction(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        answer = self.commit_answers.popleft() if self.commit_answers else None
        assert self.transaction is not None
        if answer is None or self.commits_unheard:
            self.visible += self.transaction
            for placed in self.placed:
                self.cluster.append(*placed)
            self.placed = []
            self.transaction = [] if answer is not None else None  # asked again, it has nothing more to add
            self._commit(offsets)
        if answer is not None:
            raise answer

    def abort_transaction(self, timeout_s: float) -> None:
        assert self.transaction is not None
        self.transaction, self.placed = None, []
        waiting, self._waiting = self._waiting, []
        for on_delivery in waiting:
            on_delivery(TransactionAbortedError("aborted"))

    def last_committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        return self.committed(partitions, timeout_s)

    def close(self, timeout_s: float) -> None:
        assert self._listener is not None
        if self._told:
            self._listener.revoked(self._owned)


class MemoryReader:
    """Reads windows back; fulfils `tickcast.clients.Reader`. At most `records_max` at once, whatever is asked for."""

    def __init__(self, cluster: MemoryCluster, records_max: int = 1_000_000) -> None:
        self.closed = False
        self.failures: deque[BrokerError] = deque()  # what the next polls raise
        self._cluster = cluster
        self._records_max = records_max
        self._positions: dict[Partition, int] = {}

    def assign(self, partition: Partition, offset: int) -> None:
        self._positions[partition] = offset

    def drop(self, partition: Partition) -> None:
        del self._positions[partition]

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        assert not self.closed
        if self.failures:
            raise self.failures.popleft()
        polled: list[Record] = []
        most = min(records_max, self._records_max)
        for partition, at in self._positions.items():
            found = [r for r in self._cluster.topics[partition] if r.offset >= at][: most - len(polled)]
            polled += found
            is_end = len(polled) < most
            self._positions[partition] = (
                self._cluster.end(partition) if is_end else found[-1].offset + 1 if found else at
            )
        return polled

    def reached(self, partition: Partition) -> int:
        return self._positions[partition]

    def close(self) -> None:
        self.closed = True
