"""Reading partitions back with kafka-python; the contract is `clients.Reader`.

Stage `poll` of the way of a tick, for ticks that are answered already; used by `rebuilds`. kafka-python connects while
its consumer is made, which may take as long as a cluster is away: that happens on a thread of its own.
"""

import threading
from typing import Any

import kafka
from kafka import errors
from kafka.structs import TopicPartition

from tickcast.clients import Partition, Record
from tickcast.config import KafkaConfig
from tickcast.errors import OffsetOutOfRangeError
from tickcast.kafka_python_errors import answering, refusal
from tickcast.kafka_python_fetching import Fetching
from tickcast.kafka_python_settings import opened, reader_settings

CLOSE_TIMEOUT_MS = 1_000


class KafkaPythonReader:
    """A consumer of kafka-python that joins no group."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        self._settings = reader_settings(config, instance_id)
        self._starts: dict[Partition, int] = {}  # assigned, and not told to a consumer yet
        self._partitions: dict[TopicPartition, Partition] = {}
        self._consumer: kafka.KafkaConsumer | None = None
        self._opening = _Opening(self._settings)
        self._opening.start()

    def assign(self, partition: Partition, offset: int) -> None:
        """See `Reader`."""
        self._starts[partition] = offset
        self._partitions[TopicPartition(*partition)] = partition

    def drop(self, partition: Partition) -> None:
        """See `Reader`."""
        self._starts.pop(partition, None)
        if self._partitions.pop(TopicPartition(*partition), None) is not None and self._consumer is not None:
            self._consumer.assign(list(self._partitions))

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """See `Reader`."""
        if self._consumer is None and not self._opened(timeout_s):
            return []
        if self._starts:
            self._place()
        if not self._partitions:
            return []
        try:
            batches = self._fetching.held(records_max) or self._fetching.take(timeout_s, records_max)
        except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
            raise OffsetOutOfRangeError(f"read back: {error}") from error
        except errors.KafkaError as error:
            raise refusal("read back", error) from error
        return [
            Record(partition, row.offset, row.timestamp, row.key, row.value, row.headers)
            for place, rows in batches.items()
            if (partition := self._partitions.get(place)) is not None
            for row in rows
        ]

    def reached(self, partition: Partition) -> int:
        """See `Reader`. What kafka-python skips of itself moves its position on."""
        if partition in self._starts:
            return self._starts[partition]
        assert self._consumer is not None
        return int(self._consumer._subscription.assignment[TopicPartition(*partition)].position.offset)

    def close(self) -> None:
        """See `Reader`."""
        threading.Thread(target=self._opening.close, name="reader-close", daemon=True).start()

    # -- private

    def _opened(self, timeout_s: float) -> bool:
        """Whether the consumer is there now. Raises BrokerError where the cluster did not answer: it is asked again."""
        self._opening.join(timeout_s)
        if self._opening.is_alive():
            return False
        opening = self._opening
        if opening.error is not None:
            self._opening = _Opening(self._settings)
            self._opening.start()
            raise refusal("read back", opening.error)
        self._consumer = opening.consumer
        self._fetching = Fetching(opening.consumer)
        return True

    def _place(self) -> None:
        assert self._consumer is not None
        with answering("read back"):
            self._consumer.assign(list(self._partitions))
            for partition, offset in self._starts.items():
                self._consumer.seek(TopicPartition(*partition), offset)
        self._starts.clear()
        self._fetching.disturb()


class _Opening(threading.Thread):
    """Connects a consumer. `consumer` or `error` is there when it has ended."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(name="reader-open", daemon=True)
        self.consumer: kafka.KafkaConsumer | None = None
        self.error: errors.KafkaError | None = None
        self._settings = settings

    def run(self) -> None:
        try:
            self.consumer = opened(kafka.KafkaConsumer, self._settings)
        except errors.KafkaError as error:
            self.error = error

    def close(self) -> None:
        """Close the consumer, once it is there."""
        self.join()
        if self.consumer is not None:
            self.consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)
