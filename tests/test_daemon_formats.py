"""The daemon on topics of other formats than JSON, on the real broker; the schema registry is a simulated one."""

import json
from collections.abc import Callable, Iterator

import codec_formats
import feeds
import msgspec
import pytest
from daemons import DaemonProcess, Job, wait_until
from feeds import Feed, Message
from registry_server import RegistryServer
from tickcast import config as configuration
from tickcast import forecast_formats, forecast_schema, records
from tickcast.known_schemas import framed

TICKS = 1_500
PARTITIONS = 2
COLUMNS = ("symbol", "event_time_ns", "bid", "ask", "bid_size", "ask_size")


class AvroFeed:
    """Makes Avro records of the ticks that tests are fed with, by schemas that it registers."""

    def __init__(self, server: RegistryServer, subject: str) -> None:
        usual = {"symbol": "string", "event_time_ns": {"type": "long", "logicalType": "timestamp-nanos"}}
        prices = dict.fromkeys(COLUMNS[2:], "double")
        versions = ({**usual, **prices}, {"venue": "string", **usual, **prices, "bid": ["null", "string", "double"]})
        self._schemas = []
        for types in versions:
            fields = [{"name": name, "type": kind} for name, kind in types.items()]
            schema = {"type": "record", "name": "Tick", "fields": fields}
            self._schemas.append((server.add(subject, json.dumps(schema)), schema))

    def message(self, version: int, message: Message) -> Message:
        """The same tick, as a producer with this version of the schema writes it."""
        fields = json.loads(message.value or b"")
        if version:
            fields |= {"venue": "X", "bid": str(fields["bid"])}
        number, schema = self._schemas[version]
        return message._replace(value=framed(number) + codec_formats.avro_datum(schema, fields))


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("client", ["kafka-python", "confluent-kafka"])
def test_avro_in_and_out_through_a_registry_that_goes_away_meanwhile(
    client: str,
    exported,
    job: Callable[..., Job],
    start_daemon: Callable[..., DaemonProcess],
    server: RegistryServer,
) -> None:
    if client == "confluent-kafka":
        pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    work = job(exported("additive").bundle, PARTITIONS)
    sections = {
        "kafka": {"client": client, "compression": "lz4"},
        "input": {"format": "avro"},
        "output": {"format": "avro"},
        "registry": {"url": server.url, "timeout_ms": 300},
    }
    config = work.config(**sections)
    avro = AvroFeed(server, f"{work.input_topic}-value")
    messages = list(feeds.ticks(TICKS, seed=1))
    bad = [
        message._replace(value=value)
        for message, value in zip(messages, (None, b"{}", framed(77) + b"x", framed(1) + b"x"), strict=False)
    ]
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        daemon = start_daemon(config)
        feed.send(avro.message(0, message) for message in messages[: TICKS // 2])
        feed.send(bad)
        feed.flush()
        work.wait_done()
        server.failure = (503, {"error_code": 503, "message": "the registry is away"})
        feed.send(avro.message(1, message) for message in messages[TICKS // 2 :])
        feed.flush()
        wait_until(lambda: daemon.get("/readyz")[0] == 503, "the daemon says that it waits")
        assert "the registry is away" in daemon.get("/readyz")[1]
        server.failure = None
        work.wait_done()
        wait_until(lambda: daemon.get("/readyz")[0] == 200, "the daemon is ready again")
        assert daemon.stop() == 0
    whole = work.audit(**sections)
    assert whole["adds_up"]
    assert (whole["ticks"], whole["missing"], whole["doubled"], whole["dead_letters"]) == (TICKS + 4, 0, 0, 4)
    assert whole["forecasts"] + whole["warming"] == TICKS
    reasons = [dict(record.headers)[records.HEADER_REASON] for record in work.records(work.dead_letter_topic)]
    assert sorted(reasons) == [b"empty", b"undecodable", b"undecodable", b"unknown_schema"]
    (number,) = server.subject(f"{work.output_topic}-value")
    assert server.text(number) == forecast_schema.text("avro")
    _check_forecasts(work, config, messages, server)


def _check_forecasts(work: Job, config, messages: list[Message], server: RegistryServer) -> None:
    """Each names the tick that it is about, and is of its book."""
    decode = forecast_formats.decoder(configuration.load(config, {}))
    books = {(each["symbol"], each["event_time_ns"]): each for each in (json.loads(m.value or b"") for m in messages)}
    for record in work.records(work.output_topic):
        forecast = decode(record.value or b"")
        book = books[forecast.symbol, forecast.event_time_ns]
        assert forecast.reference_mid == (book["bid"] + book["ask"]) / 2
        assert (forecast.topic, str(forecast.offset)) == (
            work.input_topic,
            dict(record.headers)["source-offset"].decode(),
        )
        assert (record.value or b"")[:1] == b"\0"


@pytest.mark.slow
def test_bare_messagepack_in_and_protobuf_out(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    work = job(exported("additive").bundle)
    sections = {
        "input": {"format": "msgpack"},
        "output": {"format": "protobuf"},
        "lag": {"on_lag": "latest"},  # the audit then reads the forecasts, too
    }
    config = work.config(**sections)
    messages = [
        message._replace(value=msgspec.msgpack.encode(json.loads(message.value or b""))) for message in feeds.ticks(600)
    ]
    with Feed(work.bootstrap_servers, work.input_topic, 1) as feed:
        daemon = start_daemon(config)
        feed.send(messages)
        feed.flush()
        work.wait_done()
        assert daemon.stop() == 0
    whole = work.audit(**sections)
    assert whole["adds_up"]
    assert whole["forecasts"] > 0
    decode = forecast_formats.decoder(configuration.load(config, {}))
    assert {decode(record.value or b"").path for record in work.records(work.output_topic)} <= {"finish", "window"}
