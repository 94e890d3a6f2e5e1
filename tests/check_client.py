"""What every Kafka client must do, on a real broker; `tests/test_clients.py` runs each check on every registered one.

A check takes a `Bench`: the means to make topics, clients and groups. Members of a group are polled in turn, on one
thread, as each would be in its own process.
"""

import gc
import itertools
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import kafka
import pytest
from kafka.admin import MemberToRemove
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition
from tickcast.broker import HOST, Broker
from tickcast.clients import CLIENTS, Client, Committed, Headers, OffsetRange, Partition, Record, connect
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, DeliveryError, OffsetOutOfRangeError, OwnershipLostError

POLL_TIMEOUT_S = 0.05
ANSWER_TIMEOUT_S = 10.0
UNTIL_TIMEOUT_S = 60.0


class Member:
    """A client with a listener that starts each partition at its committed offset and commits what it has polled."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.records: list[Record] = []
        self.events: list[tuple[str, frozenset[Partition]]] = []
        self.positions: dict[Partition, int] = {}

    def assigned(self, partitions: Collection[Partition]) -> None:
        self.events.append(("assigned", frozenset(partitions)))
        committed = self.client.committed(partitions, ANSWER_TIMEOUT_S)
        held = self.client.offset_range(partitions, ANSWER_TIMEOUT_S)
        for partition in partitions:
            known = committed[partition]
            self.positions[partition] = held[partition].first if known is None else known.offset
            self.client.seek(partition, self.positions[partition])
        self.client.resume(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        self.events.append(("revoked", frozenset(partitions)))
        self.commit(partitions)
        for partition in partitions:
            del self.positions[partition]

    def lost(self, partitions: Collection[Partition]) -> None:
        self.events.append(("lost", frozenset(partitions)))
        for partition in partitions:
            del self.positions[partition]

    def commit(self, partitions: Collection[Partition], metadata: str = "") -> None:
        offsets = {partition: Committed(self.positions[partition], metadata) for partition in partitions}
        self.client.commit(offsets, ANSWER_TIMEOUT_S)

    def poll(self, records_max: int = 1000) -> list[Record]:
        polled = self.client.poll(POLL_TIMEOUT_S, records_max)
        for record in polled:
            self.positions[record.partition] = record.offset + 1
        self.records += polled
        return polled


class Unreadable(str):
    """A header's name that goes out as bytes which are no UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + super().encode(encoding, errors)


class Bench:
    """One registered client, a broker, and whatever a check opened."""

    def __init__(self, name: str, broker: Broker, topic: Callable[..., str]) -> None:
        self.broker = broker
        self.topic = topic
        self.group = f"group-{uuid.uuid4().hex[:12]}"
        self._name = name
        self._numbers = itertools.count()
        self._open: list[Client] = []

    def config(self, *topics: str, bootstrap_servers: str = "", request_timeout_ms: int = 30_000) -> KafkaConfig:
        return KafkaConfig.model_validate(
            {
                "client": self._name,
                "bootstrap_servers": bootstrap_servers or self.broker.bootstrap_servers,
                "group_id": self.group,
                "input_topics": topics or ("unused",),
                "output_topic": "unused",
                "dead_letter_topic": "unused",
                "request_timeout_ms": request_timeout_ms,
            }
        )

    def client(self, instance_id: str = "") -> Client:
        client = connect(self.config(), instance_id or f"instance-{next(self._numbers)}")
        self._open.append(client)
        return client

    def member(self, *topics: str, instance_id: str = "") -> Member:
        """A member of this bench's group; joined once it has been polled for a while."""
        member = Member(self.client(instance_id))
        member.client.subscribe(topics, member)
        return member

    def joined(self, *topics: str, instance_id: str = "") -> Member:
        """A member that owns every partition of `topics`."""
        member = self.member(*topics, instance_id=instance_id)
        until(lambda: member.client.assignment(), member)
        return member

    def close(self, client: Client) -> None:
        self._open.remove(client)
        client.close(ANSWER_TIMEOUT_S)

    def close_all(self) -> None:
        for client in reversed(self._open):
            client.close(ANSWER_TIMEOUT_S)
        self._open.clear()
        gc.collect()


def until(condition: Callable[[], object], *members: Member) -> None:
    """Poll `members` in turn until `condition` holds."""
    deadline_s = time.monotonic() + UNTIL_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {UNTIL_TIMEOUT_S} s; events: {[m.events for m in members]}"
        for member in members:
            member.poll()


def publish(client: Client, topic: str, *values: bytes | None, key: bytes | None = b"key") -> None:
    """Send and wait for every acknowledgement."""
    heard: list[BrokerError | None] = []
    for value in values:
        client.send(topic, value, key, [], heard.append)
    assert client.flush(ANSWER_TIMEOUT_S)
    assert heard == [None] * len(values)


@contextmanager
def others_producer(bench: Bench, **settings: object) -> Iterator[kafka.KafkaProducer]:
    """A producer that is not one of ours: input topics have other authors."""
    producer = kafka.KafkaProducer(bootstrap_servers=bench.broker.bootstrap_servers, **settings)
    try:
        yield producer
        producer.flush(timeout=ANSWER_TIMEOUT_S)
    finally:
        producer.close()


@contextmanager
def transaction(bench: Bench) -> Iterator[kafka.KafkaProducer]:
    """A transactional producer with a transaction begun; the check ends it."""
    producer = kafka.KafkaProducer(
        bootstrap_servers=bench.broker.bootstrap_servers,
        transactional_id=uuid.uuid4().hex,
        transaction_timeout_ms=60_000,
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        yield producer
    finally:
        producer.close()


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


# -- offsets


def check_committed_offset_and_metadata_come_back(bench: Bench) -> None:
    topic = bench.topic(partitions=3)
    first, second, untouched = (Partition(topic, number) for number in range(3))
    member = bench.joined(topic)
    note = "v=1 replay_from=123 " + "ä" * 90
    assert len(note.encode()) == 200
    member.client.commit({first: Committed(7, note), second: Committed(0, "")}, ANSWER_TIMEOUT_S)
    expected = {first: Committed(7, note), second: Committed(0, ""), untouched: None}
    assert member.client.committed([first, second, untouched], ANSWER_TIMEOUT_S) == expected
    assert bench.client().committed([first, second, untouched], ANSWER_TIMEOUT_S) == expected


def check_committed_does_not_wait_for_ever_for_an_open_transaction(bench: Bench) -> None:
    partition = Partition(bench.topic(), 0)
    client = bench.client()
    with transaction(bench) as producer:
        producer.send_offsets_to_transaction(
            {TopicPartition(*partition): OffsetAndMetadata(5, "note\0", -1)}, ConsumerGroupMetadata(bench.group)
        )
        with pytest.raises(BrokerError, match=f"{partition.topic}/0"):
            client.committed([partition], 0.3)
        producer.commit_transaction()
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(5, "note")}


def check_committed_of_many_partitions_comes_in_one_answer(bench: Bench) -> None:
    topic = bench.topic(partitions=50)
    everything = [Partition(topic, number) for number in range(50)]
    member = bench.joined(topic)
    expected = {partition: Committed(partition.number, f"note {partition.number}") for partition in everything}
    member.client.commit(expected, ANSWER_TIMEOUT_S)
    assert bench.client().committed(everything, ANSWER_TIMEOUT_S) == expected
    assert member.client.committed([], ANSWER_TIMEOUT_S) == {}


def check_end_offsets_are_the_ends_of_the_ranges(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    partitions = [Partition(topic, 0), Partition(topic, 1)]
    client = bench.client()
    for number in range(20):
        publish(client, topic, b"", key=b"%d" % number)
    with transaction(bench) as producer:
        producer.send(topic, b"open", partition=0).get(timeout=ANSWER_TIMEOUT_S)
        held = client.offset_range(partitions, ANSWER_TIMEOUT_S)
        ends = client.end_offsets(partitions, ANSWER_TIMEOUT_S)
        producer.abort_transaction()
    assert ends == {partition: held[partition].end for partition in partitions}
    assert sum(ends.values()) == 20, "nothing of an open transaction"
    assert client.end_offsets([], ANSWER_TIMEOUT_S) == {}


def check_offset_range_ends_before_an_open_transaction(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    client = bench.client()
    publish(client, topic, b"one", b"two")
    with transaction(bench) as producer:
        producer.send(topic, b"open").get(timeout=ANSWER_TIMEOUT_S)
        assert client.offset_range([partition], ANSWER_TIMEOUT_S) == {partition: OffsetRange(0, 2)}
        producer.commit_transaction()
    committed = {partition: OffsetRange(0, 4)}  # with the marker, which the broker writes after it has answered
    until(lambda: client.offset_range([partition], ANSWER_TIMEOUT_S) == committed)


def check_records_of_an_aborted_transaction_stay_invisible(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, b"before")
    with transaction(bench) as producer:
        producer.send(topic, b"aborted").get(timeout=ANSWER_TIMEOUT_S)
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send(topic, b"committed").get(timeout=ANSWER_TIMEOUT_S)
        producer.commit_transaction()
    publish(member.client, topic, b"after")
    until(lambda: member.records and member.records[-1].value == b"after", member)
    assert [record.value for record in member.records] == [b"before", b"committed", b"after"]


def check_offsets_for_time(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    client = bench.client()
    producer = kafka.KafkaProducer(bootstrap_servers=bench.broker.bootstrap_servers)
    for timestamp_ms in (1_000, 2_000, 3_000):
        producer.send(topic, b"", partition=0, timestamp_ms=timestamp_ms).get(timeout=ANSWER_TIMEOUT_S)
    producer.close()
    both = [Partition(topic, 0), Partition(topic, 1)]
    assert client.offsets_for_time(both, 1_500, ANSWER_TIMEOUT_S) == {both[0]: 1, both[1]: None}
    assert client.offsets_for_time(both, 3_001, ANSWER_TIMEOUT_S) == {both[0]: None, both[1]: None}


def check_partitions_of_a_topic(bench: Bench) -> None:
    client = bench.client()
    assert client.partitions_of(bench.topic(partitions=3), ANSWER_TIMEOUT_S) == {0, 1, 2}
    assert client.partitions_of("no-such-topic", ANSWER_TIMEOUT_S) == frozenset()
    assert "no-such-topic" not in bench.broker.topics()


def check_position_deleted_by_retention_is_an_error_that_names_it(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, *(b"%d" % number for number in range(10)))
    with bench.broker.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 6})
    member.client.seek(Partition(topic, 0), 2)
    with pytest.raises(OffsetOutOfRangeError, match=f"{topic}/0 holds offsets 6 to 10, not 2"):
        until(lambda: False, member)
    assert not [record for record in member.records if record.offset >= 6]
    member.client.seek(Partition(topic, 0), 6)
    until(lambda: member.records and member.records[-1].offset == 9, member)


# -- the group


def check_second_member_takes_over_half_where_the_first_stopped(bench: Bench) -> None:
    topic = bench.topic(partitions=4)
    everything = {Partition(topic, number) for number in range(4)}
    first = bench.joined(topic)
    assert first.client.assignment() == everything
    for number in range(40):
        publish(first.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: len(first.records) == 40, first)

    second = bench.member(topic)
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 2, first, second)
    assert first.client.assignment() | second.client.assignment() == everything
    (moved,) = (partitions for what, partitions in first.events if what == "revoked")
    assert moved == second.client.assignment()
    assert first.events[0] == ("assigned", frozenset(everything))
    assert [what for what, _ in second.events] == ["assigned"]
    for number in range(40, 80):
        publish(first.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: len(first.records) + len(second.records) >= 80, first, second)
    values = sorted(int(record.value or b"") for record in first.records + second.records)
    assert values == list(range(80))  # what was committed while being revoked counted: nothing twice, nothing missing

    bench.close(second.client)
    assert second.events[-1] == ("revoked", moved)


def check_commit_of_what_was_given_away_is_refused(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    first = bench.joined(topic)
    second = bench.member(topic)
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 1, first, second)
    (gone,) = second.client.assignment()
    with pytest.raises(OwnershipLostError, match=f"{gone.topic}/{gone.number}"):
        first.client.commit({gone: Committed(1, "")}, ANSWER_TIMEOUT_S)
    assert second.client.committed([gone], ANSWER_TIMEOUT_S)[gone] != Committed(1, "")


def check_member_that_was_removed_loses_its_partitions(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    member = bench.joined(topic, instance_id="removed")
    publish(member.client, topic, b"one")
    until(lambda: member.records, member)
    with bench.broker.admin() as admin:
        admin.remove_group_members(bench.group, [MemberToRemove(group_instance_id="removed")])
    with pytest.raises(OwnershipLostError):
        member.client.commit({partition: Committed(1, "")}, ANSWER_TIMEOUT_S)
    until(lambda: [what for what, _ in member.events] == ["assigned", "lost", "assigned"], member)
    assert member.client.committed([partition], ANSWER_TIMEOUT_S) == {partition: None}
    until(lambda: len(member.records) == 2, member)  # nothing was committed: read again


def check_second_process_under_the_same_name_fences_the_first(bench: Bench) -> None:
    topic = bench.topic()
    first = bench.joined(topic, instance_id="same")
    second = bench.joined(topic, instance_id="same")
    with pytest.raises(OwnershipLostError):
        first.client.commit({Partition(topic, 0): Committed(1, "")}, ANSWER_TIMEOUT_S)
    with pytest.raises(BrokerError, match="same"):
        until(lambda: False, first)
    second.commit([Partition(topic, 0)])


def check_restarted_member_gets_its_partitions_back_alone(bench: Bench) -> None:
    topic = bench.topic(partitions=4)
    stays = bench.joined(topic, instance_id="stays")
    goes = bench.member(topic, instance_id="goes")
    until(lambda: len(stays.client.assignment()) == len(goes.client.assignment()) == 2, stays, goes)
    until(lambda: not stays.poll(), stays, goes)
    owned, heard = goes.client.assignment(), len(stays.events)
    bench.close(goes.client)
    again = bench.member(topic, instance_id="goes")
    until(lambda: again.client.assignment(), stays, again)
    assert again.client.assignment() == owned
    assert len(stays.events) == heard


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
    os.kill(bench.broker.pid, signal.SIGSTOP)
    try:
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
    finally:
        os.kill(bench.broker.pid, signal.SIGCONT)
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


CHECKS: dict[str, Callable[[Bench], None]] = {
    name.removeprefix("check_"): check for name, check in sorted(globals().items()) if name.startswith("check_")
}


def check_client(name: str, broker: Broker, topic: Callable[..., str], check: str) -> None:
    """Run one of `CHECKS` on the client registered as `name`."""
    assert name in CLIENTS
    bench = Bench(name, broker, topic)
    try:
        CHECKS[check](bench)
    finally:
        bench.close_all()
