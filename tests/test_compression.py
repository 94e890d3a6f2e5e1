"""Packed records, on the real broker: every client reads and writes every kind of compression that Kafka has."""

import importlib
import time
from collections.abc import Callable

import pytest
from kafka import KafkaProducer
from kafka.record.default_records import DefaultRecordBatch
from tickcast import clients, kafka_python_settings
from tickcast.broker import Broker
from tickcast.clients import CLIENTS, Partition, Record
from tickcast.config import KafkaConfig
from tickcast.errors import MissingExtraError
from tickcast.topic_reader import TopicReader

# Name in `kafka.compression` -> Kafka's number of it in a batch.
KINDS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
VALUES = [b"tick %d " % number * 20 for number in range(50)]
TIMEOUT_S = 30.0


def config_of(broker: Broker, client: str, topic: str, **settings: str) -> KafkaConfig:
    return KafkaConfig.model_validate(
        {
            "client": client,
            "bootstrap_servers": broker.bootstrap_servers,
            "group_id": topic,
            "input_topics": [topic],
            "output_topic": f"{topic}-out",
            "dead_letter_topic": f"{topic}-dead",
            **settings,
        }
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_read_may_be_packed_in_any_way(client: str, broker: Broker, topic: Callable[..., str]) -> None:
    importorskip(client)
    name = topic()
    for kind in KINDS:
        with_kind = {"compression_type": None if kind == "none" else kind}
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=50, **with_kind)
        for value in VALUES:
            producer.send(name, value)
        producer.close()
    reader = clients.reader_of(config_of(broker, client, name), "test")
    partition = Partition(name, 0)
    reader.assign(partition, 0)
    found: list[Record] = []
    deadline_s = time.monotonic() + TIMEOUT_S
    while reader.reached(partition) < len(KINDS) * len(VALUES) and time.monotonic() < deadline_s:
        found += reader.poll(0.1, 1_000)
    reader.close()
    assert [record.value for record in found] == VALUES * len(KINDS)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_written_is_packed_as_configured(
    client: str, broker: Broker, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    importorskip(client)
    seen: list[int] = []
    packed = DefaultRecordBatch.compression_type.fget

    def noted(batch: DefaultRecordBatch) -> int:
        seen.append(packed(batch))
        return seen[-1]

    monkeypatch.setattr(DefaultRecordBatch, "compression_type", property(noted))
    for kind, number in KINDS.items():
        name = topic()
        config = config_of(broker, client, name, compression=kind)
        sender = clients.connect(config, "test")
        answers: list[object] = []
        for value in VALUES:
            sender.send(name, value, b"k", [("h", b"1")], answers.append)
        assert sender.flush(TIMEOUT_S)
        sender.close(1.0)
        assert answers == [None] * len(VALUES)
        seen.clear()
        with TopicReader(config) as reader:
            found = list(reader.read(reader.held(reader.partitions(name))))
        assert [(record.value, record.key, list(record.headers)) for record in found] == [
            (value, b"k", [("h", b"1")]) for value in VALUES
        ]
        assert set(seen) == {number}


def test_a_library_that_is_absent_is_a_clear_error_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no record that cannot be unpacked, at some time."""
    config = KafkaConfig.model_validate(
        {
            "bootstrap_servers": "127.0.0.1:1",
            "group_id": "g",
            "input_topics": ["ticks"],
            "output_topic": "out",
            "dead_letter_topic": "dead",
        }
    )
    monkeypatch.setattr("kafka.codec.has_zstd", lambda: False)
    with pytest.raises(MissingExtraError, match="zstd: pip install zstandard"):
        kafka_python_settings.consumer_settings(config, "test")


def importorskip(client: str) -> None:
    """A client whose library is not installed is skipped."""
    try:
        importlib.import_module(CLIENTS[client][0])
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
