"""What every Kafka client must do with transactions, `kafka.delivery = "exactly_once"`. Run by `check_client`."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from client_bench import ANSWER_TIMEOUT_S, Bench, Member, transaction, until
from daemons import halted
from kafka.admin import MemberToRemove
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition
from tickcast.broker import HOST
from tickcast.clients import Client, Committed, Partition, connect, fence_of, transactional_id
from tickcast.errors import BrokerError, DeliveryError, FencedError, TransactionAbortedError
from tickcast.topic_reader import TopicReader

# As long as the daemon's: 200 bytes, of which some are no ASCII.
NOTE = "v=1 replay_from=123 " + "ä" * 90
# How long the daemon waits for offsets that a transaction under way may still change.
STABLE_TIMEOUT_S = 0.3
SILENT_TIMEOUT_S = 0.5

# -- the means


def member_of(bench: Bench, topic: str, instance_id: str = "") -> Member:
    """A member that owns all of `topic`, with transactions."""
    bench.kafka = {"delivery": "exactly_once"}
    return bench.joined(topic, instance_id=instance_id)


def client_of(bench: Bench, instance_id: str = "") -> Client:
    """A client with transactions that is in no group yet."""
    bench.kafka = {"delivery": "exactly_once"}
    return bench.client(instance_id)


def visible(bench: Bench, topic: str) -> list[bytes | None]:
    """What a reader of committed records sees in `topic` by now."""
    with TopicReader(bench.config()) as reader:
        return [record.value for record in reader.read(reader.held(reader.partitions(topic)))]


def send(client: Client, topic: str, *values: bytes) -> list[BrokerError | None]:
    """Send `values` in the open transaction; what their deliveries heard, all of it."""
    heard: list[BrokerError | None] = []
    for value in values:
        client.send(topic, value, b"key", [], heard.append)
    assert client.flush(ANSWER_TIMEOUT_S)
    assert len(heard) == len(values)
    return heard


def transact(client: Client, topic: str, *values: bytes, offsets: dict[Partition, Committed] | None = None) -> None:
    """Publish `values` in a transaction."""
    client.begin_transaction()
    assert send(client, topic, *values) == [None] * len(values)
    client.commit_transaction(offsets or {}, ANSWER_TIMEOUT_S)


@contextmanager
def silent(bench: Bench) -> Iterator[None]:
    """The broker says nothing meanwhile, and each call within, of `SILENT_TIMEOUT_S`, comes back for all that."""
    with halted(bench.broker.pid):
        started_s = time.monotonic()
        yield
        elapsed_s = time.monotonic() - started_s
    assert elapsed_s < 8 * SILENT_TIMEOUT_S, "two calls"


# -- all or nothing


def check_records_and_offsets_of_a_transaction_become_visible_together(bench: Bench) -> None:
    source, output, dead_letters = bench.topic(), bench.topic(partitions=3), bench.topic()
    partition = Partition(source, 0)
    client = member_of(bench, source).client
    client.begin_transaction()
    assert send(client, output, b"forecast") == [None]
    assert send(client, dead_letters, b"dead letter") == [None]
    assert visible(bench, output) == visible(bench, dead_letters) == []
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: None}
    client.commit_transaction({partition: Committed(7, NOTE)}, ANSWER_TIMEOUT_S)
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(7, NOTE)}
    until(lambda: visible(bench, output) == [b"forecast"])  # the markers are written after the answer
    until(lambda: visible(bench, dead_letters) == [b"dead letter"])


def check_aborted_records_sent_again_are_seen_once(bench: Bench) -> None:
    source, output, dead_letters = bench.topic(), bench.topic(), bench.topic()
    partition = Partition(source, 0)
    client = member_of(bench, source).client
    for _ in range(3):
        client.begin_transaction()
        send(client, output, b"first", b"second")
        send(client, dead_letters, b"dead letter")
        client.abort_transaction(ANSWER_TIMEOUT_S)
    client.begin_transaction()
    send(client, dead_letters, b"dead letter")
    send(client, output, b"first", b"second")
    client.commit_transaction({partition: Committed(2, "")}, ANSWER_TIMEOUT_S)
    until(lambda: visible(bench, output) and visible(bench, dead_letters))
    assert visible(bench, output) == [b"first", b"second"]
    assert visible(bench, dead_letters) == [b"dead letter"]


def check_every_record_of_an_aborted_transaction_is_heard_of_once(bench: Bench) -> None:
    output = bench.topic()
    client = client_of(bench)
    heard: list[BrokerError | None] = []
    client.begin_transaction()
    for _ in range(50):
        client.send(output, b"aborted", b"key", [], heard.append)
    client.abort_transaction(ANSWER_TIMEOUT_S)
    transact(client, output, b"committed")
    assert len(heard) == 50
    assert all(error is None or isinstance(error, TransactionAbortedError) for error in heard)
    until(lambda: visible(bench, output) == [b"committed"])


def check_one_transaction_follows_another(bench: Bench) -> None:
    source, output = bench.topic(), bench.topic(partitions=2)
    partition = Partition(source, 0)
    client = member_of(bench, source).client
    for number in range(30):
        client.begin_transaction()
        if number % 3:
            send(client, output, b"%d" % number)
        client.commit_transaction({partition: Committed(number, f"note {number}")} if number % 5 else {}, 10.0)
    expected = sorted(b"%d" % number for number in range(30) if number % 3)
    until(lambda: len(visible(bench, output)) == len(expected))
    assert sorted(visible(bench, output)) == expected
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(29, "note 29")}


def check_commit_waits_for_what_is_not_acknowledged_yet(bench: Bench) -> None:
    output = bench.topic()
    client = client_of(bench)
    heard: list[BrokerError | None] = []
    client.begin_transaction()
    for number in range(200):
        client.send(output, b"%d" % number, b"key", [], heard.append)
    client.commit_transaction({}, ANSWER_TIMEOUT_S)
    assert heard == [None] * 200
    until(lambda: len(visible(bench, output)) == 200)


def check_closing_aborts_what_is_open(bench: Bench) -> None:
    output = bench.topic()
    client = client_of(bench)
    client.begin_transaction()
    send(client, output, b"aborted")
    bench.close(client)
    other = client_of(bench)
    transact(other, output, b"committed")
    until(lambda: visible(bench, output) == [b"committed"])  # nothing of an open one would be seen, nor what follows it


# -- records that fail


def check_record_the_broker_refuses_fails_its_transaction_and_no_other(bench: Bench) -> None:
    small, output = bench.topic(config={"max.message.bytes": "1000"}), bench.topic()
    client = client_of(bench)
    client.begin_transaction()
    assert send(client, output, b"good") == [None]
    (failure,) = send(client, small, os.urandom(20_000))
    assert isinstance(failure, DeliveryError)
    with pytest.raises(TransactionAbortedError):
        client.commit_transaction({}, ANSWER_TIMEOUT_S)
    client.abort_transaction(ANSWER_TIMEOUT_S)
    transact(client, output, b"next")
    until(lambda: visible(bench, output) == [b"next"])
    assert visible(bench, small) == []


def check_sending_on_in_a_transaction_that_has_failed_says_so(bench: Bench) -> None:
    small, output = bench.topic(config={"max.message.bytes": "1000"}), bench.topic()
    client = client_of(bench)
    client.begin_transaction()
    send(client, small, os.urandom(20_000))
    heard: list[BrokerError | None] = []
    try:
        client.send(output, b"too late", b"key", [], heard.append)
    except TransactionAbortedError:
        assert heard == []
    client.abort_transaction(ANSWER_TIMEOUT_S)
    assert all(error is None or isinstance(error, TransactionAbortedError) for error in heard)
    transact(client, output, b"next")
    until(lambda: visible(bench, output) == [b"next"])


# -- the group has moved on


def check_commit_by_a_member_that_was_removed_has_to_be_aborted(bench: Bench) -> None:
    source, output = bench.topic(), bench.topic()
    partition = Partition(source, 0)
    member = member_of(bench, source, "removed")
    client = member.client
    client.begin_transaction()
    send(client, output, b"forecast")
    with bench.broker.admin() as admin:
        admin.remove_group_members(bench.group, [MemberToRemove(group_instance_id="removed")])
    with pytest.raises(TransactionAbortedError):
        client.commit_transaction({partition: Committed(1, "lost")}, ANSWER_TIMEOUT_S)
    client.abort_transaction(ANSWER_TIMEOUT_S)
    until(lambda: [what for what, _ in member.events] == ["assigned", "lost", "assigned"], member)
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: None}
    transact(client, output, b"forecast", offsets={partition: Committed(1, "again")})
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(1, "again")}
    until(lambda: visible(bench, output) == [b"forecast"])


def check_commit_for_what_was_given_away_has_to_be_aborted(bench: Bench) -> None:
    source, output = bench.topic(partitions=2), bench.topic()
    first = member_of(bench, source)
    second = bench.member(source)
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 1, first, second)
    (gone,) = second.client.assignment()
    first.client.begin_transaction()
    send(first.client, output, b"not ours")
    with pytest.raises(TransactionAbortedError, match=f"{gone.topic}/{gone.number}"):
        first.client.commit_transaction({gone: Committed(1, "")}, ANSWER_TIMEOUT_S)
    first.client.abort_transaction(ANSWER_TIMEOUT_S)
    assert second.client.committed([gone], ANSWER_TIMEOUT_S)[gone] != Committed(1, "")
    transact(second.client, output, b"theirs", offsets={gone: Committed(2, "")})
    until(lambda: visible(bench, output) == [b"theirs"])


# -- fencing


def check_second_process_aborts_what_the_first_has_open_and_fences_it(bench: Bench) -> None:
    output = bench.topic()
    first = client_of(bench, "same")
    first.begin_transaction()
    send(first, output, b"of the first")
    second = client_of(bench, "same")
    with pytest.raises(FencedError) as caught:
        first.commit_transaction({}, ANSWER_TIMEOUT_S)
    assert not caught.value.retriable
    with pytest.raises(FencedError):
        first.begin_transaction()
    transact(second, output, b"of the second")
    until(lambda: visible(bench, output) == [b"of the second"])
    bench.close(first)
    transact(second, output, b"after")
    until(lambda: visible(bench, output) == [b"of the second", b"after"])


def check_first_process_hears_of_the_second_in_its_next_transaction(bench: Bench) -> None:
    output = bench.topic()
    first = client_of(bench, "same")
    transact(first, output, b"of the first")
    second = client_of(bench, "same")
    heard: list[BrokerError | None] = []

    def next_transaction() -> None:
        first.begin_transaction()
        for _ in range(10):
            first.send(output, b"zombie", b"key", [], heard.append)
        first.flush(ANSWER_TIMEOUT_S)
        first.commit_transaction({}, ANSWER_TIMEOUT_S)

    with pytest.raises(FencedError):
        next_transaction()
    with pytest.raises(FencedError):
        first.begin_transaction()
    transact(second, output, b"of the second")
    until(lambda: visible(bench, output) == [b"of the first", b"of the second"])
    bench.close(first)
    assert None not in heard


def check_first_process_hears_of_the_second_when_it_aborts(bench: Bench) -> None:
    output = bench.topic()
    first = client_of(bench, "same")
    first.begin_transaction()
    send(first, output, b"of the first")
    second = client_of(bench, "same")
    with pytest.raises(FencedError):
        first.abort_transaction(ANSWER_TIMEOUT_S)
    transact(second, output, b"of the second")
    until(lambda: visible(bench, output) == [b"of the second"])


def check_fence_frees_what_a_dead_owner_s_transaction_holds(bench: Bench) -> None:
    source, output = bench.topic(), bench.topic()
    partition = Partition(source, 0)
    client = member_of(bench, source).client
    transact(client, output, b"before", offsets={partition: Committed(3, NOTE)})
    config = bench.config()
    dead, bystander = (transactional_id(config, name) for name in ("dead", "bystander"))
    with transaction(bench, dead) as producer:
        producer.send(output, b"of the dead").get(timeout=ANSWER_TIMEOUT_S)
        producer.send_offsets_to_transaction(
            {TopicPartition(*partition): OffsetAndMetadata(5, "of the dead\0", -1)}, ConsumerGroupMetadata(bench.group)
        )
        transact(client, output, b"after")
        with pytest.raises(BrokerError, match=f"{partition.topic}/0"):
            client.committed([partition], STABLE_TIMEOUT_S)
        assert client.last_committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(3, NOTE)}
        until(lambda: visible(bench, output) == [b"before"])
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda name: fence_of(config)(config, name), (dead, bystander)))
        assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(3, NOTE)}
        until(lambda: visible(bench, output) == [b"before", b"after"])
        with pytest.raises(Exception, match=r"(?i)fence|epoch"):
            producer.commit_transaction()
    transact(client, output, b"ours", offsets={partition: Committed(6, "")})
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(6, "")}


def check_fence_without_an_answer_is_a_broker_error(bench: Bench) -> None:
    with socket.create_server((HOST, 0)) as nobody:
        address = f"{HOST}:{nobody.getsockname()[1]}"
        config = bench.config(bootstrap_servers=address, request_timeout_ms=500)
        with pytest.raises(BrokerError):
            fence_of(config)(config, transactional_id(config, "dead"))


def check_last_committed_tells_of_several_partitions(bench: Bench) -> None:
    topic = bench.topic(partitions=3)
    first, second, untouched = (Partition(topic, number) for number in range(3))
    client = member_of(bench, topic).client
    assert client.last_committed([first], ANSWER_TIMEOUT_S) == {first: None}
    client.begin_transaction()
    client.commit_transaction({first: Committed(7, NOTE), second: Committed(0, "")}, ANSWER_TIMEOUT_S)
    expected = {first: Committed(7, NOTE), second: Committed(0, ""), untouched: None}
    until(lambda: client.last_committed([first, second, untouched], ANSWER_TIMEOUT_S) == expected)
    assert client.last_committed([], ANSWER_TIMEOUT_S) == {}


# -- a broker that is silent


def check_commit_that_is_not_answered_in_time_goes_on_where_it_stopped(bench: Bench) -> None:
    source, output = bench.topic(), bench.topic()
    partition = Partition(source, 0)
    client = member_of(bench, source).client
    offsets = {partition: Committed(7, NOTE)}
    client.begin_transaction()
    send(client, output, b"forecast")
    with silent(bench):
        for _ in range(2):
            with pytest.raises(BrokerError) as caught:
                client.commit_transaction(offsets, SILENT_TIMEOUT_S)
            assert type(caught.value) is BrokerError
    client.commit_transaction(offsets, ANSWER_TIMEOUT_S)
    assert client.committed([partition], ANSWER_TIMEOUT_S) == offsets
    until(lambda: visible(bench, output) == [b"forecast"])
    transact(client, output, b"next", offsets={partition: Committed(8, "")})
    until(lambda: visible(bench, output) == [b"forecast", b"next"])
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(8, "")}


def check_commit_of_records_alone_goes_on_where_it_stopped(bench: Bench) -> None:
    output = bench.topic()
    client = client_of(bench)
    client.begin_transaction()
    send(client, output, b"forecast")
    with silent(bench):
        for _ in range(2):
            with pytest.raises(BrokerError) as caught:
                client.commit_transaction({}, SILENT_TIMEOUT_S)
            assert type(caught.value) is BrokerError
    client.commit_transaction({}, ANSWER_TIMEOUT_S)
    transact(client, output, b"next")
    until(lambda: visible(bench, output) == [b"forecast", b"next"])


def check_abort_that_is_not_answered_in_time_goes_on_where_it_stopped(bench: Bench) -> None:
    output = bench.topic()
    client = client_of(bench)
    client.begin_transaction()
    send(client, output, b"aborted")
    heard: list[BrokerError | None] = []
    with silent(bench):
        client.send(output, b"aborted, too", b"key", [], heard.append)
        for _ in range(2):
            with pytest.raises(BrokerError) as caught:
                client.abort_transaction(SILENT_TIMEOUT_S)
            assert type(caught.value) is BrokerError
    client.abort_transaction(ANSWER_TIMEOUT_S)
    transact(client, output, b"next")
    assert len(heard) == 1
    until(lambda: visible(bench, output) == [b"next"])


def check_nothing_is_sure_of_a_cluster_that_is_silent(bench: Bench) -> None:
    source = bench.topic()
    partition = Partition(source, 0)
    client = client_of(bench)
    config = bench.config(request_timeout_ms=int(SILENT_TIMEOUT_S * 1_000))
    with silent(bench):
        with pytest.raises(BrokerError):
            client.last_committed([partition], SILENT_TIMEOUT_S)
        with pytest.raises(BrokerError):
            connect(config, "nobody")
    assert client.last_committed([partition], ANSWER_TIMEOUT_S) == {partition: None}


def check_records_of_an_open_transaction_lie_between_the_end_and_the_high_watermark(bench: Bench) -> None:
    topic = bench.topic()
    writer = client_of(bench, "writer")
    transact(writer, topic, b"seen")
    reader = bench.joined(topic)
    (partition,) = reader.client.assignment()
    writer.begin_transaction()
    send(writer, topic, b"held", b"back")
    end = reader.client.end_offsets([partition], ANSWER_TIMEOUT_S)[partition]

    until(lambda: reader.client.high_watermarks([partition]).get(partition, 0) == end + 2, reader)
    writer.abort_transaction(ANSWER_TIMEOUT_S)
