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
# A record may be as long as a broker takes them, and its dead letter says more. With a value of the default
# `dead_letter_bytes_max` these leave room for that, or one record could not be buried and would stop the daemon.
KEY_BYTES_MAX = 50_000
HEADERS_BYTES_MAX = 50_000


class BundleName(msgspec.Struct, frozen=True):
    """Which model answered."""

    name: str
    version: str
    sha256: str


class Forecast(msgspec.Struct, frozen=True):
    """One output record. `forecast[i]` is the change of the mid, in `unit`, `horizons[i]` sampled ticks ahead."""

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


def dead_letter(record: Record, error: BadRecord, bytes_max: int) -> DeadLetter:
    """Original key, value (at most `bytes_max`) and headers; source, reason, and what was cut."""
    headers = _original_headers(record)
    headers += source_headers(record.partition, record.offset)
    headers.append((HEADER_REASON, error.reason.encode()))
    headers.append((HEADER_DETAIL, str(error).encode(errors="replace")[:DETAIL_BYTES_MAX]))
    value = record.value
    if value is not None and len(value) > bytes_max:
        headers.append((HEADER_LENGTH, b"%d" % len(value)))
        headers.append((HEADER_SHA256, hashlib.sha256(value).hexdigest().encode()))
        value = value[:bytes_max]
    key = record.key
    if key is not None and len(key) > KEY_BYTES_MAX:
        headers.append((HEADER_KEY_LENGTH, b"%d" % len(key)))
        key = key[:KEY_BYTES_MAX]
    return DeadLetter(key, value, headers)


def _original_headers(record: Record) -> Headers:
    """Kafka lets a header's value be null, which not every producer can send: those come as empty ones."""
    headers = [(name, value or b"") for name, value in record.headers]
    length = sum(len(name.encode()) + len(value) for name, value in headers)
    if length + len(headers) > HEADERS_BYTES_MAX:  # a header without name and value takes room, too
        return [(HEADER_HEADERS_LENGTH, b"%d" % length)]
    return headers
