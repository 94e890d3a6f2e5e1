"""What the confluent-kafka client does about librdkafka's own ways, beyond the contract of every client."""

import logging
from collections.abc import Callable, Collection, Iterator

import pytest
from client_bench import Bench, Unreadable, others_producer, publish, until
from tickcast.broker import Broker
from tickcast.clients import Committed, Partition, fence_of, transactional_id
from tickcast.errors import (
    BrokerError,
    DeliveryError,
    FencedError,
    OwnershipLostError,
    RefusedError,
    TransactionAbortedError,
)

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")

from confluent_kafka import KafkaError
from tickcast.confluent_errors import refusal
from tickcast.confluent_producer import ConfluentProducer
from tickcast.confluent_settings import consumer_settings, producer_settings
from tickcast.confluent_transactions import delivery_failure


@pytest.fixture
def bench(broker: Broker, topic: Callable[..., str]) -> Iterator[Bench]:
    bench = Bench("confluent-kafka", broker, topic)
    yield bench
    bench.close_all()


@pytest.fixture
def other(bench: Bench) -> Iterator[Bench]:
    """Members of the same group, with the other client."""
    other = Bench("kafka-python", bench.broker, bench.topic)
    other.group = bench.group
    yield other
    other.close_all()


def test_both_clients_share_one_group_and_read_each_other_s_commits(bench: Bench, other: Bench) -> None:
    topic = bench.topic(partitions=4)
    everything = {Partition(topic, number) for number in range(4)}
    first = bench.joined(topic, instance_id="librdkafka")
    second = other.member(topic, instance_id="kafka-python")
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 2, first, second)
    assert first.client.assignment() | second.client.assignment() == everything
    for number in range(40):
        publish(first.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: len(first.records) + len(second.records) >= 40, first, second)
    values = sorted(int(record.value or b"") for record in first.records + second.records)
    assert values == list(range(40))

    notes = {}
    for member, note in ((first, "of librdkafka: \u00e4"), (second, "of kafka-python: \u00e4" * 3)):
        member.commit(member.client.assignment(), note)
        notes |= {p: Committed(member.positions[p], note) for p in member.client.assignment()}
    assert first.client.committed(everything, 10.0) == second.client.committed(everything, 10.0) == notes

    bench.close(first.client)
    until(lambda: second.client.assignment() == everything, second)
    third = bench.member(topic, instance_id="librdkafka again")
    until(lambda: len(third.client.assignment()) == len(second.client.assignment()) == 2, second, third)
    publish(second.client, topic, *(b"" for _ in range(20)), key=None)
    until(lambda: len(second.records) + len(third.records) >= len(values) - len(first.records) + 20, second, third)


def test_both_clients_read_what_the_other_has_committed_in_a_transaction(bench: Bench, other: Bench) -> None:
    topic, output = bench.topic(partitions=2), bench.topic()
    bench.kafka = other.kafka = {"delivery": "exactly_once"}
    first = bench.joined(topic, instance_id="librdkafka")
    second = other.member(topic, instance_id="kafka-python")
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 1, first, second)
    expected = {}
    for member, note in ((first, "of librdkafka: \u00e4"), (second, "of kafka-python: \u00e4" * 3)):
        (partition,) = member.client.assignment()
        expected[partition] = Committed(len(note), note)
        member.client.begin_transaction()
        publish(member.client, output, note.encode())
        member.client.commit_transaction({partition: expected[partition]}, 10.0)
    for member in (first, second):
        assert member.client.committed(expected, 10.0) == expected
        assert member.client.last_committed(expected, 10.0) == expected


def test_each_client_fences_the_other_under_the_same_name(bench: Bench, other: Bench) -> None:
    output = bench.topic()
    bench.kafka = other.kafka = {"delivery": "exactly_once"}
    for mine, theirs in ((bench, other), (other, bench)):
        before = mine.client("same")
        before.begin_transaction()
        publish(before, output, b"lost")
        after = theirs.client("same")
        with pytest.raises(FencedError):
            before.commit_transaction({}, 10.0)
        after.begin_transaction()
        publish(after, output, b"seen")
        after.commit_transaction({}, 10.0)
    reader = bench.joined(output)
    until(lambda: len(reader.records) == 2, reader)
    assert [record.value for record in reader.records] == [b"seen"] * 2


def test_same_key_goes_to_the_same_partition_whichever_client_sends(bench: Bench, other: Bench) -> None:
    topic = bench.topic(partitions=5)
    member = bench.joined(topic)
    sender = other.client()
    for number in range(20):
        publish(member.client, topic, b"", key=b"symbol-%d" % number)
        publish(sender, topic, b"", key=b"symbol-%d" % number)
    until(lambda: len(member.records) == 40, member)
    assert len({(record.key, record.partition) for record in member.records}) == 20


def test_partition_that_is_placed_but_not_resumed_is_not_read(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    publish(bench.client(), topic, b"zero", b"one", b"two")

    class Waits:
        def assigned(self, partitions: Collection[Partition]) -> None:
            pass

        def revoked(self, partitions: Collection[Partition]) -> None:
            pass

    client = bench.client()
    client.subscribe([topic], Waits())
    while not client.assignment():
        assert client.poll(0.05, 10) == []
    assert client.poll(0.3, 10) == []
    client.seek(partition, 2)
    assert client.poll(0.3, 10) == []
    client.seek(partition, 1)
    client.resume([partition])
    assert [record.value for record in client.poll(10.0, 10)] == [b"one", b"two"]


def test_partition_that_is_not_ours_cannot_be_positioned(bench: Bench) -> None:
    with pytest.raises(OwnershipLostError, match="t/0"):
        bench.client().seek(Partition("t", 0), 1)


def test_several_header_names_that_are_no_text_in_one_record(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    headers = [(Unreadable("a"), b"1"), ("b", b"2"), (Unreadable("c"), b"3")]
    with others_producer(bench) as producer:
        for _ in range(200):  # as often as Python takes to find shortcuts for a call
            producer.send(topic, b"", headers=headers)
    until(lambda: len(member.records) == 200, member)
    read = [("\ufffd", b"1"), ("b", b"2"), ("\ufffd", b"3")]
    assert [list(record.headers) for record in member.records] == [read] * 200


def test_settings_that_must_not_be_left_to_the_library(bench: Bench) -> None:
    config = bench.config("ticks")
    consumer, producer = consumer_settings(config, "me"), producer_settings(config, "me")
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["enable.auto.commit"] is consumer["enable.auto.offset.store"] is False
    assert consumer["group.instance.id"] == "me"
    assert consumer["partition.assignment.strategy"] == "cooperative-sticky"
    assert consumer["allow.auto.create.topics"] is False
    assert producer["enable.idempotence"] is True
    assert 3 * int(consumer["heartbeat.interval.ms"]) <= int(consumer["session.timeout.ms"])


def test_transactions_change_nothing_for_those_who_have_none(bench: Bench) -> None:
    config = bench.config("ticks")
    without = producer_settings(config, "me")
    assert "transactional.id" not in without
    exactly_once = {"delivery": "exactly_once", "transaction_timeout_ms": 20_000, "delivery_timeout_ms": 120_000}
    with_them = producer_settings(config.model_copy(update=exactly_once), "me")
    changed = {key: value for key, value in with_them.items() if without.get(key) != value}
    assert changed == {
        "transactional.id": f"tickcast.{bench.group}.me",
        "transaction.timeout.ms": 20_000,
        "message.timeout.ms": 20_000,
        "socket.timeout.ms": 20_000,
        "metadata.recovery.strategy": "none",
    }


def test_shortest_transaction_timeout_is_one_that_librdkafka_takes(bench: Bench) -> None:
    bench.kafka = {"delivery": "exactly_once", "commit_interval_ms": 1, "transaction_timeout_ms": 2}
    client = bench.client()
    client.begin_transaction()
    publish(client, bench.topic(), b"one")
    client.commit_transaction({}, 10.0)


def test_transaction_timeout_beyond_the_cluster_s_is_refused(bench: Bench) -> None:
    bench.kafka = {"delivery": "exactly_once", "transaction_timeout_ms": 3_600_000}
    with pytest.raises(RefusedError, match="timeout"):
        bench.client()


def test_fatal_error_of_the_producer_comes_out_of_poll_and_of_everything_after_it(bench: Bench) -> None:
    output = bench.topic()
    bench.kafka = {"delivery": "exactly_once"}
    client = bench.client("same")
    client.begin_transaction()
    publish(client, output, b"before")
    config = bench.config()
    fence_of(config)(config, transactional_id(config, "same"))
    heard: list[BrokerError | None] = []
    client.send(output, b"after", b"key", [], heard.append)
    with pytest.raises(FencedError):
        until(lambda: client.poll(0.1, 1))
    with pytest.raises(FencedError):
        client.send(output, b"after", b"key", [], heard.append)
    for end in (client.abort_transaction, lambda timeout_s: client.commit_transaction({}, timeout_s)):
        with pytest.raises(FencedError):
            end(1.0)
    bench.close(client)
    assert [type(error) for error in heard] == [FencedError]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._PURGE_QUEUE, TransactionAbortedError),
        (KafkaError._PURGE_INFLIGHT, TransactionAbortedError),
        (KafkaError._MSG_TIMED_OUT, TransactionAbortedError),
        (KafkaError.MSG_SIZE_TOO_LARGE, DeliveryError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, DeliveryError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, DeliveryError),
        (KafkaError.INVALID_RECORD, DeliveryError),
        (KafkaError.INVALID_PRODUCER_EPOCH, FencedError),
        (KafkaError._FENCED, FencedError),
    ],
)
def test_failed_delivery_says_whether_another_transaction_may_help(code: int, kind: type[BrokerError]) -> None:
    assert type(delivery_failure("forecasts", KafkaError(code))) is kind


def test_full_queue_is_refused_after_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickcast.confluent_producer.FULL_WAIT_MAX_S", 0.05)
    config = bench.config(bootstrap_servers="127.0.0.1:1").model_copy(
        update={"outstanding_max": 2, "poll_records_max": 1}
    )
    producer = ConfluentProducer(config, "me", logging.getLogger("quiet"))
    heard: list[BrokerError | None] = []
    for _ in range(3):
        producer.send("t", b"", None, [], heard.append)
    with pytest.raises(BrokerError, match="t: 3 records are waiting"):
        producer.send("t", b"", None, [], heard.append)
    producer.close(0.0, 1.0)
    assert [type(error).__name__ for error in heard] == ["DeliveryError"] * 3


@pytest.mark.parametrize(
    ("code", "retriable"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, False),
        (KafkaError._BAD_MSG, False),
        (KafkaError._TIMED_OUT, True),
        (KafkaError.REBALANCE_IN_PROGRESS, True),
        (KafkaError._TRANSPORT, True),
    ],
)
def test_error_says_whether_trying_again_may_help(code: int, retriable: bool) -> None:
    error = refusal("asking", KafkaError(code))
    assert str(error).startswith("asking: ")
    assert error.retriable is retriable


def test_what_librdkafka_says_goes_to_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    config = bench.config(bootstrap_servers="127.0.0.1:1")
    producer = ConfluentProducer(config, "me", logging.getLogger("librdkafka"))
    while not caplog.records:
        producer.serve()
    assert caplog.records[0].name == "librdkafka"
    assert "127.0.0.1:1" in caplog.text
