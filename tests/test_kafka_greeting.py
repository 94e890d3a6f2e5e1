"""Both clients against a broker that asks who they are: let in by every way, and turned away with the reason."""

import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from client_bench import Bench, publish, until
from secured_broker import SECRETS, SecuredBroker
from tickcast.clients import CLIENTS, FENCES, Committed, Partition, connect, fence_of, transactional_id
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, RefusedError
from tickcast.kafka_greeting import greet
from tickcast.topic_reader import TopicReader

WAYS = ("plaintext", "mtls", "scram", "plain")
REFUSED = (
    "wrong password",
    "wrong password shown",
    "unknown mechanism",
    "broker of a stranger",
    "certificate of a stranger",
    "no certificate",
    "no password",
    "password at the wrong port",
    "plain at a port for TLS",
    "TLS at a plain port",
)


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    if "client" in request.fixturenames and request.getfixturevalue("client") == "confluent-kafka":
        pytest.importorskip("confluent_kafka", reason="confluent_kafka is not installed")


def settings(**kafka) -> KafkaConfig:
    unused = {"group_id": "group", "input_topics": ("ticks",), "output_topic": "out", "dead_letter_topic": "dead"}
    return KafkaConfig.model_validate({**unused, "request_timeout_ms": 5_000, **kafka})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_is_let_in_produces_consumes_and_commits(
    client: str, way: str, secured_broker: SecuredBroker
) -> None:
    topic = secured_broker.topic()
    bench = Bench(client, secured_broker, lambda: topic)
    bench.kafka = secured_broker.ways_in()[way]
    try:
        member = bench.joined(topic)
        assert member.client.partitions_of(topic, 10.0) == {0}
        publish(member.client, topic, b"one", b"two")
        until(lambda: len(member.records) == 2, member)
        assert [record.value for record in member.records] == [b"one", b"two"]
        member.commit([Partition(topic, 0)], "note")
        assert member.client.committed([Partition(topic, 0)], 10.0) == {Partition(topic, 0): Committed(2, "note")}
    finally:
        bench.close_all()
    with TopicReader(settings(**secured_broker.ways_in()[way])) as reader:
        held = reader.held([Partition(topic, 0)])
        assert [record.value for record in reader.read(held)] == [b"one", b"two"]


@pytest.mark.parametrize("client", FENCES)
def test_transactions_and_fences_log_in_too(client: str, secured_broker: SecuredBroker) -> None:
    topic = secured_broker.topic()
    way = secured_broker.ways_in()["scram"]
    config = settings(client=client, **way, delivery="exactly_once", group_id=uuid.uuid4().hex, output_topic=topic)
    opened = connect(config, "one")
    try:
        opened.begin_transaction()
        publish(opened, topic, b"answer")
        opened.commit_transaction({}, 10.0)
    finally:
        opened.close(10.0)
    fence_of(config)(config, transactional_id(config, "one"))
    with TopicReader(settings(**way)) as reader:
        assert [record.value for record in reader.read(reader.held([Partition(topic, 0)]))] == [b"answer"]


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_is_turned_away_says_why_and_at_once(
    client: str, why: str, secured_broker: SecuredBroker, capfd: pytest.CaptureFixture[str]
) -> None:
    kafka, reason = secured_broker.refused()[why]
    started_s = time.monotonic()
    with pytest.raises(BrokerError) as raised:
        connect(settings(client=client, **kafka, request_timeout_ms=300_000), "instance")
    assert time.monotonic() - started_s < 60.0  # the library alone would have gone on for five minutes
    assert reason in str(raised.value)
    assert str(raised.value).startswith(f"{kafka['bootstrap_servers']} refuses us: ")
    assert isinstance(raised.value, RefusedError) == (why != "TLS at a plain port")
    said = "".join([repr(raised.value), *capfd.readouterr()])
    assert not [secret for secret in SECRETS if secret in said]


def test_every_broker_to_ask_is_reported(secured_broker: SecuredBroker) -> None:
    servers = [secured_broker.servers(name) for name in ("MTLS", "SASL")]
    with pytest.raises(RefusedError) as raised:
        greet(settings(bootstrap_servers=", ".join(servers)))
    assert [line.partition(" ")[0] for line in str(raised.value).splitlines()] == servers


def test_one_broker_that_lets_us_in_is_enough(secured_broker: SecuredBroker) -> None:
    greet(
        settings(bootstrap_servers=f"127.0.0.1:1,{secured_broker.servers('SASL')},{secured_broker.bootstrap_servers}")
    )


@pytest.mark.parametrize(
    "servers",
    [
        "127.0.0.1:1",
        "127.0.0.1:1,127.0.0.1:2",
        "no-such-host.invalid",
        "127.0.0.1:99999",
        f"{'x' * 70}.test:1",
        "[::1]:1",
    ],
)
def test_a_cluster_that_is_away_is_left_to_the_client(servers: str) -> None:
    greet(settings(bootstrap_servers=servers))


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], str]]:
    """`stranger(answer)` is the address of one who says `answer` to whoever comes, and hangs up."""
    threads = []
    listeners = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=serve, args=(listener, answer)))
        threads[-1].start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread, listener in zip(threads, listeners, strict=True):
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as Kafka does"),
        (struct.pack(">i", -1), "does not answer as Kafka does"),
        (struct.pack(">i", 2**30), "does not answer as Kafka does"),
        (struct.pack(">ii", 4, 0), "does not answer as Kafka does"),
        (struct.pack(">iihi", 10, 0, 33, 2**30), "does not answer as Kafka does"),
        (struct.pack(">iihih", 12, 0, 33, 1, 100), "does not answer as Kafka does"),
    ],
)
def test_who_is_no_broker_is_not_taken_for_one(stranger: Callable[[bytes], str], answer: bytes, message: str) -> None:
    with pytest.raises(BrokerError, match=message):
        greet(settings(bootstrap_servers=stranger(answer)))


@pytest.mark.parametrize("answer", [b"", b"\0\0"])
def test_who_hangs_up_is_taken_for_a_broker_that_is_away(stranger: Callable[[bytes], str], answer: bytes) -> None:
    greet(settings(bootstrap_servers=stranger(answer)))


def test_who_says_nothing_is_not_waited_for_longer_than_a_request_may_take() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_s = time.monotonic()
        greet(settings(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}", request_timeout_ms=200))
        assert time.monotonic() - started_s < 10.0
