"""What every Kafka client's reader must do, which reads back what windows are rebuilt from. Run by `check_client`."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from client_bench import ANSWER_TIMEOUT_S, UNTIL_TIMEOUT_S, Bench, others_producer, publish, transaction
from daemons import halted
from kafka.structs import TopicPartition
from tickcast.broker import HOST
from tickcast.clients import Partition, Reader, Record, reader_of
from tickcast.errors import BrokerError, OffsetOutOfRangeError

POLL_TIMEOUT_S = 0.05

# -- the means


class Reading:
    """A reader, and what it has read."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.records: list[Record] = []

    def poll(self, records_max: int = 1_000) -> list[Record]:
        polled = self.reader.poll(POLL_TIMEOUT_S, records_max)
        self.records += polled
        return polled

    def until(self, condition: Callable[[], object], records_max: int = 1_000) -> None:
        deadline_s = time.monotonic() + UNTIL_TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"not within {UNTIL_TIMEOUT_S} s; {len(self.records)} records"
            self.poll(records_max)

    def until_reached(self, partition: Partition, offset: int) -> None:
        self.until(lambda: self.reader.reached(partition) >= offset)
        assert self.reader.reached(partition) == offset

    def offsets(self, partition: Partition) -> list[int]:
        return [record.offset for record in self.records if record.partition == partition]


@contextmanager
def reading(bench: Bench, bootstrap_servers: str = "", request_timeout_ms: int = 30_000) -> Iterator[Reading]:
    config = bench.config(bootstrap_servers=bootstrap_servers, request_timeout_ms=request_timeout_ms)
    reader = reader_of(config, "reader")
    try:
        yield Reading(reader)
    finally:
        reader.close()


def numbers(first: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, end)]


# -- reading


def check_reader_reads_from_where_it_is_told_to_the_end_and_on(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    first, second = Partition(topic, 0), Partition(topic, 1)
    with others_producer(bench) as producer:
        for number in range(20):
            producer.send(topic, b"%d" % number, key=b"key", partition=number % 2, timestamp_ms=1_000 + number)
    with reading(bench) as found:
        found.reader.assign(first, 4)
        found.until_reached(first, 10)
        assert [int(record.value or b"") for record in found.records] == [8, 10, 12, 14, 16, 18]
        assert found.records[0].partition == first
        assert (found.records[0].key, found.records[0].timestamp_ms) == (b"key", 1_008)
        found.reader.assign(second, 9)
        found.until_reached(second, 10)
        with others_producer(bench) as producer:
            producer.send(topic, b"more", partition=0)
        found.until_reached(first, 11)
        assert found.offsets(first) == list(range(4, 11))
        assert found.offsets(second) == [9]


def check_reader_polls_no_more_than_asked_for(bench: Bench) -> None:
    topic = bench.topic()
    publish(bench.client(), topic, *numbers(0, 40))
    with reading(bench) as found:
        found.reader.assign(Partition(topic, 0), 0)
        sizes = []
        while sum(sizes) < 40:
            sizes.append(len(found.poll(records_max=7)))
            assert found.reader.reached(Partition(topic, 0)) == sum(sizes)
        assert max(sizes) <= 7


def check_reader_assigned_anew_reads_from_there(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    publish(bench.client(), topic, *numbers(0, 20))
    with reading(bench) as found:
        for offset in (10, 0, 15):
            found.records.clear()
            found.reader.assign(partition, offset)
            found.until(lambda: found.records, records_max=3)  # the rest waits inside the client
            found.until_reached(partition, 20)
            assert found.offsets(partition) == list(range(offset, 20))


def check_reader_reads_no_more_of_what_is_dropped(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    dropped, kept = Partition(topic, 0), Partition(topic, 1)
    with others_producer(bench) as producer:
        for number in range(40):
            producer.send(topic, b"%d" % number, partition=number % 2)
    with reading(bench) as found:
        found.reader.assign(dropped, 0)
        found.reader.assign(kept, 0)
        found.until(lambda: found.records, records_max=1)
        found.reader.drop(dropped)
        before = len(found.offsets(dropped))
        found.until_reached(kept, 20)
        assert len(found.offsets(dropped)) == before
        found.reader.drop(kept)
        assert found.poll() == []
        found.reader.assign(dropped, 18)
        found.until_reached(dropped, 20)
        assert found.offsets(dropped)[before:] == [18, 19]


def check_reader_reaches_the_end_over_markers_and_aborted_records(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    client = bench.client()
    publish(client, topic, *numbers(0, 3))
    with transaction(bench) as producer:
        for value in (b"aborted", b"too"):
            producer.send(topic, value).get(timeout=ANSWER_TIMEOUT_S)
        producer.abort_transaction()
    end = client.offset_range([partition], ANSWER_TIMEOUT_S)[partition].end
    with reading(bench) as found:
        found.reader.assign(partition, 0)
        found.until_reached(partition, end)
        assert found.offsets(partition) == [0, 1, 2]
        found.reader.assign(partition, 3)  # nothing but what is aborted
        found.until_reached(partition, end)
        assert found.offsets(partition) == [0, 1, 2]


def check_reader_stops_before_an_open_transaction(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    publish(bench.client(), topic, *numbers(0, 3))
    with reading(bench) as found, transaction(bench) as producer:
        producer.send(topic, b"later").get(timeout=ANSWER_TIMEOUT_S)
        found.reader.assign(partition, 0)
        found.until_reached(partition, 3)
        found.poll()
        assert found.reader.reached(partition) == 3
        producer.commit_transaction()
        found.until_reached(partition, 5)
        assert found.offsets(partition) == [0, 1, 2, 3]


# -- failures


def check_reader_says_what_is_not_there_any_more_and_reads_the_rest(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    cut, whole = Partition(topic, 0), Partition(topic, 1)
    with others_producer(bench) as producer:
        for number in range(40):
            producer.send(topic, b"%d" % number, partition=number % 2)
    with bench.broker.admin() as admin:
        admin.delete_records({TopicPartition(*cut): 12})
    with reading(bench) as found:
        for offset in (3, 50):  # before what is held, and behind it
            found.reader.assign(cut, offset)
            found.reader.assign(whole, 0)
            with pytest.raises(OffsetOutOfRangeError, match=topic):
                found.until(lambda: False)
            found.until_reached(whole, 20)
        found.reader.assign(cut, 12)
        found.until_reached(cut, 20)
        assert found.offsets(cut) == list(range(12, 20))


def check_reader_does_not_wait_for_a_broker_that_is_silent(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    client = bench.client()
    publish(client, topic, *numbers(0, 3))
    with reading(bench) as found:
        found.reader.assign(partition, 0)
        found.until_reached(partition, 3)
        with halted(bench.broker.pid):
            started_s = time.monotonic()
            found.reader.assign(partition, 1)
            for _ in range(5):
                found.reader.poll(0.2, 10)
            assert time.monotonic() - started_s < 5.0, "five calls of 0.2 s each"
        found.until_reached(partition, 3)


def check_reader_of_a_cluster_that_is_not_there_is_made_at_once_and_waits(bench: Bench) -> None:
    started_s = time.monotonic()
    with reading(bench, bootstrap_servers=f"{HOST}:1", request_timeout_ms=300) as found:
        found.reader.assign(Partition("ticks", 0), 5)
        for _ in range(10):
            with contextlib.suppress(BrokerError):  # which may say so
                assert found.reader.poll(0.1, 10) == []
        assert found.reader.reached(Partition("ticks", 0)) == 5
    assert time.monotonic() - started_s < 5.0, "ten calls of 0.1 s each"
