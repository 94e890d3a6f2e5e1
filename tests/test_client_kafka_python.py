"""What the kafka-python client does about kafka-python's own ways, beyond the contract of every client."""

from collections.abc import Callable, Iterator

import pytest
from check_client import Bench, publish, until
from kafka.errors import KafkaTimeoutError
from tickcast.broker import Broker
from tickcast.clients import Committed
from tickcast.errors import BrokerError, OwnershipLostError
from tickcast.kafka_python_settings import consumer_settings, producer_settings


@pytest.fixture
def bench(broker: Broker, topic: Callable[..., str]) -> Iterator[Bench]:
    bench = Bench("kafka-python", broker, topic)
    yield bench
    bench.close_all()


def test_reading_goes_on_while_a_join_waits_for_another_member(bench: Bench) -> None:
    topic = bench.topic(partitions=6)
    reads = bench.joined(topic)
    silent = bench.member(topic)
    until(lambda: len(reads.client.assignment()) == len(silent.client.assignment()) == 3, reads, silent)
    until(lambda: not reads.poll(), reads, silent)
    comes = bench.member(topic)
    until(lambda: reads.client._membership.joining, reads, comes)  # and waits for `silent`, which is not polled
    for number in range(20):
        publish(comes.client, topic, b"", key=b"%d" % number)
    until(lambda: reads.records, reads)
    assert reads.client._membership.joining

    partition = next(iter(reads.client.assignment()))
    with pytest.raises(BrokerError) as caught:
        reads.client.commit({partition: Committed(0, "")}, 0.1)
    assert not isinstance(caught.value, OwnershipLostError), "nothing is lost: the next commit may go through"

    everyone = (reads, silent, comes)
    until(lambda: [len(member.client.assignment()) for member in everyone] == [2, 2, 2], *everyone)
    until(lambda: sum(len(member.records) for member in everyone) == 20, *everyone)
    offsets = [(record.partition, record.offset) for member in everyone for record in member.records]
    assert len(set(offsets)) == 20


def test_commit_completes_a_join_first(bench: Bench) -> None:
    topic = bench.topic(partitions=4)
    first = bench.joined(topic)
    second = bench.member(topic)

    def first_is_joining() -> bool:
        assert first.client.poll(0.0, 1) == []  # a single step: what it begins, only the next one can end
        second.poll()
        return bool(first.client._membership.joining)

    until(first_is_joining)
    held = {partition: Committed(3, "") for partition in first.client.assignment()}
    first.client.commit(held, 10.0)  # gives partitions up, which is not told before the next poll: all are still ours
    assert not first.client._membership.joining
    assert first.client.assignment() == held.keys()
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 2, first, second)


def test_new_partition_cannot_be_resumed_before_it_is_placed(bench: Bench) -> None:
    class Careless:
        def assigned(self, partitions):
            client.resume(partitions)

        def revoked(self, partitions):
            pass

    client = bench.client()
    client.subscribe([bench.topic()], Careless())
    with pytest.raises(AssertionError, match="seek"):
        client.poll(30.0, 1)


def test_what_nobody_answered_in_time_fails_at_close(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, topic: Callable[..., str]
) -> None:
    name = topic()
    client = bench.client()
    publish(client, name, b"known")
    producer = client._producer._producer
    monkeypatch.setattr(producer._sender, "_send_producer_data", lambda now=None: 10)  # nothing leaves any more
    heard: list[BrokerError | None] = []
    client.send(name, b"stuck", None, [], heard.append)
    assert not client.flush(0.05)
    bench._open.remove(client)
    client.close(0.1)
    assert [type(error).__name__ for error in heard] == ["DeliveryError"]
    assert not producer._sender.is_alive()


def test_settings_that_must_not_be_left_to_the_library(bench: Bench) -> None:
    config = bench.config("ticks")
    consumer, producer = consumer_settings(config, "me"), producer_settings(config, "me")
    assert consumer["isolation_level"] == "read_committed"
    assert consumer["auto_offset_reset"] == "none"
    assert consumer["enable_auto_commit"] is False
    assert consumer["group_instance_id"] == "me"
    assert [strategy.name for strategy in consumer["partition_assignment_strategy"]] == ["cooperative-sticky"]
    assert producer["enable_idempotence"] is True
    assert consumer["allow_auto_create_topics"] is producer["allow_auto_create_topics"] is False
    assert 3 * consumer["heartbeat_interval_ms"] <= consumer["session_timeout_ms"]


def test_error_that_heals_by_itself_is_not_raised_by_poll(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    member = bench.joined(bench.topic())

    def fail(timeout_s: float, records_max: int) -> dict[object, object]:
        raise KafkaTimeoutError("for now")

    with monkeypatch.context() as patched:
        patched.setattr(member.client._fetching, "take", fail)
        assert member.client.poll(0.01, 1) == []
    publish(member.client, next(iter(member.client.assignment())).topic, b"one")
    until(lambda: member.records, member)
