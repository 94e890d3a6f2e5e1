"""What librdkafka hands over as the project's records and offsets, and back.

Stages `poll` and `commit` of the way of a tick; used by `client_confluent` and its parts.
"""

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import cast

from confluent_kafka import Message, TopicPartition

from tickcast.clients import Committed, Headers, Partition, Record

Place = tuple[str, int]

# Partitions that a message names.
NAMES_MAX = 8
# Stands in a header's name for what is no text.
NO_TEXT = "\ufffd"
# How a pair without its name shows itself, see `_repaired_headers`.
_NAMELESS = "(<NULL>"
# Python's own call of a method may not notice an exception that the method has left behind; this one does.
_ask_headers = operator.methodcaller("headers")


def record_of(message: Message, partition: Partition) -> Record:
    """`message`, which is not an error and comes from `partition`, as a record."""
    return Record(
        partition,
        cast(int, message.offset()),
        message.timestamp()[1],
        message.key(),
        message.value(),
        _headers(message),
    )


def place_of(message: Message) -> Place:
    """Where `message`, a record or the error of one partition, comes from: equal to a Partition, quicker to make."""
    return cast(str, message.topic()), cast(int, message.partition())


def partition_of(found: TopicPartition) -> Partition:
    """Where `found` points."""
    return Partition(found.topic, found.partition)


def committed_of(found: TopicPartition) -> Committed | None:
    """What the group committed. librdkafka's own values below zero stand for nothing.

    It takes the text to end with a NUL and reads on until there is one. Every client of ours stores it; what others
    stored without it, and what lies behind that in memory, need be no text.
    """
    if found.offset < 0:
        return None
    try:
        return Committed(found.offset, (found.metadata or "").rstrip("\0"))
    except UnicodeDecodeError as error:
        return Committed(found.offset, error.object.decode(errors="replace"))


def rows_of(offsets: Mapping[Partition, Committed]) -> list[TopicPartition]:
    """`offsets` as librdkafka wants them."""
    return [TopicPartition(*partition, offset, metadata) for partition, (offset, metadata) in offsets.items()]


def name(partition: Partition) -> str:
    """`partition` in a message."""
    return f"{partition.topic}/{partition.number}"


def names(partitions: Collection[Partition]) -> str:
    """The first of `partitions` in a message, and how many more there are."""
    listed = sorted(map(name, partitions))
    more = [f"{len(listed) - NAMES_MAX} more"] if len(listed) > NAMES_MAX else []
    return ", ".join(listed[:NAMES_MAX] + more)


def _headers(message: Message) -> Sequence[tuple[str, bytes]]:
    """Kafka stores the name of a header as it comes, so any producer may leave bytes there that are no UTF-8."""
    try:
        return cast(Headers, _ask_headers(message) or ())
    except SystemError as error:  # confluent-kafka returns with an exception set, which is the cause of this one
        bad = error.__cause__
        raw: bytes = bad.object if isinstance(bad, UnicodeDecodeError) else b""
        return _repaired_headers(message, raw.decode(errors="replace") or NO_TEXT)


def _repaired_headers(message: Message, bad: str) -> Headers:
    """Headers with a name each: asked again, confluent-kafka answers, with a null pointer for each name that is none.

    Only `repr` may touch such a pointer. `bad` is the name where there is one; several in one record stay unknown.
    """
    pairs = cast(Headers, message.headers())
    nameless = [repr(pair).startswith(_NAMELESS) for pair in pairs]
    name_of_bad = bad if sum(nameless) == 1 else NO_TEXT
    return [(name_of_bad, pair[1]) if is_bad else pair for pair, is_bad in zip(pairs, nameless, strict=True)]
