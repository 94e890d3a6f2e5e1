"""Partitions and their committed offsets: as kafka-python takes and gives them, and as messages name them.

Stage `commit` of the way of a tick; used by `client_kafka_python`.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import kafka
from kafka import errors
from kafka.protocol.consumer import OffsetFetchRequest
from kafka.structs import OffsetAndMetadata, TopicPartition

from tickcast.clients import Committed, Partition

# Ends the metadata of a commit: librdkafka, which other members may use, stores it and would read on without it.
END_OF_TEXT = "\0"
# The last version of the request that kafka-python reads.
OFFSET_FETCH_VERSION_MAX = 8
# Partitions that a message names.
NAMES_MAX = 8

Rows = dict[TopicPartition, OffsetAndMetadata]

_Group = OffsetFetchRequest.OffsetFetchRequestGroup
_Topic = _Group.OffsetFetchRequestTopics


def rows_of(offsets: Mapping[Partition, Committed]) -> Rows:
    """What kafka-python commits."""
    return {
        TopicPartition(*partition): OffsetAndMetadata(offset, metadata and metadata + END_OF_TEXT, -1)
        for partition, (offset, metadata) in offsets.items()
    }


def committed_of(partitions: Collection[Partition], rows: Rows) -> dict[Partition, Committed | None]:
    """What was found for `partitions`; the text without its end, as other tools store none."""
    found = {partition: rows.get(TopicPartition(*partition)) for partition in partitions}
    return {
        partition: None if row is None else Committed(row.offset, (row.metadata or "").rstrip(END_OF_TEXT))
        for partition, row in found.items()
    }


def unstable(consumer: kafka.KafkaConsumer, partitions: Collection[Partition], timeout_ms: int) -> Rows:
    """What `consumer`'s group has committed, transactions under way left aside. Raises KafkaError without an answer.

    Asked once. kafka-python's own question of a read-committed consumer waits for such transactions (KIP-447).
    """
    rows: Rows = consumer._net.run(_ask, consumer._coordinator, partitions, timeout_ms)
    return rows


def name(partition: Partition) -> str:
    """One partition, for a message."""
    return f"{partition.topic}/{partition.number}"


def names(partitions: Collection[Partition]) -> str:
    """Some partitions, for a message."""
    found = sorted(map(name, partitions))
    more = [f"{len(found) - NAMES_MAX} more"] if len(found) > NAMES_MAX else []
    return ", ".join(found[:NAMES_MAX] + more)


async def _ask(coordinator: Any, partitions: Collection[Partition], timeout_ms: int) -> Rows:
    """`ConsumerCoordinator.fetch_committed_offsets_async`, once and without requiring stability, on the event loop."""
    deadline_s = time.monotonic() + timeout_ms / 1_000
    if not await coordinator.ensure_coordinator_ready_async(timeout_ms=timeout_ms):
        raise errors.KafkaTimeoutError("no coordinator of the group was found in time")
    numbers = defaultdict(list)
    for topic, number in partitions:
        numbers[topic].append(number)
    request = OffsetFetchRequest(
        group_id=coordinator.group_id,  # versions up to 7 have one group, in these two places
        topics=[
            OffsetFetchRequest.OffsetFetchRequestTopic(name=name, partition_indexes=numbers[name]) for name in numbers
        ],
        groups=[
            _Group(
                group_id=coordinator.group_id,
                topics=[_Topic(name=name, partition_indexes=numbers[name]) for name in numbers],
            )
        ],
        require_stable=False,
        max_version=OFFSET_FETCH_VERSION_MAX,
    )
    left_ms = max(1, int((deadline_s - time.monotonic()) * 1_000))
    sent = coordinator._manager.send(request, node_id=coordinator.coordinator())
    answer = await coordinator._manager.wait_for(sent, left_ms)
    rows: Rows = coordinator._handle_offset_fetch_response(answer)
    return rows
