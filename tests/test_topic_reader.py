"""Topics read without a group: several in turn, and what is in them does not matter."""

from collections.abc import Callable, Iterator
from random import Random

import kafka
import pytest
from client_bench import Bench, Unreadable, others_producer, publish
from tickcast import topic_reader
from tickcast.broker import HOST, Broker
from tickcast.clients import OffsetRange, Partition
from tickcast.errors import BrokerError
from tickcast.topic_reader import TopicReader

# More than are taken at once, so that of what a fetch brought something is left again and again.
PARTITIONS, RECORDS, READS = 4, 400, 4


@pytest.fixture
def bench(broker: Broker, topic: Callable[..., str]) -> Iterator[Bench]:
    bench = Bench("kafka-python", broker, topic)
    yield bench
    bench.close_all()


def test_one_reader_goes_from_topic_to_topic(bench: Bench) -> None:
    first, second = Partition(bench.topic(), 0), Partition(bench.topic(), 0)
    client = bench.client()
    publish(client, first.topic, b"a", b"b")
    publish(client, second.topic, b"c")
    expected = {first: OffsetRange(0, 2), second: OffsetRange(0, 1)}
    with TopicReader(bench.config()) as reader:
        assert reader.held([first]) == {first: expected[first]}
        assert reader.held([first, second]) == expected, "one known, one not"
        for turn in ([first], [second], [second, first], []):
            ranges = {partition: expected[partition] for partition in turn}
            assert {(r.partition, r.offset) for r in reader.read(ranges)} == {
                (partition, offset) for partition, held in ranges.items() for offset in range(held.end)
            }
            assert reader.held([first, second]) == expected
            assert reader.offsets_at([first, second], 0) == {first: 0, second: 0}
            assert reader.offsets_at([first, second], 2**60) == {first: None, second: None}


def test_ranges_that_end_before_their_partitions_do_keep_none_of_the_others_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "SILENCE_MAX_S", 3.0)
    monkeypatch.setattr(topic_reader, "RECORDS_MAX", 50)
    name = bench.topic(PARTITIONS)
    with others_producer(bench) as producer:
        for number in range(PARTITIONS * RECORDS):
            producer.send(name, b"x" * 100, partition=number % PARTITIONS)
    random = Random(1)
    with TopicReader(bench.config()) as reader:
        for _ in range(READS):
            cuts = [sorted(random.sample(range(RECORDS + 1), 2)) for _ in range(PARTITIONS)]
            ranges = {Partition(name, number): OffsetRange(*cut) for number, cut in enumerate(cuts)}
            found: dict[Partition, list[int]] = {partition: [] for partition in ranges}
            for record in reader.read(ranges):
                found[record.partition].append(record.offset)
            assert found == {partition: list(range(*cut)) for partition, cut in ranges.items()}


def test_header_name_that_is_no_text_is_read_past(bench: Bench) -> None:
    partition = Partition(bench.topic(), 0)
    with others_producer(bench) as producer:
        producer.send(partition.topic, b"one", headers=[(Unreadable("source"), b"")])
        producer.send(partition.topic, b"two")
    with TopicReader(bench.config()) as reader:
        assert [record.value for record in reader.read(reader.held([partition]))] == [b"one", b"two"]


def test_absent_topic_is_a_broker_error(bench: Bench) -> None:
    with TopicReader(bench.config()) as reader, pytest.raises(BrokerError, match="absent does not exist"):
        reader.partitions("absent")


def test_absent_cluster_is_a_broker_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kafka.KafkaConsumer.DEFAULT_CONFIG, "bootstrap_timeout_ms", 300)
    with pytest.raises(BrokerError, match=f"{HOST}:1"):
        TopicReader(bench.config(bootstrap_servers=f"{HOST}:1"))
