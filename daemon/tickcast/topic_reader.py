"""Reads topics from one offset to another, without a group: for `audit`, and for whoever looks at the results.

Stands outside the daemon and shares no reading with its client, so that what it counts is a second opinion.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from tickcast import kafka_greeting, kafka_security
from tickcast.clients import Committed, OffsetRange, Partition, Record
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError
from tickcast.kafka_python_errors import answering
from tickcast.kafka_python_records import read_leniently
from tickcast.kafka_python_settings import check_compression, opened

# A reader that hears nothing for so long reports it instead of waiting for ever.
SILENCE_MAX_S = 30.0
POLL_MS = 1_000
RECORDS_MAX = 2_000


class TopicReader:
    """Committed records only (read_committed). A context manager; `read` may be called many times."""

    def __init__(self, config: KafkaConfig) -> None:
        """Raises BrokerError where the cluster does not answer, RefusedError where it does not let us in."""
        self._config = config
        kafka_greeting.greet(config)
        self._consumer = _consumer(config, {})

    def __enter__(self) -> "TopicReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def partitions(self, topic: str) -> list[Partition]:
        """The partitions of `topic`. Raises BrokerError where it does not exist."""
        with answering(f"partitions of {topic}"):
            numbers = self._consumer.partitions_for_topic(topic)
        if not numbers:
            raise BrokerError(f"topic {topic} does not exist")
        return [Partition(topic, number) for number in sorted(numbers)]

    def held(self, partitions: Collection[Partition]) -> dict[Partition, OffsetRange]:
        """First offset kept and last stable one of each partition."""
        first = _by_topic(self._consumer.beginning_offsets, partitions)
        end = _by_topic(self._consumer.end_offsets, partitions)
        return {partition: OffsetRange(first[partition], end[partition]) for partition in partitions}

    def offsets_at(self, partitions: Collection[Partition], time_ms: int) -> dict[Partition, int | None]:
        """The first offset at or after `time_ms` of each partition, None where every record is older."""
        found = _by_topic(lambda asked: self._consumer.offsets_for_times(dict.fromkeys(asked, time_ms)), partitions)
        return {partition: at.offset if at else None for partition, at in found.items()}

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, Committed | None]:
        """What the configured group has committed."""
        group = _consumer(self._config, {"group_id": self._config.group_id})
        timeout_ms = int(SILENCE_MAX_S * 1_000)
        try:
            with answering("committed offsets"):
                found = {p: group.committed(TopicPartition(*p), True, timeout_ms) for p in partitions}
        finally:
            group.close()
        return {p: Committed(at.offset, at.metadata.rstrip("\x00")) if at else None for p, at in found.items()}

    def read(self, ranges: Mapping[Partition, OffsetRange]) -> Iterator[Record]:
        """Every record of `ranges` ([first, end) each), offsets ascending per partition.

        Raises BrokerError when the broker stays silent for `SILENCE_MAX_S`.
        """
        left = {TopicPartition(*p): held.end for p, held in ranges.items() if held.end > held.first}
        self._consumer.assign(list(left))
        self._consumer.resume(*left)  # paused at the end of the read before, where there was one
        for partition, held in ranges.items():
            if held.end > held.first:
                self._consumer.seek(TopicPartition(*partition), held.first)
        silent_s = 0.0
        while left:
            with answering("reading"):
                _unblock(self._consumer)
                polled = self._consumer.poll(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
            silent_s = 0.0 if polled else silent_s + POLL_MS / 1_000
            for source, records in polled.items():
                partition, end = Partition(source.topic, source.partition), left.get(source, 0)
                for record in records:
                    if record.offset < end:
                        yield _record(partition, record)
            with answering("reading"):
                done = [source for source, end in left.items() if self._consumer.position(source) >= end]
            for source in done:  # the last offsets may be transaction markers, which no poll returns
                del left[source]
            self._consumer.pause(*done)
            if silent_s >= SILENCE_MAX_S:
                raise BrokerError(f"nothing to read for {silent_s:.0f} s, {len(left)} partitions not at their end")


def _consumer(config: KafkaConfig, more: Mapping[str, Any]) -> Any:
    settings = {
        "bootstrap_servers": config.bootstrap_servers,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
        **kafka_security.for_kafka_python(config.security),
    }
    check_compression()
    with answering(config.bootstrap_servers):
        consumer = opened(KafkaConsumer, {**settings, **more})
    read_leniently(consumer)
    return consumer


def _unblock(consumer: Any) -> None:
    """Let go of what is left of a partition whose range has ended.

    kafka-python puts a paused partition's records aside, and takes them up again only where this is None. It leaves the
    finished records of another partition in it, and the first one stalls, also in the next read.
    """
    if not consumer._fetcher._next_partition_records:
        consumer._fetcher._next_partition_records = None


def _by_topic(
    ask: Callable[[list[TopicPartition]], dict[TopicPartition, Any]], partitions: Collection[Partition]
) -> dict[Partition, Any]:
    """What `ask` says of each partition, asked topic by topic.

    kafka-python leaves out what it knows no leader of, and looks for one where it knows none at all: it forgets every
    topic but those it reads.
    """
    topics: dict[str, list[TopicPartition]] = defaultdict(list)
    for partition in partitions:
        topics[partition.topic].append(TopicPartition(*partition))
    found: dict[Partition, Any] = {}
    for topic, asked in topics.items():
        try:
            with answering(f"offsets of {topic}"):
                found |= {Partition(p.topic, p.partition): at for p, at in ask(asked).items()}
        except KeyError as error:
            raise BrokerError(f"offsets of {topic}: no leader of partition {error.args[0].partition}") from error
    return found


def _record(partition: Partition, record: Any) -> Record:
    return Record(partition, record.offset, record.timestamp, record.key, record.value, record.headers)
