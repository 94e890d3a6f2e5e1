"""Reading fetched records that kafka-python would stop at.

Stage `poll` of the way of a tick; used by `kafka_python_fetching` and `topic_reader`. Kafka stores the name of a header
as it comes, so any producer may leave bytes there that are no UTF-8. kafka-python then fails, at this record for ever;
here such a name is read with U+FFFD for what is no text, and its record is one like any other.
"""

from collections.abc import Iterator
from typing import Any, SupportsIndex

import kafka
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch
from kafka.structs import TopicPartition


def read_leniently(consumer: kafka.KafkaConsumer) -> None:
    """From now on, whatever is in a record, `consumer` gets past it."""
    consumer._fetcher.PartitionRecords = _PartitionRecords  # which the fetcher looks up on itself, once per fetch


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """What one fetch brought of one partition."""

    def take(self, n: int | None = None) -> list[Any]:
        """At most `n` records. After an error nothing is left, and the rest is fetched anew.

        kafka-python would keep what is left and ask it for more without end, as the error has ended the iteration.
        """
        try:
            return list(super().take(n))
        except BaseException:
            self.drain()
            raise

    def _unpack_records(self, tp: TopicPartition, records: MemoryRecords, *deserializers: Any) -> Iterator[Any]:
        unpacked: Iterator[Any] = super()._unpack_records(tp, _Batches(records), *deserializers)
        return unpacked


class _Batches:
    """`MemoryRecords`, as far as they are asked for, with lenient batches."""

    def __init__(self, records: MemoryRecords) -> None:
        self._records = records

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if type(batch) is DefaultRecordBatch:
            batch.__class__ = _LenientBatch  # a new object would copy the batch a second time
        return batch


class _LenientBatch(DefaultRecordBatch):  # type: ignore[misc]
    __slots__ = ()

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:  # nothing of the record is consumed yet
            # For the rest of the batch too: one copy, however many are bad.
            self._buffer = _LenientText(self._buffer)  # type: ignore[has-type, misc]
            return super()._read_msg()


class _LenientText(bytearray):
    """Bytes whose slices decode, whatever is in them."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _LenientText(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "replace")
