"""The contract of input formats, and the registry of those there are.

Stage `decode` of the way of a tick. A new format is one module and one line in `DECODERS`; being registered is what
makes the conformance suite (`tests/check_codec.py`) run on it.
"""

import importlib
from math import isfinite
from typing import Protocol

from tickcast.clients import Record
from tickcast.config import InputConfig
from tickcast.errors import ConfigurationError, EmptyRecord, InvalidRecord, NonFiniteRecord, OversizeRecord
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


# name in `input.format` -> module and class, made from the input configuration and the record columns' names.
DECODERS: dict[str, tuple[str, str]] = {
    "json": ("tickcast.codec_json", "JsonDecoder"),
}


def decoder(config: InputConfig, columns: tuple[str, ...]) -> Decoder:
    """The configured decoder for the record columns of a bundle. Raises ConfigurationError for a mapping of others."""
    unknown = sorted(set(config.columns) - set(columns))
    if unknown:
        allowed = ", ".join(columns)
        raise ConfigurationError(f"input.columns: {', '.join(unknown)}: no columns of the bundle; allowed: {allowed}")
    module, name = DECODERS[config.format]
    made: Decoder = getattr(importlib.import_module(module), name)(config, columns)
    return made


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
