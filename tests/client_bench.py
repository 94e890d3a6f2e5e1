"""The means of the clients' conformance suite: topics, clients and groups of one test, on a real broker.

Members of a group are polled in turn, on one thread, as each would be in its own process.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import kafka
from tickcast.broker import Broker
from tickcast.clients import Client, Committed, Partition, Record, connect
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError

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
        self.kafka: dict[str, object] = {}  # settings that differ from the defaults, of every client made from now on
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
                **self.kafka,
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
def transaction(bench: Bench, transactional_id: str = "") -> Iterator[kafka.KafkaProducer]:
    """A transactional producer, not one of ours, with a transaction begun; the check ends it."""
    producer = kafka.KafkaProducer(
        bootstrap_servers=bench.broker.bootstrap_servers,
        transactional_id=transactional_id or uuid.uuid4().hex,
        transaction_timeout_ms=60_000,
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        yield producer
    finally:
        producer.close()
