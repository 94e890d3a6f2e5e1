"""What lies in the topics of a crash test, read quickly, committed records only."""

import functools
import time
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition
from tickcast import records
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.records import Forecast

BATCH = 5_000
POLL_S = 0.5
TIMEOUT_S = 60.0
# Of one question, which is asked again: the broker may be away, or a transaction open.
ANSWER_TIMEOUT_S = 2.0
PAUSE_S = 0.2
QUIET = 0  # that the broker is away is no news here

Answer = TypeVar("Answer")


class Topics:
    """A reader of a cluster's topics."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    def held(self, topic: str) -> dict[Partition, OffsetRange]:
        """First offset and last stable one of each partition."""
        consumer = self._consumer()
        try:
            numbers = _patiently(lambda: consumer.list_topics(topic, ANSWER_TIMEOUT_S).topics[topic].partitions)
            ask = functools.partial(consumer.get_watermark_offsets, timeout=ANSWER_TIMEOUT_S)
            held = {n: _patiently(functools.partial(ask, TopicPartition(topic, n))) for n in numbers}
        finally:
            consumer.close()
        return {Partition(topic, number): OffsetRange(*each) for number, each in sorted(held.items())}

    def read(self, topic: str) -> Iterator[Record]:
        """Every record of `topic`, offsets ascending per partition. Raises TimeoutError where the end does not come."""
        ends = {p: held.end for p, held in self.held(topic).items() if held.end > held.first}
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(*partition, confluent_kafka.OFFSET_BEGINNING) for partition in ends])
            deadline_s = time.monotonic() + TIMEOUT_S
            while ends:
                found = [_record(each) for each in consumer.consume(BATCH, POLL_S) if each.error() is None]
                yield from found
                if found:
                    deadline_s = time.monotonic() + TIMEOUT_S
                elif time.monotonic() > deadline_s:
                    raise TimeoutError(f"{topic}: nothing for {TIMEOUT_S:.0f} s, and not at its end")
                positions = consumer.position([TopicPartition(*partition) for partition in ends])
                for at in positions:
                    if at.offset >= ends[Partition(at.topic, at.partition)]:
                        del ends[Partition(at.topic, at.partition)]
        finally:
            consumer.close()

    def wait_committed(self, group_id: str, topic: str, timeout_s: float) -> None:
        """Wait until the group has committed all that is in `topic` now. Raises TimeoutError with what is left."""
        ends = {p: held.end for p, held in self.held(topic).items()}
        asked = [TopicPartition(*partition) for partition in ends]
        consumer = self._consumer(group_id)
        deadline_s = time.monotonic() + timeout_s
        try:
            while left := self._left(consumer, asked, ends):
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"not answered and committed within {timeout_s:.0f} s: {left}")
                time.sleep(PAUSE_S)
        finally:
            consumer.close()

    def wait_forecast(self, topic: str, since_ns: int, sources: Collection[int], timeout_s: float) -> float:
        """Seconds from `since_ns` until a reader has a forecast in hand that was sent later, of each of `sources`.

        Those are partitions of the input topic. Raises TimeoutError.
        """
        left, deadline_s = set(sources), time.monotonic() + timeout_s
        consumer = self._consumer()
        try:
            at = [TopicPartition(*partition, since_ns // 1_000_000) for partition in self.held(topic)]
            consumer.assign(_patiently(lambda: consumer.offsets_for_times(at, ANSWER_TIMEOUT_S)))
            while True:
                for each in consumer.consume(BATCH, 0.01):
                    if each.error() is None and (forecast := records.decode(each.value())).sent_time_ns > since_ns:
                        left.discard(forecast.partition)
                if not left:
                    return (time.time_ns() - since_ns) / 1e9
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"no forecast within {timeout_s:.0f} s of partitions {sorted(left)}")
        finally:
            consumer.close()

    def _left(
        self, consumer: Consumer, asked: list[TopicPartition], ends: dict[Partition, int]
    ) -> dict[Partition, tuple[int, int]]:
        """Partition -> committed and end, where these are not the same yet."""
        found = _patiently(lambda: consumer.committed(asked, ANSWER_TIMEOUT_S))
        committed = {Partition(at.topic, at.partition): at.offset for at in found}
        return {p: (committed[p], end) for p, end in ends.items() if committed[p] < end}

    def _consumer(self, group_id: str = "chaos-reader") -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": group_id,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 100,
                "log_level": QUIET,
            }
        )


def forecast_of(record: Record) -> Forecast:
    """The forecast in `record`. Raises ValueError where its headers name another source than it does itself."""
    forecast = records.decode(record.value or b"")
    source, offset = records.source_of(record.headers)
    if (forecast.topic, forecast.partition, forecast.offset) != (*source, offset):
        raise ValueError(f"headers name {source} {offset}, the forecast {forecast}")
    return forecast


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """What the cluster answers, once it does. Raises TimeoutError with what it said instead."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return ask()
        except confluent_kafka.KafkaException as error:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no answer for {TIMEOUT_S:.0f} s: {error}") from error
            time.sleep(PAUSE_S)


def _record(message: confluent_kafka.Message) -> Record:
    partition = Partition(message.topic(), message.partition())
    headers = tuple(message.headers() or ())
    return Record(partition, message.offset(), message.timestamp()[1], message.key(), message.value(), headers)
