"""Forecasts as Avro records, of the schema in `schemas/forecast.avsc`.

Stage `encode` of the way of a tick. Written by hand, field by field: fastavro, which reads them, takes twice as
long to write one. Source: the specification of Apache Avro 1.12, binary encoding and schema resolution.
"""

import functools
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import msgspec

from tickcast import forecast_schema, known_schemas
from tickcast.avro_schema import AvroSchema
from tickcast.config import Config
from tickcast.errors import ConfigurationError
from tickcast.known_schemas import Schema
from tickcast.records import Bands, BundleName, Forecast

# Names, and numbers that come again and again.
REMEMBERED = 4_096
_END = b"\0"  # of an array's blocks
_NULL, _THERE = b"\0", b"\2"  # branches of a union
_double = struct.Struct("<d").pack


def encoder(config: Config) -> Callable[[Forecast], bytes]:
    """See `ForecastFormat`."""
    return functools.partial(_encoded, forecast_schema.header(config))


def decoder(config: Config, kind: Any) -> Callable[[bytes], Any]:
    """See `ForecastFormat`."""
    ours = AvroSchema(forecast_schema.text("avro"))
    known = forecast_schema.known(config)
    if known is None:
        return functools.partial(read, ours, ours, 0, kind)
    writers: dict[bytes, AvroSchema] = {}

    def decode(value: bytes) -> Any:
        head = value[: known_schemas.HEADER_BYTES]
        if head not in writers:
            writers[head] = _schema(forecast_schema.named(known, value))
        return read(writers[head], ours, known_schemas.HEADER_BYTES, kind, value)

    return decode


def read(writer: AvroSchema, reader: AvroSchema, header_bytes: int, kind: Any, value: bytes) -> Any:
    """A forecast that was written by one schema, with what another one has to say of fields that it lacks.

    Raises msgspec.DecodeError for what is none.
    """
    file = BytesIO(value)
    file.seek(header_bytes)
    try:
        datum = fastavro.schemaless_reader(file, writer.whole, None if writer is reader else reader.whole)
    except _NO_FORECAST as error:
        raise msgspec.DecodeError(f"no forecast: {error!r}") from error
    return msgspec.convert(datum, kind)


# What fastavro raises for bytes that are not of the schema, and for schemas of something else.
_NO_FORECAST = (EOFError, ValueError, IndexError, KeyError, TypeError, fastavro.read.SchemaResolutionError)


def _schema(schema: Schema) -> AvroSchema:
    try:
        return AvroSchema(schema.text, schema.references)
    except ConfigurationError as error:
        raise msgspec.DecodeError(f"no forecast: {error}") from error


def _encoded(header: bytes, forecast: Forecast) -> bytes:
    values, mid = forecast.forecast, forecast.reference_mid
    parts = (
        header,
        _number(forecast.v),
        _text(forecast.symbol),
        _text(forecast.topic),
        _number(forecast.partition),
        _long(forecast.offset),
        _long(forecast.event_time_ns),
        _long(forecast.tick_time_ns),
        _long(forecast.received_time_ns),
        _long(forecast.sent_time_ns),
        _array(forecast.horizons),
        _doubles(values),
        _text(forecast.unit),
        _NULL if mid is None else _THERE + _double(mid),
        _long(forecast.skipped_before),
        _bundle(forecast.bundle),
        _text(forecast.path),
        _array(forecast.flags),
        _NULL if forecast.bands is None else _bands(forecast.bands),
        _NULL if forecast.attention is None else _THERE + _doubles(forecast.attention),
    )
    return b"".join(parts)


def _bands(bands: Bands) -> bytes:
    return _THERE + _double(bands.level) + _doubles(bands.half_widths)


def _long(value: int) -> bytes:
    zigzag = value << 1 if value >= 0 else -value * 2 - 1
    if not 1 << 56 <= zigzag < 1 << 63:
        return _varint(zigzag)
    # Nine bytes, as times of this century take: eight times seven bits moved apart in three steps, then the last seven.
    low = zigzag & 0x00FF_FFFF_FFFF_FFFF
    low = low & 0x0FFF_FFFF | (low & 0x00FF_FFFF_F000_0000) << 4
    low = low & 0x3FFF_0000_3FFF | (low & 0x0FFF_C000_0FFF_C000) << 2
    low = low & 0x007F_007F_007F_007F | (low & 0x3F80_3F80_3F80_3F80) << 1
    return (zigzag >> 56 << 64 | low | 0x8080_8080_8080_8080).to_bytes(9, "little")


@functools.lru_cache(REMEMBERED)
def _number(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else -value * 2 - 1)


def _varint(zigzag: int) -> bytes:
    made = bytearray()
    while zigzag > 0x7F:
        made.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    made.append(zigzag)
    return bytes(made)


@functools.lru_cache(REMEMBERED)
def _text(value: str) -> bytes:
    data = value.encode()
    return _number(len(data)) + data


@functools.lru_cache(REMEMBERED)
def _array(values: tuple[int, ...] | tuple[str, ...]) -> bytes:
    """One block, and the end."""
    items = [_text(value) if isinstance(value, str) else _number(value) for value in values]
    return b"".join([_number(len(items)), *items, _END]) if items else _END


def _doubles(values: list[float]) -> bytes:
    return _number(len(values)) + struct.pack(f"<{len(values)}d", *values) + _END if values else _END


@functools.lru_cache(REMEMBERED)
def _bundle(bundle: BundleName) -> bytes:
    return _text(bundle.name) + _text(bundle.version) + _text(bundle.sha256)
