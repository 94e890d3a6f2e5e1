"""The contract of input formats, and the registry of those there are.

Stage `decode` of the way of a tick. A new format is one module and one line in `DECODERS`; being registered is what
makes the conformance suite (`tests/check_codec.py`) run on it.
"""

import importlib
from math import isfinite
from pathlib import Path
from typing import Protocol

from tickcast.clients import Record
from tickcast.config import InputConfig
from tickcast.errors import (
    ConfigurationError,
    EmptyRecord,
    InvalidRecord,
    MissingExtraError,
    NonFiniteRecord,
    OversizeRecord,
)
from tickcast.known_schemas import Schemas
from tickcast.tick_columns import INT64_MAX, INT64_MIN, NANOSECONDS_PER_UNIT, TimeUnit
from tickcast.windows import Tick, Values

KAFKA_KEY = "kafka_key"
KAFKA_TIMESTAMP = "kafka_timestamp"
# A forecast is keyed by its symbol and repeats it; with symbols as long as records may be, it would not fit into one.
SYMBOL_LENGTH_MAX = 250


class Decoder(Protocol):
    """Reads one record as a tick. Never raises anything but BadRecord, whatever the bytes."""

    def decode(self, record: Record) -> Tick:
        """The tick in `record`. Raises a BadRecord that says why there is none."""


# Name in `input.format` -> module and what makes a decoder, from the input configuration, the record columns' names and
# the schemas that records name, None where they name none. Imported when chosen: an absent extra costs nothing.
DECODERS: dict[str, tuple[str, str]] = {
    "json": ("tickcast.codec_json", "JsonDecoder"),
    "msgpack": ("tickcast.codec_msgpack", "MsgpackDecoder"),
    "avro": ("tickcast.codec_avro", "decoder"),
    "protobuf": ("tickcast.codec_protobuf", "decoder"),
}
# Name in `input.format` -> the extra that brings its library, where that does not come with tickcast.
EXTRAS = {"avro": "registry", "protobuf": "registry"}


def decoder(config: InputConfig, columns: tuple[str, ...], known: Schemas | None = None) -> Decoder:
    """The decoder for the record columns of a bundle; `known` are the schemas that framed records name.

    Raises ConfigurationError for a mapping that does not fit, MissingExtraError where the format's library is absent.
    """
    unknown = sorted(set(config.columns) - set(columns))
    if unknown:
        allowed = ", ".join(columns)
        raise ConfigurationError(f"input.columns: {', '.join(unknown)}: no columns of the bundle; allowed: {allowed}")
    module, name = DECODERS[config.format]
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if config.format not in EXTRAS:
            raise
        raise missing_extra("input", config.format, error) from error
    made: Decoder = getattr(loaded, name)(config, columns, known)
    return made


def missing_extra(section: str, name: str, error: ModuleNotFoundError) -> MissingExtraError:
    """What to say where the library of the format `name` is not there."""
    return MissingExtraError(f"{section}.format = {name!r} needs {error.name}: pip install 'tickcast[{EXTRAS[name]}]'")


def schema_bytes(path: Path) -> bytes:
    """What is in `input.schema_file`. Raises ConfigurationError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}") from error


def schema_text(path: Path) -> str:
    """The same as text. Raises ConfigurationError where it is none."""
    try:
        return schema_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError("not UTF-8") from error


def checked_value(record: Record, bytes_max: int) -> bytes:
    """The record's value, if it is there and not too long. Raises EmptyRecord or OversizeRecord."""
    value = record.value
    if not value:
        raise EmptyRecord("the record has no value")
    if len(value) > bytes_max:
        raise OversizeRecord(f"{len(value)} bytes; at most {bytes_max} are read")
    return value


def checked_columns(values: Values, columns: tuple[str, ...]) -> Values:
    """`values`, all finite. Raises NonFiniteRecord naming the columns that are not."""
    # A finite sum proves all terms finite; an infinite one may be an overflow, so look again.
    if not isfinite(sum(values)):
        bad = [name for name, value in zip(columns, values, strict=True) if not isfinite(value)]
        if bad:
            raise NonFiniteRecord(f"not finite: {', '.join(bad)}")
    return values


def event_time_ns(value: int | float, unit: TimeUnit) -> int:
    """`value` in `unit` as whole nanoseconds. Raises InvalidRecord outside of int64."""
    nanoseconds = value if isinstance(value, int) and unit == "ns" else _nanoseconds(value, unit)
    if not INT64_MIN <= nanoseconds <= INT64_MAX:
        raise InvalidRecord(f"event time {value!r} {unit} does not fit 64 bits of nanoseconds")
    return nanoseconds


def _nanoseconds(value: int | float, unit: TimeUnit) -> int:
    try:
        return round(value * NANOSECONDS_PER_UNIT[unit])
    except (OverflowError, ValueError) as error:
        raise InvalidRecord(f"event time {value!r} is no time") from error


def record_time_ns(record: Record) -> int:
    """The record's own timestamp as event time. Raises InvalidRecord where it has none, or none that fits int64."""
    if record.timestamp_ms < 0:
        raise InvalidRecord("the record has no timestamp to read the event time from")
    return event_time_ns(record.timestamp_ms, "ms")


def checked_symbol(symbol: str) -> str:
    """`symbol`, if it names something and is not too long. Raises InvalidRecord."""
    if not symbol:
        raise InvalidRecord("the symbol is empty")
    if len(symbol) > SYMBOL_LENGTH_MAX:
        raise InvalidRecord(f"a symbol of {len(symbol)} characters; at most {SYMBOL_LENGTH_MAX} are read")
    return symbol


def key_symbol(record: Record) -> str:
    """The record's key as a symbol. Raises InvalidRecord where there is none."""
    if not record.key:
        raise InvalidRecord("the record has no key to read the symbol from")
    try:
        return record.key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecord("the record's key is not UTF-8") from error
