"""What the confluent-kafka client knows from asking: committed offsets, and what partitions hold.

Stages `poll` and `commit` of the way of a tick; used by `client_confluent` alone.
"""

import logging
import time
from collections.abc import Collection

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, TopicPartition

from tickcast.clients import Committed, OffsetRange, Partition
from tickcast.config import KafkaConfig
from tickcast.confluent_errors import answering, refusal
from tickcast.confluent_records import committed_of, name, names, partition_of
from tickcast.confluent_settings import onlooker_settings
from tickcast.errors import BrokerError

# Between attempts while a partition is without a leader.
RETRY_PAUSE_S = 0.02

_UNKNOWN_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class ConfluentOffsets:
    """Questions to the cluster. Each raises BrokerError where no answer comes within `timeout_s`."""

    def __init__(self, config: KafkaConfig, instance_id: str, consumer: Consumer, logger: logging.Logger) -> None:
        self._config = config
        self._instance_id = instance_id
        self._consumer = consumer
        self._logger = logger
        self._onlooker: Consumer | None = None  # connected when first needed: after a crash inside a transaction

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`. One question for all, repeated while an open transaction is about to commit for any of them."""
        what = f"committed offsets of {names(partitions)}"
        with answering(what):
            return self._committed(self._consumer, what, partitions, timeout_s)

    def last_committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """See `Client`. Only a consumer that is not read-committed asks without waiting for transactions.

        The administration client would, too, but ends the process on an answer that comes after its timeout.
        """
        what = f"last committed offsets of {names(partitions)}"
        with answering(what):
            if self._onlooker is None:
                self._onlooker = Consumer(onlooker_settings(self._config, self._instance_id), logger=self._logger)
            return self._committed(self._onlooker, what, partitions, timeout_s)

    def offset_range(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, OffsetRange]:
        """See `Client`. Being read-committed, the consumer is told the last stable offset as the end."""
        deadline_s = time.monotonic() + timeout_s
        first = self._offsets(partitions, OFFSET_BEGINNING, timeout_s)
        end = self._offsets(partitions, OFFSET_END, deadline_s - time.monotonic())
        return {partition: OffsetRange(first[partition], end[partition]) for partition in partitions}

    def end_offsets(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """See `Client`."""
        return self._offsets(partitions, OFFSET_END, timeout_s)

    def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See `Client`."""
        found = {p: self._consumer.get_watermark_offsets(TopicPartition(*p), cached=True) for p in partitions}
        return {p: held[1] for p, held in found.items() if held is not None and held[1] >= 0}

    def offsets_for_time(
        self, partitions: Collection[Partition], timestamp_ms: int, timeout_s: float
    ) -> dict[Partition, int | None]:
        """See `Client`."""
        found = self._offsets(partitions, timestamp_ms, timeout_s)
        return {partition: None if offset < 0 else offset for partition, offset in found.items()}

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        """See `Client`."""
        what = f"partitions of {topic}"
        with answering(what):
            found = self._consumer.list_topics(topic, timeout=timeout_s).topics[topic]
        if found.error is not None and found.error.code() not in _UNKNOWN_TOPIC:
            raise refusal(what, found.error)
        return frozenset(found.partitions)

    # -- private

    def _committed(
        self, consumer: Consumer, what: str, partitions: Collection[Partition], timeout_s: float
    ) -> dict[Partition, Committed | None]:
        asked = [TopicPartition(*partition) for partition in partitions]
        found = consumer.committed(asked, timeout=timeout_s) if asked else []
        _check(what, found)
        return {partition_of(each): committed_of(each) for each in found}

    def _offsets(self, partitions: Collection[Partition], at: int, timeout_s: float) -> dict[Partition, int]:
        """First offsets at or after a time; OFFSET_BEGINNING and OFFSET_END are times of the protocol, too."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                return self._offsets_now(partitions, at, max(0.0, deadline_s - time.monotonic()))
            except BrokerError as error:  # a new topic's leaders come one by one, and one missing fails all
                if not error.retriable or time.monotonic() + RETRY_PAUSE_S >= deadline_s:
                    raise
            time.sleep(RETRY_PAUSE_S)

    def _offsets_now(self, partitions: Collection[Partition], at: int, timeout_s: float) -> dict[Partition, int]:
        what = f"offsets of {names(partitions)}"
        with answering(what):
            asked = [TopicPartition(*partition, at) for partition in partitions]
            found = self._consumer.offsets_for_times(asked, timeout=timeout_s) if asked else []
        _check(what, found)
        return {partition_of(each): each.offset for each in found}


def _check(what: str, found: Collection[TopicPartition]) -> None:
    """Raise BrokerError for the first of `found` that is an error."""
    for each in found:
        if each.error is not None:
            raise refusal(f"{what}: {name(partition_of(each))}", each.error)
