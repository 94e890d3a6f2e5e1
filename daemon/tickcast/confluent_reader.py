"""Reading partitions back with confluent-kafka; the contract is `clients.Reader`.

Stage `poll` of the way of a tick, for ticks that are answered already; used by `rebuilds`. librdkafka's own threads
fetch ahead of us, and none of them needs the interpreter.
"""

import logging
import threading
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from tickcast import log
from tickcast.clients import Partition, Record
from tickcast.config import KafkaConfig
from tickcast.confluent_errors import answering, refusal, stays
from tickcast.confluent_records import Place, name, place_of, record_of
from tickcast.confluent_settings import reader_settings
from tickcast.errors import BrokerError, OffsetOutOfRangeError


class ConfluentReader:
    """A consumer of confluent-kafka that joins no group."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        self._log = log.get("kafka")
        self._consumer = Consumer(reader_settings(config, instance_id), logger=logging.getLogger("librdkafka"))
        self._partitions: dict[Place, Partition] = {}  # by what equals it
        self._reached: dict[Partition, int] = {}
        self._failure: BrokerError | None = None

    def assign(self, partition: Partition, offset: int) -> None:
        """See `Reader`."""
        self.drop(partition)
        with answering(f"read back {name(partition)}"):
            self._consumer.incremental_assign([TopicPartition(*partition, offset)])
        self._partitions[partition] = partition
        self._reached[partition] = offset

    def drop(self, partition: Partition) -> None:
        """See `Reader`."""
        if self._partitions.pop(partition, None) is not None:
            del self._reached[partition]
            with answering(f"read {name(partition)} no more"):
                self._consumer.incremental_unassign([TopicPartition(*partition)])

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """See `Reader`."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        messages = [first]
        if records_max > 1:
            messages += self._consumer.consume(records_max - 1, 0)
        records = []
        partitions, reached = self._partitions, self._reached
        for message in messages:
            partition = partitions.get(place_of(message))
            if (error := message.error()) is not None:
                self._note(message, partition, error)
            elif partition is not None:
                records.append(record := record_of(message, partition))
                reached[partition] = record.offset + 1
        return records

    def reached(self, partition: Partition) -> int:
        """See `Reader`."""
        return self._reached[partition]

    def close(self) -> None:
        """See `Reader`. librdkafka waits for its threads, and for a broker that is away."""
        threading.Thread(target=self._consumer.close, name="reader-close", daemon=True).start()

    # -- private

    def _note(self, message: Message, partition: Partition | None, error: KafkaError) -> None:
        """Keep for raising what is not librdkafka's to mend; log the rest."""
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            if partition is not None:
                self._reached[partition] = cast(int, message.offset())
        elif code == KafkaError._AUTO_OFFSET_RESET:
            if partition is not None:
                self._failure = OffsetOutOfRangeError(f"{name(partition)} does not hold offset {message.offset()}")
        elif stays(error):
            self._failure = refusal("read back", error)
        else:
            self._log.warning("reading back failed, trying again", error=error.str())
