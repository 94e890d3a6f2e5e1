"""What every Kafka client must do with records, and when something fails. Run by `check_client`."""

import os
import socket
import time

import pytest
from client_bench import ANSWER_TIMEOUT_S, UNTIL_TIMEOUT_S, Bench, Unreadable, others_producer, publish, until
from daemons import halted
from tickcast.broker import HOST
from tickcast.clients import Committed, Headers, Partition, Record, connect
from tickcast.errors import BrokerError, DeliveryError

# -- producing and consuming


def check_records_arrive_as_sent_and_in_order(bench: Bench) -> None:
    topic = bench.topic()
    sent: list[tuple[bytes | None, bytes | None, Headers]] = [
        (b"key", b"value", [("source", b"\x00\xff"), ("source", b"twice"), ("empty", b"")]),
        (None, b"no key", []),
        (b"tombstone", None, []),
        (None, None, []),
        (b"", b"", []),
        ("kurs €".encode(), b"x" * 100_000, [("ключ", b"1")]),
        *((b"key", b"%d" % number, []) for number in range(500)),
    ]
    member = bench.joined(topic)
    heard: list[BrokerError | None] = []
    for key, value, headers in sent:
        member.client.send(topic, value, key, headers, heard.append)
    assert member.client.flush(ANSWER_TIMEOUT_S)
    assert heard == [None] * len(sent)
    until(lambda: len(member.records) >= len(sent), member)
    assert [(record.key, record.value, list(record.headers)) for record in member.records] == sent
    assert [record.offset for record in member.records] == list(range(len(sent)))
    assert {record.partition for record in member.records} == {Partition(topic, 0)}
    assert all(abs(record.timestamp_ms / 1000 - time.time()) < 3600 for record in member.records)


def check_every_compression_is_read(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    sent = []
    for codec in ("gzip", "lz4", "snappy", "zstd"):
        with others_producer(bench, compression_type=codec, linger_ms=50) as producer:
            sent += [f"{codec} {number} {'x' * 1_000}".encode() for number in range(50)]
            for value in sent[-50:]:
                producer.send(topic, value)
    until(lambda: len(member.records) >= len(sent), member)
    assert [record.value for record in member.records] == sent


def check_header_name_that_is_no_text_is_no_obstacle(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    with others_producer(bench, linger_ms=50) as producer:  # one batch, with good records before and after
        for number in range(9):
            name = Unreadable("source") if number in (3, 4, 8) else "source"
            producer.send(topic, b"%d" % number, key=b"key", headers=[(name, b"\xff"), ("next", b"1")])
    publish(member.client, topic, b"9")
    until(lambda: len(member.records) >= 10, member)
    assert [record.value for record in member.records] == [b"%d" % number for number in range(10)]
    good, bad = member.records[2], member.records[3]
    assert list(good.headers) == [("source", b"\xff"), ("next", b"1")]
    assert [name.endswith("source") for name, _ in bad.headers] == [True, False]
    assert [value for _, value in bad.headers] == [b"\xff", b"1"]
    assert bad.headers[0][0].encode()  # may be passed on
    member.commit([Partition(topic, 0)])


def check_same_key_goes_to_the_same_partition(bench: Bench) -> None:
    topic = bench.topic(partitions=4)
    member = bench.joined(topic)
    for _ in range(3):
        for key in (b"a", b"b", b"c", b"d", b"e", b"f"):
            publish(member.client, topic, b"", key=key)
    until(lambda: len(member.records) == 18, member)
    homes = {(record.key, record.partition) for record in member.records}
    assert len(homes) == 6
    assert len({partition for _, partition in homes}) > 1


def check_partition_that_is_named_is_where_a_record_goes(bench: Bench) -> None:
    topic = bench.topic(partitions=3)
    member = bench.joined(topic)
    heard: list[BrokerError | None] = []
    for number in (2, 0, 1, 2):
        member.client.send(topic, b"%d" % number, b"same key", [], heard.append, number)
    assert member.client.flush(ANSWER_TIMEOUT_S)
    assert heard == [None] * 4
    until(lambda: len(member.records) == 4, member)
    assert sorted(record.partition.number for record in member.records) == [0, 1, 2, 2]
    assert all(record.value == b"%d" % record.partition.number for record in member.records)


def check_partition_that_is_not_there_is_refused(bench: Bench) -> None:
    client, heard = bench.client(), list[BrokerError | None]()
    topic = bench.topic()
    publish(client, topic, b"known")
    try:
        client.send(topic, b"value", None, [], heard.append, 7)
    except BrokerError:
        assert heard == []
    else:
        assert client.flush(ANSWER_TIMEOUT_S)
        (failure,) = heard
        assert isinstance(failure, DeliveryError)


def check_poll_does_not_wait_for_a_full_batch(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, b"one")
    hour_s = 3600.0  # a poll that waited for its timeout, or for 1000 records, would never come back
    assert [record.value for record in member.client.poll(hour_s, 1000)] == [b"one"]


def check_poll_without_records_comes_back(bench: Bench) -> None:
    member = bench.joined(bench.topic())
    assert member.client.poll(0.2, 1000) == []
    assert member.client.poll(0.0, 1000) == []


def check_poll_returns_no_more_than_asked_for(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    member = bench.joined(topic)
    for number in range(40):
        publish(member.client, topic, b"", key=b"%d" % number)
    sizes = []
    while sum(sizes) < 40:
        sizes.append(len(member.poll(records_max=7)))
    assert max(sizes) <= 7


def check_polling_with_no_timeout_still_joins_and_reads(bench: Bench) -> None:
    topic = bench.topic()
    publish(bench.client(), topic, b"one")
    member = bench.member(topic)
    deadline_s = time.monotonic() + UNTIL_TIMEOUT_S
    records: list[Record] = []
    while not records and time.monotonic() < deadline_s:
        records = member.client.poll(0.0, 10)
    assert [record.value for record in records] == [b"one"]


def check_seek_goes_back_and_forth(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, *(b"%d" % number for number in range(20)))
    until(lambda: len(member.records) == 20, member)
    for offset in (0, 15, 7):
        member.records.clear()
        member.client.seek(Partition(topic, 0), offset)
        until(lambda: len(member.records) == 20 - offset, member)  # noqa: B023 - called within this round
        assert member.records[0].offset == offset


def check_seek_forgets_what_was_fetched_before(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, *(b"%d" % number for number in range(20)))
    until(lambda: member.poll(records_max=3))  # the rest waits inside the client
    member.client.seek(Partition(topic, 0), 12)
    member.records.clear()
    until(lambda: member.records, member)
    assert member.records[0].offset == 12


def check_paused_partition_is_not_read_until_resumed(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    member = bench.joined(topic)
    for number in range(40):
        publish(member.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: member.poll(records_max=1))  # both may have been fetched already
    paused, running = Partition(topic, 0), Partition(topic, 1)
    held = member.client.offset_range([paused, running], ANSWER_TIMEOUT_S)
    member.client.pause([paused])
    before = sum(record.partition == paused for record in member.records)
    until(lambda: member.positions[running] == held[running].end, member)
    assert sum(record.partition == paused for record in member.records) == before
    member.client.resume([paused])
    until(lambda: member.positions[paused] == held[paused].end, member)
    assert [record.offset for record in member.records if record.partition == paused] == list(range(held[paused].end))


# -- failures


def check_record_the_broker_refuses_is_heard_of_once(bench: Bench) -> None:
    topic = bench.topic(config={"max.message.bytes": "1000"})
    client = bench.client()
    heard: list[BrokerError | None] = []
    client.send(topic, os.urandom(20_000), b"key", [], heard.append)
    assert client.flush(ANSWER_TIMEOUT_S)
    (failure,) = heard
    assert isinstance(failure, DeliveryError)
    assert topic in str(failure)


def check_sending_to_an_unknown_topic_is_refused(bench: Bench) -> None:
    client = bench.client()
    heard: list[BrokerError | None] = []
    try:
        client.send("no-such-topic", b"value", None, [], heard.append)
    except BrokerError:
        assert heard == []
    else:
        assert client.flush(ANSWER_TIMEOUT_S)
        assert len(heard) == 1
        assert isinstance(heard[0], DeliveryError)


def check_no_call_outlives_its_timeout_when_the_broker_is_silent(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    member = bench.joined(topic)
    client = member.client
    publish(client, topic, b"before")
    until(lambda: member.records, member)
    heard: list[BrokerError | None] = []
    with halted(bench.broker.pid):
        started_s = time.monotonic()
        client.send(topic, b"kept", b"key", [], heard.append)
        assert not client.flush(0.2)
        assert client.poll(0.2, 10) == []
        for ask in (
            lambda: client.commit({partition: Committed(1, "")}, 0.2),
            lambda: client.committed([partition], 0.2),
            lambda: client.offset_range([partition], 0.2),
            lambda: client.end_offsets([partition], 0.2),
            lambda: client.offsets_for_time([partition], 0, 0.2),
            lambda: client.partitions_of(topic, 0.2),
        ):
            with pytest.raises(BrokerError):
                ask()
        elapsed_s = time.monotonic() - started_s
    assert elapsed_s < 5.0, "eight calls of 0.2 s each"
    assert client.flush(ANSWER_TIMEOUT_S)
    assert heard == [None]
    until(lambda: len(member.records) == 2, member)
    member.commit([partition])


def check_cluster_that_is_not_there_is_a_broker_error(bench: Bench) -> None:
    with pytest.raises(BrokerError):
        connect(bench.config(bootstrap_servers=f"{HOST}:1", request_timeout_ms=500), "nobody")


def check_cluster_that_does_not_answer_is_a_broker_error(bench: Bench) -> None:
    with socket.create_server((HOST, 0)) as silent:
        address = f"{HOST}:{silent.getsockname()[1]}"
        with pytest.raises(BrokerError):
            connect(bench.config(bootstrap_servers=address, request_timeout_ms=500), "nobody")
