"""What the kafka-python client does about kafka-python's own ways, beyond the contract of every client."""

from collections.abc import Callable, Iterator

import pytest
from client_bench import Bench, publish, until
from kafka.errors import (
    CorruptRecordError,
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
)
from kafka.structs import TopicPartition
from tickcast.broker import Broker
from tickcast.clients import Committed, Partition
from tickcast.errors import BrokerError, OwnershipLostError, RefusedError
from tickcast.kafka_python_errors import answering
from tickcast.kafka_python_membership import Note
from tickcast.kafka_python_settings import consumer_settings, producer_settings, transactional_settings


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


def test_first_record_to_a_topic_that_was_asked_for_needs_no_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the cluster is silent: what is sent waits for it, in the producer."""
    asked, absent = bench.topic(partitions=2), "no-such-topic"
    client = bench.member(bench.topic()).client
    assert (len(client.partitions_of(asked, 10)), client.partitions_of(absent, 10)) == (2, frozenset())
    known = client._producer._cluster
    until(lambda: known.partitions_for_topic(asked))
    assert absent not in known._topics, "asking the producer could make it"

    def silent(*_: object) -> None:
        raise KafkaTimeoutError

    monkeypatch.setattr(client._producer._producer, "_wait_on_metadata", silent)
    heard: list[BrokerError | None] = []
    client.send(asked, b"value", b"key", [], heard.append)
    assert client.flush(10)
    assert heard == [None]


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
    transactional = transactional_settings(config.model_copy(update={"transaction_timeout_ms": 7_000}), "name")
    assert transactional["transactional_id"] == "name"
    assert transactional["transaction_timeout_ms"] == 7_000
    assert not transactional.keys() & producer.keys()


def test_error_that_heals_by_itself_is_not_raised_by_poll(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    member = bench.joined(bench.topic())

    def fail(timeout_s: float, records_max: int) -> dict[object, object]:
        raise KafkaTimeoutError("for now")

    with monkeypatch.context() as patched:
        patched.setattr(member.client._fetching, "take", fail)
        assert member.client.poll(0.01, 1) == []
    publish(member.client, next(iter(member.client.assignment())).topic, b"one")
    until(lambda: member.records, member)


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError, GroupAuthorizationFailedError, CorruptRecordError])
def test_error_that_stays_is_a_refusal(error: type[KafkaError]) -> None:
    with pytest.raises(RefusedError, match="asking: ") as caught, answering("asking"):
        raise error
    assert not caught.value.retriable


@pytest.mark.parametrize("error", [KafkaTimeoutError, RebalanceInProgressError])
def test_error_that_passes_may_be_tried_again(error: type[KafkaError]) -> None:
    with pytest.raises(BrokerError) as caught, answering("asking"):
        raise error
    assert caught.value.retriable


def test_missing_authorisation_is_not_asked_for_again_and_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, topic: Callable[..., str]
) -> None:
    client = bench.client()

    def refuse(asked: object, timeout_ms: int) -> dict[object, object]:
        raise GroupAuthorizationFailedError(bench.group)

    monkeypatch.setattr(client._consumer._coordinator, "fetch_committed_offsets", refuse)
    with pytest.raises(RefusedError, match="t/0, t/1, t/2, t/3, t/4, t/5, t/6, t/7, 2 more"):
        client.committed([Partition("t", number) for number in range(10)], 1.0)


def test_committed_offsets_are_one_request_and_never_an_answer_to_an_earlier_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = bench.topic(partitions=50)
    everything = [Partition(topic, number) for number in range(50)]
    coordinator = bench.client()._consumer._coordinator
    client = bench._open[-1]
    requests = []
    send = coordinator._send_offset_fetch_request

    async def counted(partitions: list[TopicPartition]) -> object:
        requests.append(len(partitions))
        return await send(partitions)

    monkeypatch.setattr(coordinator, "_send_offset_fetch_request", counted)
    assert client.committed(everything, 10.0) == dict.fromkeys(everything)
    assert requests == [50]
    left_behind = coordinator._manager.call_soon(counted, [TopicPartition(*each) for each in everything])
    coordinator._offset_fetch_futures[frozenset(map(TopicPartition._make, everything))] = left_behind
    assert client.committed(everything, 10.0) == dict.fromkeys(everything)
    assert requests == [50, 50, 50]


def test_records_of_a_partition_told_of_after_they_were_fetched_are_not_returned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = bench.topic(partitions=2)
    member = bench.joined(topic)
    gone = frozenset({Partition(topic, 0)})
    take, late = member.client._fetching.take, []

    def take_and_lose(timeout_s: float, records_max: int) -> dict[TopicPartition, list[object]]:
        batches = take(timeout_s, records_max)
        if TopicPartition(topic, 0) in batches and not late:
            late.append(len(batches[TopicPartition(topic, 0)]))
            member.client._membership.notes.extend([Note("lost", gone), Note("assigned", gone)])
        return dict(batches)

    monkeypatch.setattr(member.client._fetching, "take", take_and_lose)
    for number in range(40):
        publish(member.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: len(member.records) >= 40, member)
    assert late, "records were in hand"
    home = next(record.key for record in member.records if record.partition in gone)
    publish(member.client, topic, b"last", key=home)
    until(lambda: member.records[-1].value == b"last", member)
    assert [what for what, _ in member.events] == ["assigned", "lost", "assigned"]
    read = [(record.partition, record.offset) for record in member.records]
    assert len(set(read)) == len(read) == 41, "read once, from where the new beginning was placed"


def test_damaged_batch_is_refused_each_time_and_never_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    with monkeypatch.context() as patched:
        patched.setattr("kafka.record.default_records.DefaultRecordBatch.validate_crc", lambda batch: False)
        publish(member.client, topic, b"one")
        for _ in range(3):
            with pytest.raises(RefusedError, match="crc"):
                until(lambda: member.records, member)
    until(lambda: member.records, member)
    assert [record.value for record in member.records] == [b"one"]
