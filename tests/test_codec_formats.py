"""Avro, Protobuf and MessagePack records: what is special to each, and that no bytes raise anything but BadRecord."""

import base64
import json
import random
import struct
import sys
import time
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import check_codec
import codec_formats
import fastavro
import msgspec
import pytest
from codec_formats import Avro, avro_datum
from fastavro.utils import generate_one
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tickcast import avro_compiler, codec
from tickcast.avro_schema import AvroSchema
from tickcast.config import InputConfig
from tickcast.errors import BadRecord, ConfigurationError, InvalidRecord, MissingExtraError, UndecodableRecord
from tickcast.known_schemas import SCHEMAS_MAX, Reference, Schema, Schemas, framed
from tickcast.windows import Tick

FIELDS, COLUMNS, TIME_NS, record = check_codec.FIELDS, check_codec.COLUMNS, check_codec.TIME_NS, check_codec.record
FRAMED = ("avro", "protobuf")


def avro(types: dict[str, Any], fields: dict[str, Any], **settings: Any) -> Tick:
    """What is read of a record whose schema has `types`, where they are not those of `FIELDS`."""
    usual = {"symbol": "string", "event_time_ns": "long", "bid": "double", "ask": "double"}
    listed = [{"name": name, "type": kind} for name, kind in {**usual, **types}.items()]
    schema = {"type": "record", "name": "Tick", "namespace": "md", "fields": listed}
    known = Schemas({1: Schema("AVRO", json.dumps(schema))}.get)
    decoder = codec.decoder(InputConfig(format="avro", **settings), COLUMNS, known)
    return decoder.decode(record(framed(1) + avro_datum(schema, {**FIELDS, **fields})))


def logical(kind: str, meaning: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": meaning, **more}


# -- Avro


@pytest.mark.parametrize(
    ("kind", "value", "time_ns"),
    [
        (logical("long", "timestamp-millis"), 1_700_000_000_123, 1_700_000_000_123_000_000),
        (logical("long", "timestamp-micros"), 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (logical("long", "timestamp-nanos"), TIME_NS, TIME_NS),
        (["null", logical("long", "timestamp-micros")], 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (logical("long", "local-timestamp-millis"), 1_700_000_000_123, 1_700_000_000_123_000_000),
    ],
)
def test_a_timestamp_says_its_unit_itself(kind, value, time_ns):
    for unit in ("ns", "s"):
        tick = avro({"event_time_ns": kind}, {"event_time_ns": value}, event_time_unit=unit)
        assert tick.event_time_ns == time_ns
    with pytest.raises(InvalidRecord):
        avro({"event_time_ns": ["null", logical("long", "timestamp-micros")]}, {"event_time_ns": None})


def test_timestamps_of_two_units_in_one_place_are_refused():
    kinds = [logical("long", "timestamp-millis"), logical("int", "timestamp-micros")]
    with pytest.raises(InvalidRecord, match="more than one unit"):
        avro({"event_time_ns": kinds}, {"event_time_ns": 5})


def test_decimals_numbers_in_text_and_short_floats_are_numbers():
    decimal = logical("bytes", "decimal", precision=20, scale=4)
    fixed = logical("fixed", "decimal", precision=20, scale=2, name="Price", size=12)
    tick = avro({"bid": decimal, "ask": ["null", fixed]}, {"bid": Decimal("60000.0101"), "ask": Decimal("-0.25")})
    assert tick.values == (60000.0101, -0.25)
    assert avro({"bid": "string", "ask": "float"}, {"bid": "1.5", "ask": 2.25}).values == (1.5, 2.25)
    assert avro({"bid": "int", "ask": "long"}, {"bid": 1, "ask": 2}).values == (1.0, 2.0)


def test_enumerations_are_text_and_uuids_are_not_taken_apart():
    venue = {"type": "enum", "name": "Venue", "symbols": ["OPEN", "HALTED"]}
    found = avro({"symbol": venue}, {"symbol": "HALTED"})
    assert found.symbol == "HALTED"
    assert avro({"st": venue}, {"st": "HALTED"}, halted="skip", halted_path="st", halted_values=("HALTED",)).market
    uuid = "12345678-1234-5678-1234-567812345678"
    assert avro({"symbol": logical("string", "uuid")}, {"symbol": uuid}).symbol == uuid


def test_named_types_maps_and_unions_of_records_lie_on_the_way():
    side = {"type": "record", "name": "Side", "fields": [{"name": "p", "type": "double"}]}
    other = {"type": "record", "name": "Other", "fields": [{"name": "q", "type": "double"}]}
    columns = {"bid": "b.p", "ask": "a.p"}
    tick = avro({"b": side, "a": ["null", "md.Side"]}, {"b": {"p": 1.0}, "a": {"p": 2.0}}, columns=columns)
    assert tick.values == (1.0, 2.0)
    with pytest.raises(InvalidRecord, match=r"\$\.a"):
        avro({"b": side, "a": ["null", "md.Side"]}, {"b": {"p": 1.0}, "a": None}, columns=columns)
    tick = avro(
        {"b": [side, other], "a": {"type": "map", "values": "double"}},
        {"b": {"p": 1.0}, "a": {"p": 2.0}},
        columns=columns,
    )
    assert tick.values == (1.0, 2.0)
    with pytest.raises(InvalidRecord):
        avro({"b": [side, other], "a": "md.Side"}, {"b": {"q": 1.0}, "a": {"p": 2.0}}, columns=columns)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}, "holds itself"),
        (
            {
                "type": "record",
                "name": "A",
                "fields": [
                    {
                        "name": "b",
                        "type": {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "A"]}]},
                    }
                ],
            },
            "holds itself",
        ),
        (
            {"type": "record", "name": "A", "fields": [{"name": "x", "type": {"type": "array", "items": "null"}}]},
            "nothing",
        ),
        (
            {
                "type": "record",
                "name": "A",
                "fields": [
                    {
                        "name": "x",
                        "type": {"type": "array", "items": {"type": "record", "name": "E", "fields": []}},
                    }
                ],
            },
            "nothing",
        ),
        ({"type": "record", "name": "A", "fields": [{"name": "x", "type": "unheard-of"}]}, "unheard-of"),
        ({"type": "record"}, "no Avro schema"),
        ("string", "no field 'bid'"),
        ({"type": "record", "name": "A", "fields": [{"name": "bid", "type": "double"}]}, "no field 'ask'"),
        (5, "no Avro schema"),
        ([], "no field"),
    ],
)
def test_a_schema_that_cannot_be_read_by_makes_its_records_invalid_and_says_why(schema, said):
    """A megabyte that says `again` a million times would end the process, if such a schema were read by."""
    decoder = codec.decoder(InputConfig(format="avro"), COLUMNS, Schemas({1: Schema("AVRO", json.dumps(schema))}.get))
    for _ in range(2):
        with pytest.raises(InvalidRecord, match=rf"schema 1: .*{said}"):
            decoder.decode(record(framed(1) + b"\x02" * 900_000))


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "fixed", "name": "F", "size": "4) or exit("},
        {"type": "fixed", "name": "F", "size": -1},
        {"type": "fixed", "name": "F", "size": 2**40},
        logical("bytes", "decimal", precision=5, scale="0) or exit("),
    ],
)
def test_a_size_that_is_none_is_no_schema(kind):
    """What is in a schema never becomes source."""
    with pytest.raises(ConfigurationError, match="no Avro schema"):
        AvroSchema(json.dumps({"type": "record", "name": "A", "fields": [{"name": "bid", "type": kind}]}))


def test_a_megabyte_of_a_decimal_is_refused_at_once():
    began_s = time.monotonic()
    decimal = logical("bytes", "decimal", precision=20, scale=4)
    schema = {
        "type": "record",
        "name": "A",
        "fields": [{"name": "bid", "type": decimal}, {"name": "ask", "type": "int"}],
    }
    known = Schemas({1: Schema("AVRO", json.dumps(schema))}.get)
    config = InputConfig(format="avro", symbol="kafka_key", event_time="kafka_timestamp")
    value = framed(1) + b"\x80\xea\x30" + b"\x7f" * 400_000 + b"\x02"
    with pytest.raises(InvalidRecord, match="a decimal of 400000 bytes"):
        codec.decoder(config, COLUMNS, known).decode(record(value, key=b"ES"))
    assert time.monotonic() - began_s < 10.0  # it would take minutes


def test_mappings_through_maps_and_unions_of_records_read_the_whole_record():
    side = {"type": "record", "name": "Side", "fields": [{"name": "p", "type": "double"}]}
    schema = AvroSchema(
        json.dumps({"type": "record", "name": "A", "fields": [{"name": "b", "type": {"type": "map", "values": side}}]})
    )
    with pytest.raises(avro_compiler.NotCompiledError, match="a path into maps"):
        avro_compiler.compiled(schema.plain, schema.named, {"b.x.p": float})


def test_a_schema_of_a_long_way_is_not_compiled():
    kind: Any = "long"
    for level in range(20):
        fields = [{"name": "x", "type": kind}, {"name": "y", "type": f"L{level - 1}" if level else "long"}]
        kind = {"type": "record", "name": f"L{level}", "fields": fields}
    schema = AvroSchema(json.dumps(kind))
    with pytest.raises(avro_compiler.NotCompiledError, match="a long way"):
        avro_compiler.compiled(schema.plain, schema.named, {})
    for _ in range(30):
        kind = (
            {"type": "array", "items": kind}
            if isinstance(kind, dict) and kind["type"] == "array"
            else {"type": "array", "items": "long"}
        )
    deep = AvroSchema(json.dumps({"type": "record", "name": "A", "fields": [{"name": "x", "type": kind}]}))
    with pytest.raises(avro_compiler.NotCompiledError):
        avro_compiler.compiled(deep.plain, deep.named, {})


def test_a_record_longer_than_its_schema_tells_of_is_not_of_it():
    form = Avro()
    with pytest.raises(UndecodableRecord, match="2 bytes follow"):
        check_codec.decoder("avro", form).decode(record(form.encode(FIELDS) + b"xx"))


def test_an_avro_schema_may_refer_to_others():
    side = json.dumps({"type": "record", "name": "md.Side", "fields": [{"name": "p", "type": "double"}]})
    fields = [{"name": "symbol", "type": "string"}, {"name": "event_time_ns", "type": "long"}]
    fields += [{"name": "bid", "type": "md.Side"}, {"name": "ask", "type": "md.Side"}]
    text = json.dumps({"type": "record", "name": "md.Tick", "fields": fields})
    inline = json.loads(text)
    inline["fields"][2]["type"] = json.loads(side)
    value = framed(1) + avro_datum(inline, {**FIELDS, "bid": {"p": 1.0}, "ask": {"p": 2.0}})
    known = Schemas({1: Schema("AVRO", text, (Reference("md.Side", side),))}.get)
    config = InputConfig(format="avro", columns={"bid": "bid.p", "ask": "ask.p"})
    assert codec.decoder(config, COLUMNS, known).decode(record(value)).values == (1.0, 2.0)


def test_bare_avro_records_are_read_by_the_schema_file(tmp_path: Path):
    file = tmp_path / "tick.avsc"
    schema = codec_formats.avro_schema(FIELDS)
    file.write_text(json.dumps(schema))
    decoder = codec.decoder(InputConfig(format="avro", schema_file=str(file)), COLUMNS)
    assert decoder.decode(record(avro_datum(schema, FIELDS))) == Tick(7, "ES", TIME_NS, (60_000.01, 60_000.02), 0)
    whole = avro_datum(schema, FIELDS)
    for cut in range(1, len(whole)):
        with pytest.raises(BadRecord):
            decoder.decode(record(whole[:cut]))


# -- Protobuf


def file_with(*fields: tuple[str, int, str], syntax: str = "proto3") -> FileDescriptorProto:
    """A file whose first message has `fields`: name, type, name of the type."""
    file = FileDescriptorProto(name="schema.proto", package="md", syntax=syntax)
    message = file.message_type.add(name="Tick")
    for number, (name, kind, type_name) in enumerate(fields, 1):
        added = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL, type=kind)
        if type_name:
            added.type_name = type_name
    return file


def protobuf(file: FileDescriptorProto, fields: dict[str, Any], head: bytes = b"\0", **settings: Any) -> Tick:
    """What is read of a record of the first message of `file`."""
    known = Schemas({1: Schema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode())}.get)
    decoder = codec.decoder(InputConfig(format="protobuf", **settings), COLUMNS, known)
    return decoder.decode(record(framed(1) + head + codec_formats.protobuf_message(file, fields)))


USUAL = (("symbol", Field.TYPE_STRING, ""), ("event_time_ns", Field.TYPE_INT64, ""))
BOOK = (("bid", Field.TYPE_DOUBLE, ""), ("ask", Field.TYPE_DOUBLE, ""))


def test_fields_that_cannot_say_that_they_are_absent_read_as_zero():
    file = file_with(*USUAL, *BOOK)
    fields = {name: value for name, value in FIELDS.items() if name != "ask"}
    assert protobuf(file, FIELDS).values == (60_000.01, 60_000.02)
    assert protobuf(file, fields).values == (60_000.01, 0.0)
    assert protobuf(file, fields, one_sided="skip").market == "one_sided"
    with pytest.raises(InvalidRecord, match="symbol is empty"):
        protobuf(file, {**fields, "symbol": ""})
    with pytest.raises(InvalidRecord, match=r"null.*\$\.ask"):
        protobuf(file_with(*USUAL, *BOOK, syntax="proto2"), fields)


def test_whole_numbers_of_every_kind_and_text_are_numbers():
    for kind in ("INT32", "UINT32", "SINT64", "FIXED64", "SFIXED32", "UINT64"):
        field = ("bid", getattr(Field, f"TYPE_{kind}"), "")
        tick = protobuf(file_with(*USUAL, field, ("ask", Field.TYPE_STRING, "")), {**FIELDS, "bid": 5, "ask": "2.5"})
        assert (tick.values, type(tick.values[0])) == ((5.0, 2.5), float)


def test_wrapped_values_decimals_and_timestamps_are_values():
    wrapped = ("bid", Field.TYPE_MESSAGE, ".google.protobuf.DoubleValue")
    decimal = ("ask", Field.TYPE_MESSAGE, ".confluent.type.Decimal")
    time = ("event_time_ns", Field.TYPE_MESSAGE, ".google.protobuf.Timestamp")
    file = file_with(USUAL[0], time, wrapped, decimal)
    needed = ("timestamp", "wrappers")
    file.dependency.extend([f"google/protobuf/{name}.proto" for name in needed] + ["confluent/type/decimal.proto"])
    fields = {
        "symbol": "ES",
        "event_time_ns": {"seconds": 1_700_000_000, "nanos": 123_456_789},
        "bid": {"value": 1.5},
        "ask": {"value": (-12345).to_bytes(3, signed=True), "precision": 10, "scale": 3},
    }
    assert protobuf(file, fields) == Tick(7, "ES", TIME_NS, (1.5, -12.345), 0)
    assert protobuf(file, fields, event_time_unit="ms").event_time_ns == TIME_NS
    del fields["bid"]
    assert protobuf(file, fields, one_sided="skip").market == "one_sided"
    with pytest.raises(InvalidRecord, match=r"\$\.bid"):
        protobuf(file, fields)


def test_enumerations_are_their_names():
    file = file_with(*USUAL, *BOOK, ("st", Field.TYPE_ENUM, ".md.State"))
    state = file.enum_type.add(name="State")
    for number, name in enumerate(("OPEN", "HALTED")):
        state.value.add(name=name, number=number)
    settings: dict[str, Any] = {"halted": "skip", "halted_path": "st", "halted_values": ("HALTED", "7")}
    assert protobuf(file, {**FIELDS, "st": 1}, **settings).market == "halted"
    assert protobuf(file, {**FIELDS, "st": 7}, **settings).market == "halted"
    assert protobuf(file, FIELDS, **settings).market is None


def test_the_header_says_which_message_of_the_file_it_is():
    file = file_with(("other", Field.TYPE_BOOL, ""))
    inner = file.message_type.add(name="Events").nested_type.add(name="Quote")
    inner.MergeFrom(file_with(*USUAL, *BOOK).message_type[0])
    inner.name = "Quote"
    known = Schemas({1: Schema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode())}.get)
    decoder = codec.decoder(InputConfig(format="protobuf"), COLUMNS, known)
    message = codec_formats.protobuf_message(file_with(*USUAL, *BOOK), FIELDS)
    for _ in range(2):
        assert decoder.decode(record(framed(1) + b"\x04\x02\x00" + message)).symbol == "ES"
    for head, error in (
        (b"\x00", InvalidRecord),  # the first message, which has no such fields
        (b"\x02\x02", InvalidRecord),
        (b"\x02\x0a", InvalidRecord),  # there is no sixth
        (b"\x02\x01", UndecodableRecord),
        (b"\x01", UndecodableRecord),
        (b"\x40", UndecodableRecord),
        (b"\xff\xff\xff\xff\xff\x7f", UndecodableRecord),
        (b"\x04\x02", UndecodableRecord),
    ):
        with pytest.raises(error):
            decoder.decode(record(framed(1) + head + (b"" if head == b"\x04\x02" else message)))


def test_bare_protobuf_records_are_read_by_the_descriptor_set(tmp_path: Path):
    (tmp_path / "tick.proto").write_text(
        'syntax = "proto3"; package md; import "google/protobuf/timestamp.proto";'
        "message Tick { string s = 1; google.protobuf.Timestamp t = 2; Side b = 3; Side a = 4;"
        "  message Side { double p = 1; } repeated double many = 5; bytes raw = 6; }"
    )
    whole = ["--include_imports"]
    for more in (whole, []):  # what every library brings need not be in it
        codec_formats.protoc(f"-I{tmp_path}", *more, f"-o{tmp_path}/tick.desc", f"{tmp_path}/tick.proto")
        config: dict[str, Any] = {
            "format": "protobuf",
            "schema_file": str(tmp_path / "tick.desc"),
            "message": "md.Tick",
            "symbol": "s",
            "event_time": "t",
            "columns": {"bid": "b.p", "ask": "a.p"},
        }
        decoder = codec.decoder(InputConfig(**config), COLUMNS)
        value = b"\x0a\x02ES\x12\x08\x08\x80\xe2\xcf\xaa\x06\x10\x05" + b"\x1a\x09\x09" + b"\0" * 6 + b"\xf0\x3f"
        tick = decoder.decode(record(value + b"\x22\x09\x09" + b"\0" * 7 + b"\x40"))
        assert tick == Tick(7, "ES", 1_700_000_000_000_000_005, (1.0, 2.0), 0)
    for change, said in (
        ({"message": "md.Tack"}, r"no message 'md\.Tack'; there are: .*md\.Tick, md\.Tick\.Side"),
        ({"symbol": "s.x"}, "no field 's.x'"),
        ({"columns": {"bid": "many", "ask": "a.p"}}, "repeated"),
        ({"columns": {"bid": "raw", "ask": "a.p"}}, "bytes"),
        ({"columns": {"bid": "b", "ask": "a.p"}}, "a message md.Tick.Side"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            codec.decoder(InputConfig(**{**config, **change}), COLUMNS)


# -- schema files


@pytest.mark.parametrize("name", FRAMED)
def test_a_schema_file_that_does_not_hold_is_named(name, tmp_path: Path):
    more = {"message": "md.Tick"} if name == "protobuf" else {}
    lacking = FileDescriptorProto(name="tick.proto", dependency=["other.proto"])
    contents = {
        "cannot be read: No such file": None,
        "no Avro schema|no descriptor set": b"\xff\xfe{",
        "no Avro schema|no descriptor set|no message": b"",
        "no Avro schema|no descriptor set .*other.proto is imported, and not there": b"{"
        if name == "avro"
        else FileDescriptorSet(file=[lacking]).SerializeToString(),
    }
    for said, content in contents.items():
        path = tmp_path / "schema"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=rf"input\.schema_file: .*schema: .*({said}|not UTF-8)"):
            codec.decoder(InputConfig(format=name, schema_file=str(path), **more), COLUMNS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "json", "schema_file": "x"}, "schema_file: of no use"),
        ({"format": "protobuf", "schema_file": "x"}, "message: needed"),
        ({"format": "protobuf", "message": "x"}, "message: needed with .* and of no use otherwise"),
        ({"format": "avro", "schema_file": "x", "message": "x"}, "of no use otherwise"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        InputConfig(**settings)


def test_a_schema_of_another_kind_makes_its_records_invalid():
    for name, kind in (("avro", "PROTOBUF"), ("protobuf", "AVRO"), ("avro", "JSON")):
        known = Schemas({1: Schema(kind, "{}")}.get)
        with pytest.raises(InvalidRecord, match=f"schema 1: of {kind}"):
            codec.decoder(InputConfig(format=name), COLUMNS, known).decode(record(framed(1) + b"\0x"))


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"\xff\xff").decode(), 'syntax = "proto3";'])
def test_a_protobuf_schema_that_is_none_makes_its_records_invalid(text):
    known = Schemas({1: Schema("PROTOBUF", text)}.get)
    with pytest.raises(InvalidRecord, match="schema 1: no"):
        codec.decoder(InputConfig(format="protobuf"), COLUMNS, known).decode(record(framed(1) + b"\0x"))


def test_the_memory_of_schemas_is_bounded_and_what_was_forgotten_is_asked_again():
    form = Avro()
    value = form.encode(FIELDS)
    text = form.known().get(1)
    asked: list[int] = []
    known = Schemas(lambda number: asked.append(number) or text)
    decoder = codec.decoder(InputConfig(format="avro"), COLUMNS, known)
    for number in (*range(1, SCHEMAS_MAX + 2), 1):
        assert decoder.decode(record(framed(number) + value[5:])).symbol == "ES"
    assert asked == [*range(1, SCHEMAS_MAX + 2), 1]


def test_a_format_whose_library_is_absent_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastavro", None)
    for module in ("codec_avro", "avro_schema"):
        monkeypatch.delitem(sys.modules, f"tickcast.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=r"input\.format = 'avro' needs fastavro: pip install 'tickcast\[reg"):
        codec.decoder(InputConfig(format="avro"), COLUMNS, Schemas({}.get))


# -- any bytes

FORMS = codec_formats.formats()
MAPPINGS: tuple[dict[str, Any], ...] = (
    {},
    {"one_sided": "skip", "halted": "reset", "halted_path": "st", "event_time_unit": "us"},
    check_codec.NESTED_MAPPING,
)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8)
numbers = st.text("0123456789.-+eEnaif", max_size=8) | scalars
trees = st.fixed_dictionaries(
    {"symbol": st.text(max_size=4) | scalars, "event_time_ns": numbers, "bid": numbers, "ask": numbers},
    optional={"st": numbers, "data": st.fixed_dictionaries({}, optional=dict.fromkeys("sbaut", numbers))},
)


def outcome(name: str, value: bytes, mapping: dict[str, Any]) -> Tick | type[BadRecord]:
    try:
        return check_codec.decoder(name, FORMS[name], **mapping).decode(record(value, key=b"NQ"))
    except BadRecord as error:
        return type(error)


@pytest.mark.parametrize("name", codec.DECODERS)
@given(st.data())
@settings(max_examples=examples(300))
def test_no_bytes_raise_anything_but_bad_record(name, data):
    whole = FORMS[name].encode(data.draw(st.sampled_from([FIELDS, check_codec.NESTED, {**FIELDS, "more": [1.0, 2.0]}])))
    head = 6 if FORMS[name].is_framed else 0
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    value = bytearray(whole)
    for _ in range(rng.choice((0, 1, 2, 8))):
        at = rng.randrange(min(head, len(value) - 1), len(value))
        value[at : at + rng.choice((0, 1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 1, 4, 9)))
        value = value or bytearray(whole)
    tick = outcome(name, bytes(value) + data.draw(st.binary(max_size=8)), data.draw(st.sampled_from(MAPPINGS)))
    assert not isinstance(tick, Tick) or tick.symbol.encode()


@pytest.mark.parametrize("name", ["msgpack", "avro", "protobuf"])
@given(trees, st.sampled_from(MAPPINGS))
@settings(max_examples=examples(300))
def test_the_same_record_is_the_same_tick_as_in_json(name, tree, mapping):
    """But for numbers that JSON has not: there null stands for them."""

    def is_finite(value: Any) -> bool:
        return not isinstance(value, float) or value - value == 0

    tree = {key: value for key, value in tree.items() if is_finite(value)}
    if isinstance(data := tree.get("data"), dict):
        tree["data"] = {key: value for key, value in data.items() if is_finite(value)}
    wanted = outcome("json", msgspec.json.encode(tree), mapping)
    found = outcome(name, FORMS[name].encode(tree), mapping)
    assert repr(found) == repr(wanted)  # NaN stands for what is missing


def test_a_float_that_is_not_finite_is_refused_in_every_format_that_has_it():
    for name in ("msgpack", "avro", "protobuf"):
        for bad in (float("nan"), float("inf")):
            assert outcome(name, FORMS[name].encode({**FIELDS, "ask": bad}), {}).reason == "non_finite"


# -- the walk through Avro records

TYPES = st.recursive(
    st.sampled_from(
        [
            "null",
            "boolean",
            "int",
            "long",
            "float",
            "double",
            "string",
            "bytes",
            {"type": "enum", "symbols": ["A", "B"]},
        ]
    )
    | st.integers(1, 40).map(lambda size: {"type": "fixed", "size": size}),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=5).map(lambda types: {"type": "record", "fields": types})
        | inner.map(lambda kind: {"type": "array", "items": {"type": "record", "fields": [kind, "long"]}})
        | inner.map(lambda kind: {"type": "map", "values": kind})
        | inner.filter(lambda kind: kind != "null" and not isinstance(kind, list)).map(lambda kind: ["null", kind])
    ),
    max_leaves=12,
)


def _named(kind: Any, name: str, leaves: list[str], path: str) -> Any:
    """The schema with a name for all that wants one; `leaves`: paths of the values that a mapping can name."""
    if isinstance(kind, list):
        return [_named(each, f"{name}_{index}", leaves, path) for index, each in enumerate(kind)]
    if isinstance(kind, str):
        if path and kind in ("long", "double", "string"):
            leaves.append(path)
        return kind
    match kind["type"]:
        case "record":
            fields = kind["fields"]
            return {
                "type": "record",
                "name": name,
                "fields": [
                    {"name": f"f{n}", "type": _named(each, f"{name}_{n}", leaves, f"{path}.f{n}" if path else "")}
                    for n, each in enumerate(fields)
                ],
            }
        case "array":
            return {**kind, "items": _named(kind["items"], f"{name}_i", leaves, "")}
        case "map":
            return {**kind, "values": _named(kind["values"], f"{name}_v", leaves, "")}
        case _:
            return {**kind, "name": name}


@given(st.lists(TYPES, min_size=1, max_size=6), st.integers(0, 2**32), st.data())
@settings(max_examples=examples(150))
def test_the_walk_takes_what_fastavro_takes_of_any_schema_and_any_bytes(types, seed, data):
    leaves: list[str] = []
    fields = [
        {"name": f"f{number}", "type": _named(kind, f"T{number}", leaves, f"f{number}")}
        for number, kind in enumerate(types)
    ]
    schema = AvroSchema(json.dumps({"type": "record", "name": "Tick", "fields": fields}))
    paths = dict.fromkeys(data.draw(st.sets(st.sampled_from(leaves))) if leaves else (), int | float)
    walk = avro_compiler.compiled(schema.plain, schema.named, paths)
    random.seed(seed)
    whole = avro_datum(json.loads(json.dumps(schema.plain, default=str)), generate_one(schema.plain))
    value = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(value)))
        value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    file = BytesIO(value)
    try:
        wanted = fastavro.schemaless_reader(file, schema.plain, None)
    except (EOFError, ValueError, IndexError, OverflowError, MemoryError):
        wanted = None
    try:
        found, end = walk.take(bytes(value), 0)
    except (IndexError, ValueError, OverflowError, struct.error):
        found, end = (), -1
    if bytes(value) == whole:
        assert end == len(value)
    if end == len(value) and wanted is not None and file.tell() == end:
        assert repr(found) == repr(tuple(_at(wanted, path) for path in paths))


def _at(node: Any, path: str) -> Any:
    for name in path.split("."):
        node = None if node is None else node[name]
    return node
