"""The producing half of the kafka-python client: hands records over and counts what is not answered yet.

Stage `produce` of the way of a tick; used by `client_kafka_python` and, for what transactions add to it, by
`kafka_python_transactions`. `KafkaProducer.send` is not used: most of its
40 us a record go into checking and preparing what is known here. See `kafka_python_batches`.
"""

import functools
import threading
import time
from collections.abc import Sequence
from typing import Any

import kafka
from kafka import errors
from kafka.partitioner import murmur2
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.structs import TopicPartition

from tickcast.clients import Headers, OnDelivery
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, DeliveryError
from tickcast.kafka_python_batches import Accumulator
from tickcast.kafka_python_errors import refusal
from tickcast.kafka_python_settings import SEND_BLOCK_MAX_MS, opened, producer_settings

# Keys whose hash is remembered: it takes longer than all else, and symbols come again and again.
KEYS_REMEMBERED = 65_536
# A symbol is shorter; a dead letter keeps the key it came with.
KEY_REMEMBERED_BYTES_MAX = 1_000
# Above this a record's size is worked out exactly; below it nothing can be too large.
SURELY_SMALL_BYTES = 65_536


class Producer:
    """An idempotent `kafka.KafkaProducer` whose flush and close keep to their time."""

    def __init__(self, config: KafkaConfig, instance_id: str, **settings: Any) -> None:
        """`settings` beyond those of every producer. Raises kafka-python's errors where the cluster does not answer."""
        self._producer = opened(kafka.KafkaProducer, {**producer_settings(config, instance_id), **settings})
        self._accumulator = self._producer._accumulator
        self._accumulator.__class__ = Accumulator
        self._sender = self._producer._sender
        self._cluster = self._producer._metadata
        self._hash = functools.lru_cache(KEYS_REMEMBERED)(murmur2)
        self._places: dict[str, tuple[object, list[TopicPartition]]] = {}  # a few topics: those of the configuration
        self._handed = 0  # counted by the caller's thread only
        self._heard = 0  # by the sender's
        self._answer = threading.Condition()

    def learn(self, topic: str) -> None:
        """Ask where the partitions of `topic` are, before there is anything to send; returns at once."""
        self._sender.add_topic(topic)

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """Hand one record over. Raises BrokerError where kafka-python refuses it; then `on_delivery` hears nothing."""
        try:
            self._check_size(key, value, headers)
            place = self._place(topic, key, partition)
            is_new = self._accumulator.hand(place, key, value, headers, on_delivery, self._answered)
        except errors.KafkaError as error:
            raise refusal(f"{topic}: the record was refused", error) from error
        self._handed += 1
        if is_new:
            self._sender.wakeup()

    def flush(self, timeout_s: float) -> bool:
        """Whether everything is answered within `timeout_s`.

        Waiting is enough, as nothing lingers; the library's own flush may take its timeout once per batch.
        """
        with self._answer:
            return self._answer.wait_for(lambda: self._heard >= self._handed, timeout_s)

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """Flush and end. What is not answered by `deadline_s` (monotonic) fails, and its `on_delivery` hears of it."""
        if not self.flush(max(0.0, deadline_s - time.monotonic())):
            # `KafkaProducer.close` would raise and leave its thread running; forced, it first fails what is left.
            self._sender.force_close()
        self._producer.close(timeout=max(at_least_s, deadline_s - time.monotonic()))

    def _answered(self, topic: str, told: Sequence[OnDelivery], found: Sequence[BaseException | None]) -> None:
        """What became of records, on the sender's thread."""
        for on_delivery, error in zip(told, found, strict=True):
            on_delivery(
                None if error is None else self._failure(f"{topic}: a record was not delivered: {error}", error)
            )
        with self._answer:
            self._heard += len(told)
            self._answer.notify_all()

    def _failure(self, what: str, error: BaseException) -> BrokerError:
        """What the callback of a record hears that kafka-python has given up."""
        return DeliveryError(what)

    def _place(self, topic: str, key: bytes | None, partition: int | None) -> TopicPartition:
        """Where a record goes: the same key to the same partition, as Java's client does it. Raises KafkaError."""
        partitions = self._cluster._partitions.get(topic)
        if partitions is None:  # a topic not sent to before
            self._producer._wait_on_metadata(topic, SEND_BLOCK_MAX_MS)
            partitions = self._cluster._partitions.get(topic)
        if not partitions:  # forgotten again meanwhile, or without any
            raise errors.LeaderNotAvailableError(f"{topic}: no partitions are known")
        known, places = self._places.get(topic, (None, []))
        if known is not partitions:  # kafka-python makes a new mapping of what it hears of a topic
            places = [TopicPartition(topic, number) for number in sorted(partitions)]
            self._places[topic] = partitions, places
        if partition is not None:
            if not 0 <= partition < len(places):
                raise errors.UnknownTopicOrPartitionError(f"{topic}: it has no partition {partition}")
            return places[partition]
        if key is None:
            return places[self._producer._partition(topic, None, None, None, None, None)]
        hashed = self._hash(key) if len(key) <= KEY_REMEMBERED_BYTES_MAX else murmur2(key)
        return places[(hashed & 0x7FFFFFFF) % len(places)]

    def _check_size(self, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Raises MessageSizeTooLargeError for what no request could hold."""
        if len(value or b"") + len(key or b"") < SURELY_SMALL_BYTES and len(headers) < 4:
            return
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
        self._producer._ensure_valid_record_size(size)
