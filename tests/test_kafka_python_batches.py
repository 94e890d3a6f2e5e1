"""Batches of kafka-python as we fill them: what a broker makes of them, and who hears of what."""

import uuid
from collections.abc import Iterator

import pytest
from kafka import errors
from kafka.record import MemoryRecords
from kafka.structs import TopicPartition
from tickcast.broker import Broker
from tickcast.clients import Headers, OffsetRange, OnDelivery, Partition, Record
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, DeliveryError
from tickcast.kafka_python_batches import Accumulator, Batch
from tickcast.kafka_python_producer import Producer
from tickcast.topic_reader import TopicReader

PLACE = TopicPartition("topic", 3)
TIMEOUT_S = 30.0
# Keys, values and headers whose lengths take one byte and more, and those that are not there.
RECORDS: list[tuple[bytes | None, bytes | None, Headers]] = [
    (b"key", b"value", [("source-topic", b"ticks"), ("source-offset", b"17")]),
    (None, b"", []),
    (b"k" * 64, None, [("\u00e9\u6f22", b"")]),
    (b"", b"v" * 20_000, [("name", b"x" * 300)] * 70),
]


class Heard:
    """Notes what each record's callback hears, in order."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.of: list[tuple[int, BaseException | None]] = []

    def callback(self, number: int) -> OnDelivery:
        return lambda error: self.of.append((number, error))

    def answered(self, topic: str, told: list[OnDelivery], found: list[BaseException | None]) -> None:
        self.topics.append(topic)
        for on_delivery, error in zip(told, found, strict=True):
            on_delivery(error)  # type: ignore[arg-type]


def filled(heard: Heard, bytes_max: int = 65_536) -> Batch:
    batch = Batch(PLACE, bytes_max, heard.answered)
    for number, record in enumerate(RECORDS):
        assert batch.hand(*record, heard.callback(number))
    return batch


@pytest.fixture
def config(broker: Broker) -> KafkaConfig:
    name = f"batches-{uuid.uuid4().hex}"
    broker.create_topic(name, 3, {"max.message.bytes": "1000"})
    return KafkaConfig(
        bootstrap_servers=broker.bootstrap_servers,
        group_id=name,
        input_topics=("unused",),
        output_topic=name,
        dead_letter_topic="unused",
    )


@pytest.fixture
def producer(config: KafkaConfig) -> Iterator[Producer]:
    made = Producer(config, "batches")
    yield made
    made.close(0.0, TIMEOUT_S)


def held(config: KafkaConfig) -> dict[int, list[Record]]:
    with TopicReader(config) as reader:
        ranges: dict[Partition, OffsetRange] = reader.held(reader.partitions(config.output_topic))
        found: dict[int, list[Record]] = {partition.number: [] for partition in ranges}
        for record in reader.read(ranges):
            found[record.partition.number].append(record)
    return found


def test_what_is_written_is_what_the_library_reads() -> None:
    batch = filled(Heard())
    batch.records.close()
    (read,) = MemoryRecords(batch.records.buffer())
    assert read.validate_crc()
    records = list(read)
    assert [(r.key, r.value, r.headers) for r in records] == RECORDS
    assert [r.offset for r in records] == [0, 1, 2, 3]
    assert batch.record_count == 4
    assert records[0].timestamp == read.first_timestamp
    assert records[-1].timestamp == read.max_timestamp


def test_a_batch_has_room_for_what_fits_and_always_for_one() -> None:
    heard = Heard()
    batch = Batch(PLACE, 300, heard.answered)
    assert batch.hand(None, b"x" * 1_000, [], heard.callback(0))
    assert not batch.hand(None, b"x", [], heard.callback(1))
    batch = Batch(PLACE, 300, heard.answered)
    assert batch.hand(None, b"x" * 100, [], heard.callback(0))
    assert batch.hand(None, b"x" * 100, [], heard.callback(1))
    assert not batch.hand(None, b"x" * 100, [], heard.callback(2))
    assert batch.record_count == 2
    batch.records.close()
    assert not batch.hand(None, b"", [], heard.callback(3))
    assert batch.complete(0, -1)
    assert heard.of == [(0, None), (1, None)]


def test_each_record_of_a_batch_hears_its_own_error() -> None:
    heard = Heard()
    batch = filled(heard)
    error, worse = errors.InvalidTimestampError(), errors.UnknownError()
    batch.complete_exceptionally(worse, lambda index: error if index == 2 else worse)
    assert heard.of == [(0, worse), (1, worse), (2, error), (3, worse)]
    assert heard.topics == [PLACE.topic]


def test_records_are_heard_of_even_where_the_library_cannot_say_what_became_of_them() -> None:
    def cannot_say(index: int) -> BaseException:
        raise AttributeError("description")

    heard = Heard()
    filled(heard).complete_exceptionally(errors.UnknownError(), cannot_say)
    assert [(number, type(error)) for number, error in heard.of] == [(n, errors.UnknownError) for n in range(4)]

    parted = filled(heard)
    parted.part()
    for part in parted._record_futures:
        other = Batch(PLACE, 65_536, heard.answered)
        part.rebind(other.produce_future, 0)
        other.complete_exceptionally(errors.UnknownError(), cannot_say)
    assert len(heard.of) == 8


@pytest.mark.parametrize(
    ("error", "heard_of"),
    [
        (errors.MessageSizeTooLargeError(), errors.TransactionAbortedError),
        (errors.TopicAuthorizationFailedError(), errors.TopicAuthorizationFailedError),
    ],
)
def test_records_of_an_aborted_transaction_do_not_bear_the_blame_for_another(
    error: errors.KafkaError, heard_of: type[errors.KafkaError]
) -> None:
    heard = Heard()
    accumulator = Accumulator()
    assert accumulator.hand(PLACE, None, b"", [], heard.callback(0), heard.answered)
    accumulator.abort_undrained_batches(error)
    assert [(number, type(found)) for number, found in heard.of] == [(0, heard_of)]
    assert not accumulator.has_incomplete


def test_batch_that_is_given_up_tells_every_record() -> None:
    heard = Heard()
    error = errors.KafkaTimeoutError()
    filled(heard).abort(error)
    assert heard.of == [(number, error) for number in range(4)]


def test_batch_that_is_too_large_is_split_until_each_part_fits_and_each_record_is_heard_of_once(
    producer: Producer, config: KafkaConfig
) -> None:
    heard: dict[int, list[BrokerError | None]] = {number: [] for number in range(60)}
    for number, answers in heard.items():
        producer.send(config.output_topic, b"%d:" % number + b"x" * 90, b"key", [], answers.append)
    assert producer.flush(TIMEOUT_S)
    assert set(map(tuple, heard.values())) == {(None,)}
    (records,) = filter(None, held(config).values())
    assert sorted(int((record.value or b"").split(b":")[0]) for record in records) == list(heard)


def test_record_that_the_topic_does_not_take_is_heard_of_once(producer: Producer, config: KafkaConfig) -> None:
    heard: list[BrokerError | None] = []
    producer.send(config.output_topic, b"x" * 2_000, b"key", [], heard.append)
    assert producer.flush(TIMEOUT_S)
    (failure,) = heard
    assert isinstance(failure, DeliveryError)
    assert config.output_topic in str(failure)


def test_keys_are_placed_as_the_library_places_them(producer: Producer, config: KafkaConfig) -> None:
    keys = [b"", b"a", b"SIM-3", b"\xff" * 40]
    for key in keys:
        producer.send(config.output_topic, b"ours", key, [], lambda error: None)
        producer._producer.send(config.output_topic, b"the library's", key)
    assert producer.flush(TIMEOUT_S)
    producer._producer.flush(TIMEOUT_S)
    homes = {(number, r.key, r.value) for number, records in held(config).items() for r in records}
    assert len(homes) == 2 * len(keys)
    assert len({(number, key) for number, key, _ in homes}) == len(keys)


def test_record_that_no_request_could_hold_is_refused_at_once(producer: Producer, config: KafkaConfig) -> None:
    heard: list[BrokerError | None] = []
    with pytest.raises(BrokerError, match="refused"):
        producer.send(config.output_topic, b"x" * 2_000_000, None, [], heard.append)
    many = [("name", b"x" * 300_000)] * 5
    with pytest.raises(BrokerError, match="refused"):
        producer.send(config.output_topic, b"", None, many, heard.append)
    assert producer.flush(TIMEOUT_S)
    assert heard == []
