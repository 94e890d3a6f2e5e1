"""The default Kafka client, kafka-python: pure Python, so that nothing but pip is needed.

Stages `poll`, `produce` and `commit` of the way of a tick; the contract is `clients.Client`.

How a rebalance reaches the thread in `poll`: kafka-python calls its listener on the thread of its event loop, for which
the polling thread waits meanwhile, so a listener that waited for the polling thread would wait for ever. `_Notes` only
writes down what happened, having first paused what is new. `poll` tells the pipeline before its next turn. The group
waits for that all the same: under the cooperative protocol (KIP-429) others get what we give up at the *next* join, and
only another turn of ours joins. For this reason `poll` takes single turns, `_poll_once`: `KafkaConsumer.poll` takes as
many as its timeout allows, and the second one would give partitions away before the pipeline has heard of it.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import kafka
import kafka.errors as errors
from kafka.admin import KafkaAdminClient
from kafka.structs import MemberState, OffsetAndMetadata, TopicPartition
from kafka.util import Timer

from tickcast import log
from tickcast.clients import Committed, Headers, OffsetRange, OnDelivery, Partition, RebalanceListener, Record
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, OffsetOutOfRangeError, OwnershipLostError
from tickcast.kafka_python_parts import Notes, Outstanding, consumer_settings, delivery_error, null, producer_settings

# Longest single turn: a rebalance that completes early in a turn is told at its end.
TURN_MAX_S = 0.05
# After an error that heals by itself, so that a cluster that is away is not asked in a busy loop.
RETRY_PAUSE_S = 0.1
# Closing is not skipped for lack of time: each part of it gets at least this much.
CLOSE_TIMEOUT_MIN_S = 0.5
# To say what a partition holds when our position is outside of it.
RANGE_TIMEOUT_S = 1.0

_GROUP_MOVED_ON = (
    errors.CommitFailedError,
    errors.FencedInstanceIdError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)


class KafkaPythonClient:
    """One consumer and one idempotent producer of kafka-python."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        self._config = config
        self._instance_id = instance_id
        self._log = log.get("kafka")
        self._owned: set[Partition] = set()
        self._unpositioned: set[Partition] = set()
        self._fenced = False
        self._listener: RebalanceListener | None = None
        self._outstanding = Outstanding()
        with self._answers("connect"):
            # The producer first: one that cannot connect leaves no thread behind, a consumer does.
            self._producer = kafka.KafkaProducer(**producer_settings(config, instance_id))
            try:
                self._consumer = kafka.KafkaConsumer(**consumer_settings(config, instance_id))
            except BaseException:
                self._producer.close(timeout=CLOSE_TIMEOUT_MIN_S)
                raise
        self._notes = Notes(self._consumer)

    # -- consuming

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self._listener = listener
        self._consumer.subscribe(topics=list(topics), listener=self._notes)

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._tell()
            batches = self._turn(deadline_s, records_max)
            if batches or time.monotonic() >= deadline_s:
                break
        self._tell()
        return [
            Record(partition, row.offset, row.timestamp, row.key, row.value, row.headers)
            for partition, rows in ((Partition(*key), rows) for key, rows in batches.items())
            for row in rows
        ]
