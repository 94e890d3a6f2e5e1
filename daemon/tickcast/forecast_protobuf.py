"""Forecasts as Protobuf messages, of the message in `schemas/forecast.proto`.

Stage `encode` of the way of a tick. What is the same in all forecasts of a topic is written once: messages that follow
one another are one message. Source: the Protobuf encoding guide.
"""

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from tickcast import codec_protobuf, forecast_schema
from tickcast.config import Config
from tickcast.errors import UndecodableRecord
from tickcast.records import Forecast

# Topics, models and their horizons that are remembered as they are written.
REMEMBERED = 4_096
# Name -> type, in the order of their numbers, which are those of `schemas/forecast.proto`.
BUNDLE_FIELDS = {"name": Field.TYPE_STRING, "version": Field.TYPE_STRING, "sha256": Field.TYPE_STRING}
BANDS_FIELDS = {"level": Field.TYPE_DOUBLE, "half_widths": Field.TYPE_DOUBLE}
FIELDS = {
    "v": Field.TYPE_INT32,
    "symbol": Field.TYPE_STRING,
    "topic": Field.TYPE_STRING,
    "partition": Field.TYPE_INT32,
    "offset": Field.TYPE_INT64,
    "event_time_ns": Field.TYPE_INT64,
    "tick_time_ns": Field.TYPE_INT64,
    "received_time_ns": Field.TYPE_INT64,
    "sent_time_ns": Field.TYPE_INT64,
    "horizons": Field.TYPE_INT32,
    "forecast": Field.TYPE_DOUBLE,
    "unit": Field.TYPE_STRING,
    "reference_mid": Field.TYPE_DOUBLE,
    "skipped_before": Field.TYPE_INT64,
    "bundle": Field.TYPE_MESSAGE,
    "path": Field.TYPE_STRING,
    "flags": Field.TYPE_STRING,
    "bands": Field.TYPE_MESSAGE,
    "attention": Field.TYPE_DOUBLE,
}
MESSAGES = {"Forecast": FIELDS, "BundleName": BUNDLE_FIELDS, "Bands": BANDS_FIELDS}
# Fields that are messages -> which.
MADE_OF = {"bundle": "BundleName", "bands": "Bands"}
REPEATED = frozenset({"horizons", "forecast", "flags", "half_widths", "attention"})
OPTIONAL = "reference_mid"


def encoder(config: Config) -> Callable[[Forecast], bytes]:
    """See `ForecastFormat`."""
    header = forecast_schema.header(config)
    if header:
        header += codec_protobuf.FIRST
    made, bundle_made, bands_made = message_types()

    @functools.lru_cache(REMEMBERED)
    def constant(*fields: Any) -> bytes:
        v, topic, horizons, unit, bundle, path, flags = fields
        named = bundle_made(name=bundle.name, version=bundle.version, sha256=bundle.sha256)
        same = made(v=v, topic=topic, horizons=horizons, unit=unit, bundle=named, path=path, flags=flags)
        written: bytes = header + same.SerializeToString()
        return written

    def encode(one: Forecast) -> bytes:
        bands = one.bands
        changing = made(
            symbol=one.symbol,
            partition=one.partition,
            offset=one.offset,
            event_time_ns=one.event_time_ns,
            tick_time_ns=one.tick_time_ns,
            received_time_ns=one.received_time_ns,
            sent_time_ns=one.sent_time_ns,
            forecast=one.forecast,
            reference_mid=one.reference_mid,
            skipped_before=one.skipped_before,
            bands=None if bands is None else bands_made(level=bands.level, half_widths=bands.half_widths),
            attention=one.attention,
        )
        same = constant(one.v, one.topic, one.horizons, one.unit, one.bundle, one.path, one.flags)
        written: bytes = same + changing.SerializeToString()
        return written

    return encode


def decoder(config: Config, kind: Any) -> Callable[[bytes], Any]:
    """See `ForecastFormat`. Numbers say what fields are, whatever version of the schema wrote them."""
    made, *_ = message_types()
    is_framed = bool(config.registry.url)

    def decode(value: bytes) -> Any:
        try:
            found = made.FromString(value[codec_protobuf.header_bytes(value) if is_framed else 0 :])
        except (DecodeError, UndecodableRecord) as error:
            raise msgspec.DecodeError(f"no forecast: {error}") from error
        return msgspec.convert(_fields(found), kind)

    return decode


def message_types() -> tuple[type[Message], ...]:
    """Those of `MESSAGES`."""
    pool = DescriptorPool()
    pool.Add(_file())
    return tuple(GetMessageClass(pool.FindMessageTypeByName(f"tickcast.{name}")) for name in MESSAGES)


def _file() -> FileDescriptorProto:
    """What `protoc` makes of `schemas/forecast.proto`: it is not there when the daemon runs."""
    file = FileDescriptorProto(name="forecast.proto", package="tickcast", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = Field.LABEL_REPEATED if field in REPEATED else Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label, type=kind)
            if kind == Field.TYPE_MESSAGE:
                added.type_name = f".tickcast.{MADE_OF[field]}"
            if field == OPTIONAL:  # which proto3 writes down as a oneof of its own
                added.proto3_optional, added.oneof_index = True, 0
                message.oneof_decl.add(name=f"_{field}")
    return file


def _fields(found: Any) -> dict[str, Any]:
    fields = {name: getattr(found, name) for name in FIELDS}
    fields |= {name: tuple(fields[name]) for name in REPEATED & FIELDS.keys()}
    fields["bundle"] = {name: getattr(found.bundle, name) for name in BUNDLE_FIELDS}
    bands = {"level": found.bands.level, "half_widths": tuple(found.bands.half_widths)}
    fields["bands"] = bands if found.HasField("bands") else None
    fields["attention"] = fields["attention"] or None  # a window has a row: none at all says that nobody asked
    if not found.HasField(OPTIONAL):
        fields[OPTIONAL] = None
    return fields
