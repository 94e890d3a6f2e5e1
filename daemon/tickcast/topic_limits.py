"""How long a record the topics that the daemon writes to take: asked once, before anything is sent there.

Before every stage of the way of a tick. A broker measures batches, and refuses for good what it calls too long: no
batch may be longer than its topic takes, and no dead letter either.
"""

from tickcast import kafka_greeting, log, records
from tickcast.cluster import Cluster
from tickcast.config import KafkaConfig
from tickcast.errors import ConfigurationError

# What a broker takes unless it is told otherwise, by Kafka's own default.
BATCH_BYTES_DEFAULT = 1_048_588


def applied(config: KafkaConfig, state_topic: str | None = None) -> KafkaConfig:
    """`config` with a `batch_bytes_max` that its output and dead-letter topics take, and that of its live state.

    Where we are not told what one takes, that is taken for the default, and the log says so. Raises ConfigurationError
    where one takes too little for a dead letter, RefusedError where the cluster does not let us in, BrokerError without
    an answer.
    """
    kafka_greeting.greet(config)
    topics = [config.output_topic, config.dead_letter_topic, *([state_topic] if state_topic else ())]
    told = Cluster(config.bootstrap_servers, config.security).batch_bytes_max(topics)
    if unknown := sorted(topic for topic, taken in told.items() if taken is None):
        log.get("topic_limits").warning("not told how long records may be", topics=unknown, taken=BATCH_BYTES_DEFAULT)
    limits = {topic: BATCH_BYTES_DEFAULT if taken is None else taken for topic, taken in told.items()}
    needed = records.topic_bytes_min()
    small = [
        f"{topic} takes {taken} bytes" for topic, taken in limits.items() if taken < needed and topic != state_topic
    ]
    if small:
        raise ConfigurationError(
            f"kafka: {', '.join(small)} at most (max.message.bytes), and one record may need {needed}"
        )
    return config.model_copy(update={"batch_bytes_max": min(config.batch_bytes_max, *limits.values())})
