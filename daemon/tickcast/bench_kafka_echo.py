"""The bare echo of `tickcast bench kafka`: consumes a topic and produces the same bytes, and does nothing else.

What the daemon's way of a tick is compared with: the client library by itself, with the settings the daemon gives it.
Run as a program, `bench_kafka_echo CONFIG` with a daemon's configuration: copies from its input topic to its output
topic whatever comes after it has written `ready` to standard output, until SIGTERM.
"""

import importlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tickcast import config as configuration
from tickcast import confluent_settings, kafka_python_settings
from tickcast.bench_kafka_reader import READY
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError

INSTANCE = "echo"
TIMEOUT_S = 10.0


def confluent_kafka(config: KafkaConfig, is_stopping: Callable[[], object]) -> None:
    """With confluent-kafka."""
    library = importlib.import_module("confluent_kafka")
    consumer = library.Consumer(confluent_settings.consumer_settings(config, INSTANCE))
    producer = library.Producer(confluent_settings.producer_settings(config, INSTANCE))
    (topic,) = config.input_topics
    found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
    places = [library.TopicPartition(topic, number) for number in found]
    for place in places:
        _, place.offset = consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
    consumer.assign(places)
    _say_ready()
    wait_s, more = config.poll_timeout_ms / 1_000, config.poll_records_max - 1
    output = config.output_topic
    while not is_stopping():
        first = consumer.poll(wait_s)
        producer.poll(0)
        if first is None:
            continue
        for message in [first, *consumer.consume(more, 0)]:
            if message.error() is not None:
                raise BrokerError(f"echo: {message.error().str()}")
            producer.produce(output, message.value(), message.key())
    producer.flush(TIMEOUT_S)
    consumer.close()


def kafka_python(config: KafkaConfig, is_stopping: Callable[[], object]) -> None:
    """With kafka-python."""
    library = importlib.import_module("kafka")
    opened = kafka_python_settings.opened
    consumer = opened(library.KafkaConsumer, kafka_python_settings.consumer_settings(config, INSTANCE))
    producer = opened(library.KafkaProducer, kafka_python_settings.producer_settings(config, INSTANCE))
    (topic,) = config.input_topics
    places = [library.TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(places)
    for place, end in consumer.end_offsets(places).items():
        consumer.seek(place, end)
    _say_ready()
    output = config.output_topic
    while not is_stopping():
        polled: dict[Any, Sequence[Any]] = consumer.poll(config.poll_timeout_ms, config.poll_records_max)
        for records in polled.values():
            for record in records:
                producer.send(output, record.value, record.key)
    producer.flush(TIMEOUT_S)
    producer.close()
    consumer.close(autocommit=False)


# `kafka.client` -> the loop.
ECHOES: dict[str, Callable[[KafkaConfig, Callable[[], object]], None]] = {
    "kafka-python": kafka_python,
    "confluent-kafka": confluent_kafka,
}


def _say_ready() -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()


def main(path: Path) -> None:
    """Echo until SIGTERM. Raises BrokerError, ConfigurationError."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    config = configuration.load(path, {}).kafka
    ECHOES[config.client](config, lambda: stopping)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
