"""The fast Kafka client, confluent-kafka: librdkafka, in C, which comes with the extra `librdkafka`.

Stages `poll`, `produce` and `commit` of the way of a tick; the contract is `clients.Client`. librdkafka's own threads
keep up the membership, fetch and send; callbacks wait until `poll` serves them, on the loop's thread.
"""

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from tickcast import log
from tickcast.clients import Committed, Headers, OffsetRange, OnDelivery, Partition, RebalanceListener, Record
from tickcast.config import KafkaConfig
from tickcast.confluent_errors import answering, reason, refusal, stays
from tickcast.confluent_offsets import ConfluentOffsets
from tickcast.confluent_producer import ConfluentProducer
from tickcast.confluent_records import Place, name, names, partition_of, place_of, record_of, rows_of
from tickcast.confluent_settings import consumer_settings
from tickcast.confluent_transactions import Progress, TransactionalProducer
from tickcast.errors import BrokerError, OffsetOutOfRangeError, OwnershipLostError, TransactionAbortedError

# While acknowledgements are on their way, the longest wait for records between two looks at them.
TURN_MAX_S = 0.005
# Between attempts while a join hinders a commit.
RETRY_PAUSE_S = 0.02
# To say what a partition holds when our position is outside of it.
RANGE_TIMEOUT_S = 1.0
# Each part of closing gets at least this much, or a deadline that has passed would skip it.
CLOSE_TIMEOUT_MIN_S = 0.5

_JOINING = (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION)
# librdkafka's only fatal error of a consumer is another one under its name.
_FENCED = (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL)
_LOST = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._ASSIGNMENT_LOST)
_GROUP_MOVED_ON = (*_FENCED, *_LOST)

PRODUCERS = {"at_least_once": ConfluentProducer, "exactly_once": TransactionalProducer}


class ConfluentClient:
    """One consumer and one idempotent producer of confluent-kafka."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        """Raises BrokerError where the cluster does not answer within `request_timeout_ms`."""
        self._instance_id = instance_id
        self._log = log.get("kafka")
        self._listener: RebalanceListener | None = None
        self._owned: dict[Place, Partition] = {}  # by what equals it
        self._paused: set[Partition] = set()  # of those owned
        self._starts: dict[Partition, int | None] = {}  # new ones the listener is placing: not librdkafka's to read yet
        self._replaced: dict[Partition, int] = {}  # new ones since this was cleared, and where they begin
        self._failure: BrokerError | None = None
        self._fenced = False
        logger = logging.getLogger("librdkafka")
        with answering("connect"):
            self._consumer = Consumer(consumer_settings(config, instance_id), logger=logger)
            self._consumer.list_topics(config.output_topic, timeout=config.request_timeout_ms / 1_000)
            self._producer = PRODUCERS[config.delivery](config, instance_id, logger)
        self._offsets = ConfluentOffsets(config, instance_id, self._consumer, logger)

    # -- consuming

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """See `Client`. The group is joined in the background; `poll` tells of it."""
        self._listener = listener
        with answering("subscribe"):
            self._consumer.subscribe(
                list(topics),
                on_assign=lambda _consumer, moved: self._assigned(moved),
                on_revoke=lambda _consumer, moved: self._revoked(moved),
                on_lost=lambda _consumer, moved: self._lost(moved),
            )

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """See `Client`. Raises OffsetOutOfRangeError where a partition no longer holds what comes next."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._producer.serve()
            left_s = max(0.0, deadline_s - time.monotonic())
            records = self._take(min(left_s, TURN_MAX_S) if self._producer.unanswered else left_s, records_max)
            if records or time.monotonic() >= deadline_s:
                return records

    def assignment(self) -> frozenset[Partition]:
        """See `Client`: what the listener was told of, so that both always agree."""
        return frozenset(self._owned.values())

    def seek(self, partition: Partition, offset: int) -> None:
        """See `Client`. Raises OwnershipLostError where `partition` is not ours."""
        if partition in self._starts:
            self._starts[partition] = offset
            return
        if partition not in self._owned:
            raise OwnershipLostError(f"{name(partition)} cannot be positioned at {offset}: it is not ours")
        place = TopicPartition(*partition, offset)
        with answering(f"seek {name(partition)}"):
            # A seek is refused before fetching has begun, and after an error has ended it; this never is.
            self._consumer.incremental_unassign([TopicPartition(*partition)])
            self._consumer.incremental_assign([place])
            if partition in self._paused:
                self._consumer.pause([place])

    def pause(self, partitions: Collection[Partition]) -> None:
        """See `Client`."""
        running = {partition for partition in partitions if partition in self._owned} - self._paused
        self._paused |= running
        self._consumer.pause([TopicPartition(*each) for each in running - self._starts.keys()])

    def resume(self, partitions: Collection[Partition]) -> None:
        """See `Client`."""
        unplaced = {partition for partition, offset in self._starts.items() if offset is None}
        assert unplaced.isdisjoint(partitions), "seek a new partition before resuming it"
        waiting = self._paused & set(partitions)
        self._paused -= waiting
        self._consumer.resume([TopicPartition(*each) for each in waiting - self._starts.keys()])

    # -- asking

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`."""
        return self._offsets.committed(partitions, timeout_s)

    def last_committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`."""
        return self._offsets.last_committed(partitions, timeout_s)

    def offset_range(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, OffsetRange]:
        """See `Client`."""
        return self._offsets.offset_range(partitions, timeout_s)

    def end_offsets(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """See `Client`."""
        return self._offsets.end_offsets(partitions, timeout_s)

    def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See `Client`."""
        return self._offsets.high_watermarks(partitions)

    def offsets_for_time(
        self, partitions: Collection[Partition], timestamp_ms: int, timeout_s: float
    ) -> dict[Partition, int | None]:
        """See `Client`."""
        return self._offsets.offsets_for_time(partitions, timestamp_ms, timeout_s)

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        """See `Client`."""
        return self._offsets.partitions_of(topic, timeout_s)

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
        """See `Client`. With the producer's queue full, waits up to a second for room."""
        self._producer.send(topic, value, key, headers, on_delivery, partition)

    def flush(self, timeout_s: float) -> bool:
        """See `Client`."""
        return self._producer.flush(timeout_s)

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """See `Client`. A join that is under way is waited for: in the middle of one nobody may commit.

        A commit that waits for its answer knows no timeout, and one that does not is answered in `poll`. So the
        question for what is committed follows the latter, on the same connection; only where it shows that the
        coordinator answers and has refused, the former asks why.
        """
        deadline_s = time.monotonic() + timeout_s
        foreign = offsets.keys() - self._owned
        if foreign:
            raise OwnershipLostError(f"not ours to commit: {names(foreign)}")
        rows = rows_of(offsets)
        with answering("commit"):
            self._consumer.commit(offsets=rows, asynchronous=True)
        while self.committed(offsets, deadline_s - time.monotonic()) != dict(offsets):
            error = self._commit_error(rows)
            if error is None:
                return
            if error.code() not in _JOINING or time.monotonic() + RETRY_PAUSE_S >= deadline_s:
                self._fenced = self._fenced or error.code() in _FENCED
                if error.code() in _GROUP_MOVED_ON:
                    raise OwnershipLostError(f"commit: the group moved on: {error.str()}")
                raise refusal("commit", error)
            time.sleep(RETRY_PAUSE_S)

    def begin_transaction(self) -> None:
        """See `Client`."""
        self._transactions.begin()

    def commit_transaction(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """See `Client`."""
        self._transactions.commit(lambda: self._progress(offsets), timeout_s)

    def abort_transaction(self, timeout_s: float) -> None:
        """See `Client`."""
        self._transactions.abort(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See `Client`. A static member does not leave (KIP-345): its partitions wait `session_timeout_ms` for it."""
        deadline_s = time.monotonic() + timeout_s
        try:
            self._give_up_all()
        finally:
            self._owned.clear()
            closing = threading.Thread(target=self._consumer.close, daemon=True)  # which has no limit of its own
            closing.start()
            closing.join(max(CLOSE_TIMEOUT_MIN_S, deadline_s - time.monotonic()))
            if closing.is_alive():
                self._log.warning("the consumer has not closed in time", timeout_s=timeout_s)
            self._producer.close(deadline_s, CLOSE_TIMEOUT_MIN_S)

    # -- private

    def _take(self, timeout_s: float, records_max: int) -> list[Record]:
        """What is there, at once when anything is. An error waits for the next call where there are records, too."""
        if self._fenced:
            raise self._ousted()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        self._replaced.clear()
        messages = [first]
        if records_max > 1:
            messages += self._consumer.consume(records_max - 1, 0)
        for partition, start in self._replaced.items():  # what is in hand may be from before: read these again
            self.seek(partition, start)
        records = []
        owned = self._owned
        for message in messages:
            if (error := message.error()) is not None:
                self._note(message, error)
                continue
            source = owned.get(place_of(message))
            if source is not None and source not in self._replaced:
                records.append(record_of(message, source))
        return records if records or self._failure is None else self._take(timeout_s, records_max)

    def _note(self, message: Message, error: KafkaError) -> None:
        """Keep what will not heal for raising; log what will."""
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._failure = self._out_of_range(Partition(*place_of(message)), message.offset())
        elif error.fatal() or error.code() in _FENCED:
            self._fenced = True
            self._failure = self._ousted()
        elif stays(error):
            self._failure = refusal("poll", error)
        else:
            self._log.warning("poll failed, trying again", error=error.str())

    def _ousted(self) -> BrokerError:
        return OwnershipLostError(
            f"another process is in the group as {self._instance_id!r}: "
            "give each daemon of a group its own `name` (or `kafka.instance_id`)"
        )

    def _out_of_range(self, partition: Partition, position: int | None) -> BrokerError:
        held = self.offset_range([partition], RANGE_TIMEOUT_S)[partition]
        return OffsetOutOfRangeError(
            f"{name(partition)} holds offsets {held.first} to {held.end}, not {position}, which comes next: records "
            f"were deleted before they were processed"
        )

    @property
    def _transactions(self) -> TransactionalProducer:
        assert isinstance(self._producer, TransactionalProducer), 'transactions are for `delivery = "exactly_once"`'
        return self._producer

    def _progress(self, offsets: Mapping[Partition, Committed]) -> Progress:
        """What a transaction is to commit, if we may. A member that knows itself that it is none is not checked."""
        foreign = offsets.keys() - self._owned
        if foreign or (offsets and not self._consumer.memberid()):
            raise TransactionAbortedError(f"not ours to commit: {names(foreign or offsets)}")
        return Progress(rows_of(offsets), self._consumer.consumer_group_metadata())

    def _commit_error(self, rows: list[TopicPartition]) -> KafkaError | None:
        """What hinders a commit, from a coordinator that answers."""
        try:
            found = self._consumer.commit(offsets=rows, asynchronous=False) or []
        except KafkaException as error:
            return reason(error)
        return next((each.error for each in found if each.error is not None), None)

    # -- the group, from inside `poll`

    def _assigned(self, moved: list[TopicPartition]) -> None:
        """Let the listener place what is new, then let librdkafka read it from there."""
        new = frozenset(map(partition_of, moved))
        self._owned.update({each: each for each in new})
        self._paused |= new
        self._starts = dict.fromkeys(new)
        if new:
            self._listening.assigned(new)
        starts, self._starts = self._starts, {}
        places = [TopicPartition(*each, OFFSET_END if at is None else at) for each, at in starts.items()]
        self._consumer.incremental_assign(places)
        self._consumer.pause([place for place in places if partition_of(place) in self._paused])
        self._replaced.update({each: at for each, at in starts.items() if at is not None})

    def _revoked(self, moved: list[TopicPartition]) -> None:
        gone = frozenset(map(partition_of, moved)) & self._owned.keys()
        if gone:
            self._listening.revoked(gone)
        self._forget(gone)
        self._consumer.incremental_unassign(moved)

    def _lost(self, moved: list[TopicPartition]) -> None:
        gone = frozenset(map(partition_of, moved)) & self._owned.keys()
        self._forget(gone)
        if gone:
            self._listening.lost(gone)
        self._consumer.incremental_unassign(moved)

    def _forget(self, partitions: frozenset[Partition]) -> None:
        for partition in partitions:
            self._owned.pop(partition, None)
        self._paused -= partitions

    def _give_up_all(self) -> None:
        owned = frozenset(self._owned.values())
        if owned and self._fenced:
            self._forget(owned)
            self._listening.lost(owned)
        elif owned:
            self._listening.revoked(owned)
            self._forget(owned)

    @property
    def _listening(self) -> RebalanceListener:
        assert self._listener is not None
        return self._listener
