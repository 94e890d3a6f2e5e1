"""The forecasts that leave the daemon, in every output format: held to golden files, as fields are only ever added."""

import json
import sys
from io import BytesIO
from pathlib import Path

import codec_formats
import fastavro
import msgspec
import pytest
from golden_forecast import (
    AVRO_SCHEMA,
    BANDED,
    BANDED_AVRO_SCHEMA,
    BANDED_FILES,
    FILES,
    FORECAST,
    LEANING,
    LEANING_AVRO_SCHEMA,
    LEANING_FILES,
)
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st
from pipelines import config_with
from registry_server import RegistryServer
from tickcast import forecast_avro, forecast_formats, forecast_protobuf, forecast_schema, reference
from tickcast.avro_schema import AvroSchema
from tickcast.errors import ConfigurationError, MissingExtraError, RegistryError
from tickcast.gaps import Remark
from tickcast.known_schemas import framed
from tickcast.records import Bands, BundleName, Forecast

INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(max_size=20)
DOUBLE = st.floats(allow_nan=False)
FORECASTS = st.builds(
    Forecast,
    v=INT32,
    symbol=TEXT,
    topic=TEXT,
    partition=INT32,
    offset=INT64,
    event_time_ns=INT64,
    tick_time_ns=INT64,
    received_time_ns=INT64,
    sent_time_ns=INT64,
    horizons=st.lists(INT32, max_size=12).map(tuple),
    forecast=st.lists(DOUBLE, max_size=12),
    unit=TEXT,
    reference_mid=st.none() | DOUBLE,
    skipped_before=INT64,
    bundle=st.builds(BundleName, TEXT, TEXT, TEXT),
    path=st.sampled_from(["finish", "window", "carried"]),
    flags=st.lists(TEXT, max_size=3).map(tuple),
    bands=st.none() | st.builds(Bands, DOUBLE, st.lists(DOUBLE, max_size=12)),
    attention=st.none() | st.lists(DOUBLE, min_size=1, max_size=12),
)
# A forecast, its files, and in Avro the schema that it was written by.
GOLDEN = {
    "first": (FORECAST, FILES, AVRO_SCHEMA),
    "bands": (BANDED, BANDED_FILES, BANDED_AVRO_SCHEMA),
    "attention": (LEANING, LEANING_FILES, LEANING_AVRO_SCHEMA),
}
# Optional fields that came later: in Avro each is one byte where there is nothing to tell.
ADDED = {"first": 2, "bands": 1, "attention": 0}


def config_of(name: str, **sections):
    return config_with(output={"format": name}, **sections)


@pytest.fixture
def server():
    with RegistryServer() as server:
        yield server


# -- golden files


@pytest.mark.parametrize("golden", GOLDEN)
@pytest.mark.parametrize("name", forecast_formats.FORMATS)
def test_a_forecast_is_encoded_as_the_golden_file_says(name, golden):
    """A change of the bytes alone is one, too: readers of a format may have less than all of it."""
    forecast, files, _ = GOLDEN[golden]
    written, kept = forecast_formats.encoder(config_of(name))(forecast), files[name].read_bytes()
    if name == "json":
        assert json.loads(written) == json.loads(kept)
    else:
        assert written == kept + bytes(ADDED[golden] if name == "avro" else 0)


@pytest.mark.parametrize("golden", GOLDEN)
@pytest.mark.parametrize("name", ["json", "msgpack", "protobuf"])
def test_a_golden_record_of_version_1_still_decodes(name, golden):
    forecast, files, _ = GOLDEN[golden]
    assert forecast_formats.decoder(config_of(name))(files[name].read_bytes()) == forecast


@pytest.mark.parametrize("golden", GOLDEN)
def test_a_golden_avro_record_still_decodes_by_its_schema_and_that_of_now(golden):
    forecast, files, schema = GOLDEN[golden]
    writer, reader = AvroSchema(schema.read_text()), AvroSchema(forecast_schema.text("avro"))
    assert forecast_avro.read(writer, reader, 0, Forecast, files["avro"].read_bytes()) == forecast


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_a_forecast_without_bands_and_attention_does_not_speak_of_them(name):
    written = forecast_formats.encoder(config_of(name))(FORECAST)
    assert b"bands" not in written
    assert b"attention" not in written


@pytest.mark.parametrize("schema", [AVRO_SCHEMA, BANDED_AVRO_SCHEMA, LEANING_AVRO_SCHEMA], ids=GOLDEN)
def test_fields_of_the_avro_schema_are_only_added_and_have_defaults(schema):
    before, now = (json.loads(text)["fields"] for text in (schema.read_text(), forecast_schema.text("avro")))
    assert [field["name"] for field in now][: len(before)] == [field["name"] for field in before]
    for old, new in zip(before, now, strict=False):
        assert {**old, "doc": ""} == {**new, "doc": ""}
    assert [field["name"] for field in now[len(before) :] if "default" not in field] == []


def test_every_field_of_a_forecast_is_in_every_schema():
    fields = list(reference.FORECAST_FIELDS)
    assert [field["name"] for field in json.loads(forecast_schema.text("avro"))["fields"]] == fields
    assert list(forecast_protobuf.FIELDS) == fields


def test_the_protobuf_fields_are_those_of_the_file_that_users_get(tmp_path: Path):
    source, made = tmp_path / "forecast.proto", tmp_path / "forecast.desc"
    source.write_text(forecast_schema.text("protobuf"))
    codec_formats.protoc(f"-I{tmp_path}", f"-o{made}", str(source))
    (file,) = FileDescriptorSet.FromString(made.read_bytes()).file
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    assert file == forecast_protobuf._file()


# -- both ways


@pytest.mark.parametrize("name", forecast_formats.FORMATS)
@given(FORECASTS)
def test_what_is_written_reads_back_the_same_to_the_last_bit(name, forecast):
    config = config_of(name)
    written = forecast_formats.encoder(config)(forecast)
    banded = [forecast.bands.level, *forecast.bands.half_widths] if forecast.bands else []
    values = [*forecast.forecast, forecast.reference_mid or 0, *banded, *(forecast.attention or ())]
    if name == "json" and any(abs(value) == float("inf") for value in values):
        return  # JSON has none; what is published is finite
    read = forecast_formats.decoder(config)(written)
    assert read == forecast
    remark = forecast_formats.decoder(config, Remark)(written)
    assert (remark.skipped_before, remark.flags) == (forecast.skipped_before, forecast.flags)


@given(FORECASTS)
def test_what_is_written_by_hand_is_avro(forecast):
    schema = fastavro.parse_schema(json.loads(forecast_schema.text("avro")))
    written = forecast_formats.encoder(config_of("avro"))(forecast)
    fields = msgspec.to_builtins(forecast)
    file = BytesIO()
    fastavro.schemaless_writer(file, schema, fields)
    assert written == file.getvalue()


@pytest.mark.parametrize("name", forecast_formats.FORMATS)
@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_that_they_are_no_forecast(name, value):
    try:
        forecast_formats.decoder(config_of(name))(value)
    except msgspec.DecodeError:
        return


# -- with a registry


@pytest.mark.parametrize(("name", "head"), [("avro", b""), ("protobuf", b"\0")])
def test_a_forecast_names_its_schema_which_is_registered_under_the_topic(server, name, head):
    config = config_of(name, registry={"url": server.url})
    written = forecast_formats.encoder(config)(FORECAST)
    (number,) = server.subject("forecasts-value")
    assert server.text(number) == forecast_schema.text(name)
    assert written == framed(number) + head + FILES[name].read_bytes() + bytes(ADDED["first"] if name == "avro" else 0)
    assert forecast_formats.decoder(config)(written) == FORECAST
    with pytest.raises(msgspec.DecodeError):
        forecast_formats.decoder(config)(FILES[name].read_bytes())


def test_forecasts_of_an_older_schema_are_read_with_defaults(server):
    old = json.loads(forecast_schema.text("avro"))
    old["fields"] = [field for field in old["fields"] if field["name"] not in ("flags", "skipped_before")]
    number = server.add("forecasts-value", json.dumps(old))
    file = BytesIO()
    fields = {**msgspec.to_builtins(FORECAST), "flags": ["stale"]}
    fastavro.schemaless_writer(file, fastavro.parse_schema(old), fields)
    config = config_of("avro", registry={"url": server.url})
    assert forecast_formats.decoder(config)(framed(number) + file.getvalue()) == FORECAST


def test_without_leave_to_register_the_schema_must_be_there(server):
    config = config_with(output={"format": "avro", "auto_register": False}, registry={"url": server.url})
    with pytest.raises(ConfigurationError, match="not registered under forecasts-value"):
        forecast_formats.encoder(config)
    server.add("other", '"string"')
    number = server.add("forecasts-value", forecast_schema.text("avro"))
    assert forecast_formats.encoder(config)(FORECAST).startswith(framed(number))
    assert not [request for request in server.requests if request.endswith("/versions?normalize=False")]


def test_a_registry_that_is_away_when_the_daemon_starts_is_a_failure_to_be_tried_again():
    config = config_of("avro", registry={"url": "http://127.0.0.1:1"})
    with pytest.raises(RegistryError) as caught:
        forecast_formats.encoder(config)
    assert caught.value.exit_status == 1


def test_a_format_whose_library_is_absent_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastavro", None)
    for module in ("forecast_avro", "avro_schema"):
        monkeypatch.delitem(sys.modules, f"tickcast.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=r"output\.format = 'avro' needs fastavro: pip install 'tickcast\[reg"):
        forecast_formats.encoder(config_of("avro"))
