"""Batches of the kafka-python producer, filled record by record at a third of what `KafkaProducer.send` takes.

Stage `produce` of the way of a tick; used by `kafka_python_producer` alone. What a batch becomes is the library's
business as before: idempotence, retries, the sending thread. What differs is how a record gets into it (KIP-98's record
format, in one go instead of byte by byte) and that one answer is heard of per batch, not one future made per record.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import errors
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint
from kafka.structs import TopicPartition

from tickcast.clients import Headers, OnDelivery

# Hears what became of records: their topic, their callbacks, and for each its error or None.
Answered = Callable[[str, Sequence[OnDelivery], Sequence[BaseException | None]], None]
# What the library says of the record at a place in a failed batch.
ErrorOf = Callable[[int], BaseException]

MESSAGE_FORMAT = 2
# Lengths and places whose bytes are remembered: those of a day's forecasts are a few hundred.
VARINTS_REMEMBERED = 8_192
# Names of headers whose bytes are remembered: ours are three, those in dead letters are anybody's.
NAMES_REMEMBERED = 256
_NO_VALUE = b"\x01"  # a length of -1
_ATTRIBUTES = b"\x00"


class Accumulator(RecordAccumulator):  # type: ignore[misc]  # kafka-python has no types
    """The library's accumulator, which also takes records handed over by `hand`.

    An accumulator that the library has made is turned into one of these, as it makes its own.
    """

    def hand(
        self,
        place: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        answered: Answered,
    ) -> bool:
        """Take one record; whether the sender has to be woken, which looks at a batch that it knows of by itself.

        `answered` hears of `on_delivery` once, on the sender's thread. Raises kafka-python's IllegalStateError when
        closed.
        """
        if self._closed:
            raise errors.IllegalStateError("the producer is closed")
        self._appends_in_progress.increment()
        try:
            with self._tp_lock(place):
                batches = self._batches[place]
                # The library's own batches in here are parts of one that was split.
                if batches and type(last := batches[-1]) is Batch and last.hand(key, value, headers, on_delivery):
                    return False
                batch = Batch(place, self.config["batch_size"], answered, self.config["compression_attrs"])
                batch.hand(key, value, headers, on_delivery)
                batches.append(batch)
                self._incomplete.add(batch)
                return True
        finally:
            self._appends_in_progress.decrement()

    def abort_undrained_batches(self, error: BaseException) -> None:
        """See `RecordAccumulator`: what the transaction is aborted for is not the fault of these records.

        Except where they may not be sent at all: then another transaction would be aborted for the same.
        """
        of_all = isinstance(error, errors.AuthorizationError)
        super().abort_undrained_batches(error if of_all else errors.TransactionAbortedError(str(error)))

    def split_and_reenqueue(self, batch: Any, now: float | None = None) -> int:
        """See `RecordAccumulator`: it hangs each record's future onto one of two new batches."""
        if type(batch) is Batch:
            batch.part()
        return int(super().split_and_reenqueue(batch, now))


class Batch(ProducerBatch):  # type: ignore[misc]
    """Records of one partition, and whom to tell of each."""

    def __init__(self, place: TopicPartition, bytes_max: int, answered: Answered, compression: int = 0) -> None:
        """`compression` is the library's number of a way to pack; `bytes_max` is meant before it."""
        records = MemoryRecordsBuilder(MESSAGE_FORMAT, compression, bytes_max)
        records._builder.__class__ = _Builder
        super().__init__(place, records)
        self._told: list[OnDelivery] = []
        self._answered = answered
        self.produce_future._add_cb_eb(self._produced, self._failed)

    def hand(self, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery) -> bool:
        """Whether there was room for the record; there always is for the first one."""
        records = self.records
        if records._closed or not records._builder.write(records._next_offset, key, value, headers):
            return False
        records._next_offset += 1
        self._told.append(on_delivery)
        return True

    def part(self) -> None:
        """Give each record what the library takes for its future."""
        self._record_futures = [_Parted(self.topic_partition.topic, each, self._answered) for each in self._told]

    def _produced(self, result: tuple[int, int, ErrorOf | None]) -> None:
        """The broker has answered, or the library has given up: the library's word for both is success."""
        told, self._told = self._told, []
        _tell(self._answered, self.topic_partition.topic, told, result[2], range(len(told)))

    def _failed(self, error: BaseException) -> None:
        told, self._told = self._told, []
        self._answered(self.topic_partition.topic, told, [error] * len(told))


class _Parted:
    """A record of a batch that was split."""

    def __init__(self, topic: str, on_delivery: OnDelivery, answered: Answered) -> None:
        self._topic = topic
        self._told = [on_delivery]
        self._answered = answered

    def rebind(self, produced: Any, index: int) -> None:
        """From now on this is record `index` of the batch whose future is `produced`. Called again at another split."""
        produced._add_cb_eb(functools.partial(self._produced, index), self._failed)

    def _produced(self, index: int, result: tuple[int, int, ErrorOf | None]) -> None:
        _tell(self._answered, self._topic, self._told, result[2], (index,))

    def _failed(self, error: BaseException) -> None:
        self._answered(self._topic, self._told, [error])


class _Builder(DefaultRecordBatchBuilder):  # type: ignore[misc]
    """Writes records into a batch's buffer. Its attributes are the library's, which mypy cannot see."""

    __slots__ = ()

    def write(self, index: int, key: bytes | None, value: bytes | None, headers: Headers) -> bool:
        """Write record `index`, with the time now; False where it does not fit and is not the first."""
        now_ms = int(time.time() * 1_000)
        if not index:
            self._first_timestamp = self._max_timestamp = now_ms  # type: ignore[misc]
        parts = [
            _ATTRIBUTES,
            _varint(now_ms - self._first_timestamp),
            _varint(index),
            _NO_VALUE if key is None else _varint(len(key)) + key,
            *((_NO_VALUE,) if value is None else (_varint(len(value)), value)),
            _varint(len(headers)),
        ]
        for name, text in headers:
            parts += (_named(name), _varint(len(text)), text)
        body = b"".join(parts)
        length = _varint(len(body))
        if index and len(self._buffer) + len(length) + len(body) > self._batch_size:
            return False
        self._max_timestamp = max(self._max_timestamp, now_ms)  # type: ignore[misc]
        self._num_records += 1
        self._last_offset = index  # type: ignore[misc]
        self._buffer += length
        self._buffer += body
        return True


def _tell(
    answered: Answered, topic: str, told: Sequence[OnDelivery], error_of: ErrorOf | None, places: Sequence[int]
) -> None:
    """Answer records, whether or not the library can say what became of each: the loop waits for every one."""
    if error_of is None:
        answered(topic, told, [None] * len(told))
        return
    found: Sequence[BaseException] = [errors.UnknownError("the library does not say why")] * len(told)
    try:
        found = [error_of(place) for place in places]
    finally:
        answered(topic, told, found)


@functools.lru_cache(VARINTS_REMEMBERED)
def _varint(number: int) -> bytes:
    made = bytearray()
    encode_varint(number, made.append)
    return bytes(made)


@functools.lru_cache(NAMES_REMEMBERED)
def _named(name: str) -> bytes:
    """A header's name with its length before it."""
    text = name.encode()
    return _varint(len(text)) + text
