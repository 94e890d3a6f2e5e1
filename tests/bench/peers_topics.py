"""The topics of the comparison: filled beforehand, watched while a system runs, read by none of the systems after.

The broker stamps forecasts itself (LogAppendTime), so that the time of an answer is the same clock's for every system
and says when it was there for others, not when it was computed.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
from bench import peers_ticks
from bench.peers_results import Answers
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tickcast.broker import Broker

INPUT = "ticks"
APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
QUEUED_MAX = 100_000
READ_BATCH = 10_000
TIMEOUT_S = 30.0
LOG_ERRORS = 3  # syslog's number
LOOK_INTERVAL_S = 0.05
UNHEARD_OF = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
)


class Answer(msgspec.Struct):
    """What is read of any system's forecast. The sketch's has no time, and calls the values `y`."""

    symbol: str
    event_time_ns: int = -1
    forecast: list[float] | None = None
    y: list[float] | None = None


class Topics:
    """One broker's topics."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._settings = {"bootstrap.servers": broker.bootstrap_servers}
        self._consumer = Consumer(
            {
                **self._settings,
                "group.id": "reader",
                "enable.auto.commit": False,
                "log_level": LOG_ERRORS,  # topics that are deleted are a notice to it
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def fill(self, count: int) -> None:
        """Make the input topic and put `count` ticks into it."""
        self._broker.create_topic(INPUT, peers_ticks.PARTITIONS)
        producer = Producer({**self._settings, "linger.ms": 20, "queue.buffering.max.messages": QUEUED_MAX})
        encode = msgspec.json.Encoder().encode
        for number, tick in enumerate(peers_ticks.ticks(count)):
            producer.produce(INPUT, encode(tick), tick.symbol.encode(), peers_ticks.partition_of(number))
            if number % (QUEUED_MAX // 2) == 0:
                producer.flush(TIMEOUT_S)
        if left := producer.flush(TIMEOUT_S):
            raise TimeoutError(f"{left} ticks not written within {TIMEOUT_S:.0f} s")

    def make_output(self, name: str) -> None:
        """A topic for one run's forecasts."""
        self._broker.create_topic(name, peers_ticks.PARTITIONS, APPEND_TIME)
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self._is_known(name):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{name}: no leader within {TIMEOUT_S:.0f} s")
            time.sleep(LOOK_INTERVAL_S)

    def delete(self, names: Sequence[str]) -> None:
        """Give their memory back before the next run."""
        with self._broker.admin() as admin:
            admin.delete_topics(list(names))

    def answered(self, name: str) -> int:
        """How many forecasts are in the topic."""
        return sum(end for _, end in self._bounds(name).values())

    def read(self, name: str) -> Answers:
        """Every forecast in the topic."""
        bounds = self._bounds(name)
        self._consumer.assign([TopicPartition(name, partition, 0) for partition in bounds])
        left = sum(end for _, end in bounds.values())
        decode = msgspec.json.Decoder(Answer).decode
        stamps_ms, answers = [], []
        while left:
            messages = self._consumer.consume(min(READ_BATCH, left), 1.0)
            if not messages:
                raise TimeoutError(f"{name}: {left} forecasts cannot be read")
            left -= len(messages)
            for message in messages:
                stamps_ms.append(message.timestamp()[1])
                answers.append(decode(message.value() or b""))
        self._consumer.unassign()
        return Answers(
            stamps_ms=np.array(stamps_ms, np.int64),
            symbols=[answer.symbol for answer in answers],
            event_time_ns=np.array([answer.event_time_ns for answer in answers], np.int64),
            forecasts=np.array([answer.forecast or answer.y for answer in answers], np.float64),
        )

    def _is_known(self, name: str) -> bool:
        """Whether our client has heard of the topic, which takes a moment after it was made."""
        try:
            self._bounds(name)
        except KafkaException as error:
            if error.args[0].code() not in UNHEARD_OF:
                raise
            return False
        return True

    def _bounds(self, name: str) -> dict[int, tuple[int, int]]:
        partitions = range(peers_ticks.PARTITIONS)
        return {p: self._consumer.get_watermark_offsets(TopicPartition(name, p), TIMEOUT_S) for p in partitions}
