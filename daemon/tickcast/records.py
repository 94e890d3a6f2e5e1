"""The forecast record, version 1, and the dead letter: what the daemon writes to its topics.

Stage `encode` of the way of a tick. Fields are only ever added; `tests/golden/` holds the encoding to it.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from tickcast.clients import Headers, Partition, Record
from tickcast.errors import BadRecord

VERSION = 1

AnswerPath = Literal["finish", "window", "carried"]

HEADER_TOPIC = "source-topic"
HEADER_PARTITION = "source-partition"
HEADER_OFFSET = "source-offset"
HEADER_REASON = "reason"
HEADER_DETAIL = "detail"
HEADER_LENGTH = "original-length"
HEADER_SHA256 = "original-sha256"
HEADER_KEY_LENGTH = "original-key-length"
HEADER_HEADERS_LENGTH = "original-headers-length"
DETAIL_BYTES_MAX = 1_000  # an error message can quote the record; a header must stay small
# A record may be as long as a broker takes them, and its dead letter says more. Neither its key nor its headers may
# take all the room, or one record could not be buried and would stop the daemon.
KEY_BYTES_MAX = 50_000
HEADERS_BYTES_MAX = 50_000
ROOM_SHARE = 4  # nor more than a quarter of what the topic takes, each
# What Kafka adds (record batches of version 2, KIP-98), with every number at its longest.
BATCH_BYTES = 61
RECORD_BYTES = 36
PAIR_BYTES = 10  # of a header: name and value
# The longest request that producers make by default, and what is in it beside the batch: names of topic and producer.
REQUEST_BYTES_MAX = 1_048_576
REQUEST_BYTES = 1_000
# What a letter says of its record takes less than half of this, with the longest names.
LETTER_BYTES_MIN = 4_096


class BundleName(msgspec.Struct, frozen=True):
    """Which model answered."""

    name: str
    version: str
    sha256: str


class Bands(msgspec.Struct, frozen=True):
    """How far from `forecast[i]`, to either side, the share `level` of what happens is expected: `half_widths[i]`.

    Not its ends: those would be two lists of numbers to be encoded before a forecast may go, instead of one.
    """

    level: float
    half_widths: list[float]


class Forecast(msgspec.Struct, frozen=True, omit_defaults=True):
    """One output record. `forecast[i]` is the change of the mid, in `unit`, `horizons[i]` sampled ticks ahead.

    `skipped_before` and `flags` depend on the clock where `lag.py` lets it have a say; nothing else does but the times.
    A field with a default is left out where it has none to tell.
    """

    v: int
    symbol: str
    topic: str
    partition: int
    offset: int
    event_time_ns: int
    tick_time_ns: int
    received_time_ns: int
    sent_time_ns: int
    horizons: tuple[int, ...]
    forecast: list[float]
    unit: str
    reference_mid: float | None
    skipped_before: int
    bundle: BundleName
    path: AnswerPath
    flags: tuple[str, ...]
    bands: Bands | None = None
    attention: list[float] | None = None  # of each row of the window, oldest first; sum 1


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Forecast).decode


def source_headers(partition: Partition, offset: int) -> Headers:
    """Headers that name the source record: by them a doubled forecast is recognised."""
    return [
        (HEADER_TOPIC, partition.topic.encode()),
        (HEADER_PARTITION, b"%d" % partition.number),
        (HEADER_OFFSET, b"%d" % offset),
    ]


def source_of(headers: Sequence[tuple[str, bytes]]) -> tuple[Partition, int]:
    """The source record that `headers` name. Raises KeyError or ValueError where they name none."""
    fields = dict(headers)
    return Partition(fields[HEADER_TOPIC].decode(), int(fields[HEADER_PARTITION])), int(fields[HEADER_OFFSET])


class DeadLetter(NamedTuple):
    """What is sent to the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter_limit(topic_bytes_max: int) -> int:
    """How long a dead letter may be for a topic with this `max.message.bytes`: its key, value and headers.

    One below `LETTER_BYTES_MIN` is of no use: there are records that no letter of that length can tell of.
    """
    return min(topic_bytes_max, REQUEST_BYTES_MAX - REQUEST_BYTES) - BATCH_BYTES - RECORD_BYTES


# Of topics that take what producers send by default.
LETTER_BYTES_MAX = dead_letter_limit(REQUEST_BYTES_MAX)


def topic_bytes_min() -> int:
    """The least `max.message.bytes` with which a topic takes every dead letter."""
    return LETTER_BYTES_MIN + BATCH_BYTES + RECORD_BYTES


def dead_letter(
    record: Record, error: BadRecord, bytes_max: int, letter_bytes_max: int = LETTER_BYTES_MAX
) -> DeadLetter:
    """Original key, value (at most `bytes_max`) and headers; source, reason, and what was cut.

    `length` of the letter is at most `letter_bytes_max`, which is `LETTER_BYTES_MIN` or more.
    """
    share = letter_bytes_max // ROOM_SHARE
    headers = _original_headers(record, min(HEADERS_BYTES_MAX, share))
    headers += source_headers(record.partition, record.offset)
    headers.append((HEADER_REASON, error.reason.encode()))
    headers.append((HEADER_DETAIL, str(error).encode(errors="replace")[:DETAIL_BYTES_MAX]))
    key, value = record.key, record.value
    if key is not None and len(key) > (key_bytes_max := min(KEY_BYTES_MAX, share)):
        headers.append((HEADER_KEY_LENGTH, b"%d" % len(key)))
        key = key[:key_bytes_max]
    if value is not None:
        whole = DeadLetter(key, value, headers)
        if len(value) > bytes_max or length(whole) > letter_bytes_max:
            headers.append((HEADER_LENGTH, b"%d" % len(value)))
            headers.append((HEADER_SHA256, hashlib.sha256(value).hexdigest().encode()))
            room = letter_bytes_max - length(DeadLetter(key, None, headers))
            value = value[: min(bytes_max, room)]
    return DeadLetter(key, value, headers)


def length(letter: DeadLetter) -> int:
    """How many bytes `letter` takes in a record batch, without what Kafka adds for the record and the batch."""
    return len(letter.key or b"") + len(letter.value or b"") + _length(letter.headers)


def _length(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value) + PAIR_BYTES for name, value in headers)


def _original_headers(record: Record, bytes_max: int) -> Headers:
    """Kafka lets a header's value be null, which not every producer can send: those come as empty ones."""
    headers = [(name, value or b"") for name, value in record.headers]
    if (taken := _length(headers)) > bytes_max:
        return [(HEADER_HEADERS_LENGTH, b"%d" % (taken - PAIR_BYTES * len(headers)))]
    return headers
