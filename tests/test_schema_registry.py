"""The registry's client against a simulated registry: what it asks, what it believes, what it makes of failures."""

import base64
import ssl

import codec_formats
import pytest
from certificates import Authority
from registry_server import RegistryServer
from tickcast.errors import ConfigurationError, RegistryError
from tickcast.known_schemas import Reference, Schema, Schemas
from tickcast.registry_config import RegistryConfig
from tickcast.schema_registry import REFERENCES_MAX, SchemaRegistry, fetch

TEXT = '{"type": "record", "name": "Tick", "fields": []}'


@pytest.fixture
def server():
    with RegistryServer() as server:
        yield server


def registry(server: RegistryServer, **settings) -> SchemaRegistry:
    return SchemaRegistry(RegistryConfig(url=server.url, timeout_ms=1_000, **settings))


def test_a_schema_comes_by_its_number_and_is_asked_for_once(server):
    number = server.add("ticks-value", TEXT)
    known = Schemas(fetch(RegistryConfig(url=server.url), "avro"))
    assert known.get(number) == known.get(number) == Schema("AVRO", TEXT)
    assert server.requests == [f"GET /schemas/ids/{number}"]


def test_a_number_that_the_registry_does_not_know_is_no_failure(server):
    known = Schemas(fetch(RegistryConfig(url=server.url), "avro"))
    assert known.get(77) is known.get(77) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        (404, b"<html>Not Found</html>"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (200, b"<html>Welcome</html>"),
        (200, ["no", "registry"]),
        (401, {"error_code": 401, "message": "Unauthorized"}),
        (500, {"error_code": 50001, "message": "Error in the backend data store"}),
        (503, b""),
    ],
)
def test_what_no_registry_would_say_of_a_number_is_a_failure_to_be_tried_again(server, failure):
    """A wrong address must not make every record a dead letter."""
    server.add("ticks-value", TEXT)
    server.failure = failure
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:\d+: schema 1: ") as caught:
        registry(server).schema(1, None)
    assert caught.value.retriable


def test_a_registry_that_is_silent_or_away_is_a_failure_to_be_tried_again(server):
    server.add("ticks-value", TEXT)
    server.silence.clear()
    with pytest.raises(RegistryError, match="no answer"):
        SchemaRegistry(RegistryConfig(url=server.url, timeout_ms=50)).schema(1, None)
    with pytest.raises(RegistryError, match="no answer"):
        SchemaRegistry(RegistryConfig(url="http://127.0.0.1:1")).schema(1, None)


def test_of_several_registries_the_next_one_is_asked_where_one_is_away(server):
    number = server.add("ticks-value", TEXT)
    config = RegistryConfig(url=f"http://127.0.0.1:1,{server.url}")
    assert SchemaRegistry(config).schema(number, None) == Schema("AVRO", TEXT)


def test_what_a_schema_refers_to_comes_with_it_in_order(server):
    server.add("side-value", '"side"')
    server.add("book-value", '"book"', references=[{"name": "Side", "subject": "side-value", "version": 1}])
    number = server.add("t", TEXT, references=[{"name": "Book", "subject": "book-value", "version": 1}])
    wanted = (Reference("Side", '"side"'), Reference("Book", '"book"'))
    assert registry(server).schema(number, None) == Schema("AVRO", TEXT, wanted)


def test_a_schema_that_needs_more_others_than_can_be_meant_is_read_as_none(server):
    references = []
    for each in range(REFERENCES_MAX + 2):
        server.add(f"s{each}", f'"{each}"')
        references.append({"name": f"S{each}", "subject": f"s{each}", "version": 1})
    found = registry(server).schema(server.add("t", TEXT, references=references), None)
    assert found is not None
    assert "more than 100 references" in found.kind


def test_a_protobuf_schema_comes_as_a_descriptor(server):
    file = codec_formats.protobuf_file({"bid": 1.0}).SerializeToString()
    number = server.add("ticks-value", 'syntax = "proto3"; ...', "PROTOBUF", file)
    assert registry(server).schema(number, "serialized") == Schema("PROTOBUF", base64.b64encode(file).decode())
    assert server.requests == [f"GET /schemas/ids/{number}?format=serialized"]


def test_a_schema_is_registered_once_and_found_again(server):
    one = registry(server)
    number = one.register("forecasts-value", "AVRO", TEXT)
    assert one.register("forecasts-value", "AVRO", TEXT) == registry(server).number("forecasts-value", "AVRO", TEXT)
    assert server.subject("forecasts-value") == [number]


def test_a_schema_that_is_not_registered_is_a_mistake_of_the_configuration(server):
    server.add("other-value", TEXT)
    for subject, text in (("forecasts-value", TEXT), ("other-value", '"string"')):
        with pytest.raises(ConfigurationError, match=rf"not registered under {subject}; .*output\.auto_register"):
            registry(server).number(subject, "AVRO", text)


def test_a_registry_that_does_not_take_a_schema_is_told_of(server):
    server.failure = (409, {"error_code": 409, "message": "Schema being registered is incompatible"})
    with pytest.raises(ConfigurationError, match=r"subject forecasts-value: refused: .*incompatible"):
        registry(server).register("forecasts-value", "AVRO", TEXT)


def test_over_tls_with_a_password_and_neither_is_ever_shown(tmp_path):
    authority = Authority(tmp_path / "authority")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.pair("registry"))
    password = tmp_path / "password"
    password.write_text("s3cret:x\n")
    password.chmod(0o600)
    with RegistryServer(tls, "tick:s3cret:x") as server:
        settings = {"url": server.url, "ca_file": str(authority.certificate), "timeout_ms": 2_000}
        shown = {"username": "tick", "password_file": str(password)}
        number = server.add("ticks-value", TEXT)
        assert SchemaRegistry(RegistryConfig(**settings, **shown)).schema(number, None) == Schema("AVRO", TEXT)
        with pytest.raises(RegistryError, match="Unauthorized"):
            SchemaRegistry(RegistryConfig(**settings)).schema(number, None)
        with pytest.raises(RegistryError, match="certificate"):  # nobody vouches for it
            SchemaRegistry(RegistryConfig(url=server.url)).schema(number, None)
        password.write_text("wrong-s3cret\n")
        with pytest.raises(RegistryError) as caught:
            SchemaRegistry(RegistryConfig(**settings, **shown)).schema(number, None)
        assert "s3cret" not in str(caught.value)
        password.chmod(0o644)
        with pytest.raises(ConfigurationError, match=r"registry\.password_file: .*others may read it"):
            SchemaRegistry(RegistryConfig(**settings, **shown))
        with pytest.raises(ConfigurationError, match="TLS files cannot be used"):
            SchemaRegistry(RegistryConfig(url=server.url, ca_file=str(password)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "http://r:8081", "username": "u", "password_file": "p"}, "needs https"),
        ({"url": "https://r:8081", "username": "u"}, "needed together"),
        ({"url": "http://r:8081", "ca_file": "ca.pem"}, "ca_file: of no use without https"),
        ({"url": "https://r", "key_file": "key.pem"}, "certificate_file: required"),
        ({"username": "u", "password_file": "p"}, "of no use without url"),
        ({"url": "https://user:secret@r"}, "pattern"),
        ({"url": "r:8081"}, "pattern"),
        ({"url": "https://r", "password_file": "$CREDENTIALS_DIRECTORY/p", "username": "u"}, "is not set"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        RegistryConfig(**settings)
