"""How long a record the topics that the daemon writes to take: asked once, before anything is sent there.

Before every stage of the way of a tick. A broker measures batches, and refuses for good what it calls too long: no
batch may be longer than its topic takes, and no dead letter either.
"""

from typing import NamedTuple

from tickcast import kafka_greeting, log, records
from tickcast.cluster import Cluster
from tickcast.config import KafkaConfig
from tickcast.errors import ConfigurationError

# What a broker takes unless it is told otherwise, by Kafka's own default.
BATCH_BYTES_DEFAULT = 1_048_588


class TopicLimits(NamedTuple):
    """What the daemon's own topics take, in bytes."""

    letter_bytes_max: int  # key, value and headers of a dead letter
    batch_bytes_max: int  # records sent together


def ask(config: KafkaConfig) -> TopicLimits:
    """The limits of `config`'s topics; where we are not told one it is taken for the default, and the log says so.

    Raises ConfigurationError where the dead-letter topic takes too little for a letter, RefusedError where the cluster
    does not let us in, BrokerError without an answer.
    """
    kafka_greeting.greet(config)
    told = Cluster(config.bootstrap_servers, config.security).batch_bytes_max(
        (config.output_topic, config.dead_letter_topic)
    )
    if unknown := sorted(topic for topic, taken in told.items() if taken is None):
        log.get("topic_limits").warning("not told how long records may be", topics=unknown, taken=BATCH_BYTES_DEFAULT)
    limits = {topic: BATCH_BYTES_DEFAULT if taken is None else taken for topic, taken in told.items()}
    taken = limits[config.dead_letter_topic]
    if taken < (needed := records.topic_bytes_min()):
        raise ConfigurationError(
            f"kafka.dead_letter_topic: {config.dead_letter_topic} takes {taken} bytes at most (max.message.bytes), "
            f"and a dead letter may need {needed}"
        )
    return TopicLimits(records.dead_letter_limit(taken), min(limits.values()))
