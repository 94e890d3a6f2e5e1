"""The default Kafka client, kafka-python: pure Python, so that nothing but pip is needed.

Stages `poll`, `produce` and `commit` of the way of a tick; the contract is `clients.Client`. How rebalances reach the
polling thread: `kafka_python_membership`.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import kafka
from kafka import errors
from kafka.admin import KafkaAdminClient
from kafka.structs import TopicPartition

from tickcast import kafka_security, log
from tickcast.clients import Committed, Headers, OffsetRange, OnDelivery, Partition, RebalanceListener, Record
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, OffsetOutOfRangeError, OwnershipLostError, TransactionAbortedError
from tickcast.kafka_python_errors import answering, refusal
from tickcast.kafka_python_fetching import Fetching
from tickcast.kafka_python_membership import Membership, Note
from tickcast.kafka_python_offsets import committed_of, name, names, rows_of, unstable
from tickcast.kafka_python_producer import Producer
from tickcast.kafka_python_settings import consumer_settings, opened
from tickcast.kafka_python_transactions import TransactionalProducer

# The longest wait for records between two looks at the group.
TURN_MAX_S = 0.05
# The same while a join is under way, whose end is to be noticed.
TURN_JOINING_MAX_S = 0.005
# After an error that heals by itself, so that a cluster that is away is not asked in a busy loop.
RETRY_PAUSE_S = 0.1
# To say what a partition holds when our position is outside of it.
RANGE_TIMEOUT_S = 1.0
# What kafka-python says where it knows no leader of a partition, or knows that there is none.
NO_LEADER = (None, -1)
# Each part of closing gets at least this much, or a deadline that has passed would skip what frees threads and sockets.
CLOSE_TIMEOUT_MIN_S = 0.5

_GROUP_MOVED_ON = (
    errors.CommitFailedError,
    errors.FencedInstanceIdError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)


class KafkaPythonClient:
    """One consumer and one idempotent producer of kafka-python."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        """Raises BrokerError where the cluster does not answer within `request_timeout_ms`."""
        self._config = config
        self._instance_id = instance_id
        self._log = log.get("kafka")
        self._listener: RebalanceListener | None = None
        self._owned: set[Partition] = set()
        self._unpositioned: set[Partition] = set()
        self._fenced = False
        kind = TransactionalProducer if config.delivery == "exactly_once" else Producer
        with answering("connect"):
            self._producer = kind(config, instance_id)
            try:
                self._consumer = opened(kafka.KafkaConsumer, consumer_settings(config, instance_id))
            except errors.KafkaError:
                self._producer.close(0.0, CLOSE_TIMEOUT_MIN_S)
                raise
        self._membership = Membership(self._consumer)
        self._fetching = Fetching(self._consumer)

    # -- consuming

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """See `Client`. The group is joined by the first `poll`."""
        self._listener = listener
        self._membership.subscribe(topics)

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """See `Client`. Raises OffsetOutOfRangeError where a partition no longer holds what comes next."""
        deadline_s = time.monotonic() + timeout_s
        self._tell()
        while True:
            batches = self._turn(max(0.0, deadline_s - time.monotonic()), records_max)
            told_of = self._tell()
            records: list[Record] = []
            for topic_partition, rows in batches.items():
                partition = Partition(*topic_partition)
                if partition not in told_of:  # else it has a new position, or a new owner, who reads these again
                    records += [Record(partition, r.offset, r.timestamp, r.key, r.value, r.headers) for r in rows]
            if records or time.monotonic() >= deadline_s:
                return records

    def assignment(self) -> frozenset[Partition]:
        """See `Client`: what the listener was told of, so that both always agree."""
        return frozenset(self._owned)

    def seek(self, partition: Partition, offset: int) -> None:
        """See `Client`. Raises OwnershipLostError where `partition` is not ours."""
        try:
            self._consumer.seek(TopicPartition(*partition), offset)
        except ValueError as error:
            raise OwnershipLostError(f"{name(partition)} cannot be positioned at {offset}: {error}") from error
        self._unpositioned.discard(partition)
        self._fetching.disturb()

    def pause(self, partitions: Collection[Partition]) -> None:
        """See `Client`."""
        self._consumer.pause(*self._still_assigned(partitions))

    def resume(self, partitions: Collection[Partition]) -> None:
        """See `Client`."""
        assert self._unpositioned.isdisjoint(partitions), "seek a new partition before resuming it"
        self._consumer.resume(*self._still_assigned(partitions))
        self._fetching.disturb()

    # -- asking

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`. One question for all, repeated while an open transaction is about to commit for any of them."""
        asked = [TopicPartition(*partition) for partition in partitions]
        coordinator = self._consumer._coordinator
        # What came back after its caller had given up may be older than commits made since.
        coordinator._offset_fetch_futures.clear()
        with answering(f"committed offsets of {names(partitions)}"):
            found = coordinator.fetch_committed_offsets(asked, timeout_ms=int(timeout_s * 1_000))
        return committed_of(partitions, found)

    def last_committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`."""
        with answering(f"last committed offsets of {names(partitions)}"):
            found = unstable(self._consumer, partitions, max(1, int(timeout_s * 1_000)))
        return committed_of(partitions, found)

    def offset_range(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, OffsetRange]:
        """See `Client`. Being read-committed, the consumer is told the last stable offset as the end."""
        deadline_s = time.monotonic() + timeout_s
        first = self._bounds(self._consumer.beginning_offsets, partitions, timeout_s)
        end = self._bounds(self._consumer.end_offsets, partitions, deadline_s - time.monotonic())
        return {partition: OffsetRange(first[partition], end[partition]) for partition in partitions}

    def end_offsets(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """See `Client`."""
        return self._bounds(self._consumer.end_offsets, partitions, timeout_s)

    def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See `Client`."""
        found = {Partition(*each): self._consumer.highwater(each) for each in self._still_assigned(partitions)}
        return {partition: offset for partition, offset in found.items() if offset is not None}

    def offsets_for_time(
        self, partitions: Collection[Partition], timestamp_ms: int, timeout_s: float
    ) -> dict[Partition, int | None]:
        """See `Client`."""
        asked = {TopicPartition(*partition): timestamp_ms for partition in partitions}
        with answering("offsets for a time"):
            found = self._consumer.offsets_for_times(asked, int(timeout_s * 1_000))
        cluster = self._consumer._cluster
        leaderless = [each for each in asked if not found[each] and cluster.leader_for_partition(each) in NO_LEADER]
        if leaderless:  # kafka-python leaves these out, as it does those whose records are all older
            raise BrokerError(f"offsets for a time: no leader of {names([Partition(*each) for each in leaderless])}")
        return {Partition(*each): None if found[each] is None else found[each].offset for each in asked}

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        """See `Client`. Through a connection of its own: the consumer's question has no time limit.

        From then on the producer knows the topic, too: its first record may come while the cluster is silent.
        """
        timeout_ms = max(1, int(timeout_s * 1_000))
        settings = {
            "bootstrap_servers": self._config.bootstrap_servers.split(","),
            "bootstrap_timeout_ms": timeout_ms,
            "request_timeout_ms": timeout_ms,
            **kafka_security.for_kafka_python(self._config.security),
        }
        with answering(f"partitions of {topic}"), opened(KafkaAdminClient, settings) as admin:
            (description,) = admin.describe_topics([topic])
        error = errors.for_code(description["error_code"])
        if error is errors.UnknownTopicOrPartitionError:
            return frozenset()
        if error is not errors.NoError:
            raise refusal(f"partitions of {topic}", error())
        self._producer.learn(topic)
        return frozenset(partition["partition_index"] for partition in description["partitions"])

    # -- producing and committing

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """See `Client`. The first record to a topic may wait up to a second for where its partitions are."""
        self._producer.send(topic, value, key, headers, on_delivery, partition)

    def flush(self, timeout_s: float) -> bool:
        """See `Client`."""
        return self._producer.flush(timeout_s)

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """See `Client`. A join that is under way is completed first: in the middle of one nobody may commit."""
        deadline_s = time.monotonic() + timeout_s
        self._membership.complete_join(deadline_s)
        if foreign := self._foreign(offsets):
            raise OwnershipLostError(f"not ours to commit: {names(foreign)}")
        with answering("commit"):
            try:
                self._consumer.commit(rows_of(offsets), timeout_ms=_left_ms(deadline_s))
            except _GROUP_MOVED_ON as error:
                self._fenced |= isinstance(error, errors.FencedInstanceIdError)
                raise OwnershipLostError(f"commit: the group moved on: {error}") from error

    def begin_transaction(self) -> None:
        """See `Client`. What another process has done meanwhile is heard of with the first record, or the commit."""
        self._transactions.begin()

    def commit_transaction(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """See `Client`. As with `commit`, a join that is under way is completed first."""
        deadline_s = time.monotonic() + timeout_s
        if offsets and not self._transactions.committing:
            self._membership.complete_join(deadline_s)
            if foreign := self._foreign(offsets):
                raise TransactionAbortedError(f"not ours to commit: {names(foreign)}")
            if self._membership.joining and not self._membership.notes:
                raise BrokerError("commit: the group has not joined again in time")
        try:
            self._transactions.commit(rows_of(offsets), self._consumer.group_metadata(), deadline_s)
        except TransactionAbortedError as error:
            self._fenced |= isinstance(error.__cause__, errors.FencedInstanceIdError)
            raise

    def abort_transaction(self, timeout_s: float) -> None:
        """See `Client`."""
        self._transactions.abort(time.monotonic() + timeout_s)

    def close(self, timeout_s: float) -> None:
        """See `Client`. A static member does not leave (KIP-345): its partitions wait `session_timeout_ms` for it."""
        deadline_s = time.monotonic() + timeout_s
        try:
            self._membership.complete_join(deadline_s)
            self._tell()
            self._give_up_all()
        finally:
            try:
                with answering("close"):
                    self._membership.close(_left_ms(deadline_s, CLOSE_TIMEOUT_MIN_S))
            finally:
                self._producer.close(deadline_s, CLOSE_TIMEOUT_MIN_S)

    # -- private

    def _turn(self, timeout_s: float, records_max: int) -> dict[TopicPartition, list[Any]]:
        """One look at the group, and one at the records; with neither, at most `timeout_s` of waiting for records."""
        if self._fenced:
            raise OwnershipLostError(
                f"another process is in the group as {self._instance_id!r}: "
                "give each daemon of a group its own `name` (or `kafka.instance_id`)"
            )
        try:
            self._membership.step()
            if self._membership.notes:
                return {}
            turn_max_s = TURN_JOINING_MAX_S if self._membership.joining else TURN_MAX_S
            return self._fetching.take(min(timeout_s, turn_max_s), records_max)
        except errors.OffsetOutOfRangeError as error:
            raise self._out_of_range(error) from error
        except errors.KafkaError as error:
            if not error.retriable:
                raise refusal("poll", error) from error
            self._log.warning("poll failed, trying again", error=str(error))
            time.sleep(min(timeout_s, RETRY_PAUSE_S))
            return {}

    def _tell(self) -> set[Partition]:
        """Pass the notes on to the pipeline, in the order in which things happened. Returns the partitions told of."""
        told_of: set[Partition] = set()
        while self._membership.notes:
            note = self._membership.notes.popleft()
            assert self._listener is not None
            told_of |= note.partitions
            if note.what == "assigned":
                self._owned |= note.partitions
                self._unpositioned |= note.partitions
                self._listener.assigned(note.partitions)
            elif note.what == "revoked":
                self._listener.revoked(note.partitions)
                self._forget(note.partitions)
            else:
                self._forget(note.partitions)
                self._listener.lost(note.partitions)
        return told_of

    def _forget(self, partitions: frozenset[Partition]) -> None:
        self._owned -= partitions
        self._unpositioned -= partitions

    def _give_up_all(self) -> None:
        owned = frozenset(self._owned)
        if not owned:
            return
        ousted = self._fenced or self._membership.ousted
        self._membership.notes.append(Note("lost" if ousted else "revoked", owned))
        self._tell()

    @property
    def _transactions(self) -> TransactionalProducer:
        assert isinstance(self._producer, TransactionalProducer), 'transactions need delivery = "exactly_once"'
        return self._producer

    def _foreign(self, partitions: Collection[Partition]) -> set[Partition]:
        return set(partitions) - (self._owned - self._membership.lost())

    def _still_assigned(self, partitions: Collection[Partition]) -> list[TopicPartition]:
        """A partition about to be revoked has left kafka-python's assignment already, and counts as paused."""
        assigned = self._consumer.assignment()
        return [each for each in (TopicPartition(*partition) for partition in partitions) if each in assigned]

    def _bounds(
        self,
        ask: Callable[[list[TopicPartition], int], dict[TopicPartition, int]],
        partitions: Collection[Partition],
        timeout_s: float,
    ) -> dict[Partition, int]:
        """First or end offsets. Raises BrokerError also where kafka-python knows no leader, and leaves a hole."""
        try:
            with answering(f"offsets of {names(partitions)}"):
                found = ask([TopicPartition(*partition) for partition in partitions], max(1, int(timeout_s * 1_000)))
        except KeyError as error:
            raise BrokerError(f"offsets: no leader of {name(Partition(*error.args[0]))}") from error
        return {Partition(*each): offset for each, offset in found.items()}

    def _out_of_range(self, error: errors.OffsetOutOfRangeError) -> OffsetOutOfRangeError:
        positions = {Partition(*each): offset for each, offset in error.args[0].items()}
        held = self.offset_range(positions, RANGE_TIMEOUT_S)
        return OffsetOutOfRangeError(
            "; ".join(
                f"{name(partition)} holds offsets {held[partition].first} to {held[partition].end}, not {position}, "
                f"which comes next: records were deleted before they were processed"
                for partition, position in positions.items()
            )
        )


def _left_ms(deadline_s: float, at_least_s: float = 0.001) -> int:
    return max(int((deadline_s - time.monotonic()) * 1_000), int(at_least_s * 1_000))
