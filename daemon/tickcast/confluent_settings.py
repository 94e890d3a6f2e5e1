"""What librdkafka's consumers and producers are told, each setting on purpose.

Stages `poll` and `produce` of the way of a tick; used by `client_confluent` and its parts.
"""

from tickcast import kafka_security
from tickcast.clients import transactional_id
from tickcast.config import KafkaConfig

Settings = dict[str, str | int | bool]

# A member that has not polled for so long gives its partitions to others: an order above the longest turn of the loop.
POLL_INTERVAL_MAX_MS = 60_000
# Heartbeats are how a member hears of a rebalance; a second is the most that adds to a takeover.
HEARTBEAT_INTERVAL_MAX_MS = 1_000
# One fetch is on its way per broker, and a partition resumed meanwhile waits for it to come back.
FETCH_WAIT_MAX_MS = 100
# librdkafka wants requests to outlast a fetch by so much.
FETCH_MARGIN_MS = 1_000
# Records fetched ahead, per partition, and the memory for all of them; the library's defaults are 100,000 and 64 MiB.
FETCHED_AHEAD_RECORDS = 20_000
FETCHED_AHEAD_KIB = 16_384
# A rebuild's end, where no record follows, is heard of after this.
READER_FETCH_WAIT_MAX_MS = 10
# One answer to a reader; the library's default of 50 MiB would be taken apart while others wait for their ticks.
READER_FETCH_BYTES = 4_194_304
# With enough fetched ahead, the time until the next look; the library's second would let a fast reader run dry.
FETCH_LOOK_INTERVAL_MS = 20
# How late new partitions of an input topic, or a topic created late, are noticed; the library's default is 5 minutes.
METADATA_AGE_MAX_MS = 30_000
# How long a record waits for its topic to appear; the library's 30 s are for those that create topics on the way.
TOPIC_WAIT_MAX_MS = 5_000
# A broker that was away is found again this soon; the library's default is 10 s.
RECONNECT_PAUSE_MAX_MS = 1_000
# A forecast alone is sent at once; what comes while a request is on its way makes up the next one. With more of them
# under way a backlog goes out in many small ones: a tenth fewer ticks a second, half as much again for the broker.
LINGER_MS = 0
REQUESTS_UNDER_WAY_MAX = 1
# What a broker takes by default. A dead letter of the longest value still fits.
RECORD_BYTES_MAX = 1_048_576
PRODUCE_BATCH_BYTES = 131_072
# The widest bounds that librdkafka allows.
SOCKET_TIMEOUT_MS = (10, 300_000)
TRANSACTION_TIMEOUT_MIN_MS = 1_000


def consumer_settings(config: KafkaConfig, instance_id: str) -> Settings:
    """Settings of `confluent_kafka.Consumer`."""
    socket_timeout_ms = max(_socket_timeout_ms(config), FETCH_WAIT_MAX_MS + FETCH_MARGIN_MS)
    return {
        **_common(config, instance_id),
        "socket.timeout.ms": socket_timeout_ms,
        "group.id": config.group_id,
        "group.instance.id": instance_id,
        # Alone: a second assignor would bring the group down to what both can do, that is, to stopping the world.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": config.session_timeout_ms,
        "heartbeat.interval.ms": max(1, min(HEARTBEAT_INTERVAL_MAX_MS, config.session_timeout_ms // 3)),
        "max.poll.interval.ms": max(POLL_INTERVAL_MAX_MS, config.session_timeout_ms),
        # Also makes committed offsets wait for the former owner's open transaction, without which a takeover doubles.
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A position that is gone is an error, never a silent jump over ticks.
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
        "enable.partition.eof": False,
        "fetch.min.bytes": 1,
        "fetch.wait.max.ms": FETCH_WAIT_MAX_MS,
        "fetch.queue.backoff.ms": FETCH_LOOK_INTERVAL_MS,
        "queued.min.messages": FETCHED_AHEAD_RECORDS,
        "queued.max.messages.kbytes": FETCHED_AHEAD_KIB,
        "check.crcs": True,
    }


def producer_settings(config: KafkaConfig, instance_id: str) -> Settings:
    """Settings of `confluent_kafka.Producer`."""
    delivery_timeout_ms = max(LINGER_MS + 1, config.delivery_timeout_ms)
    settings: Settings = {
        **_common(config, instance_id),
        "socket.timeout.ms": _socket_timeout_ms(config),
        "enable.idempotence": True,  # so acks=all, retried without doubling or changing places
        "message.timeout.ms": delivery_timeout_ms,
        "linger.ms": LINGER_MS,
        "max.in.flight.requests.per.connection": REQUESTS_UNDER_WAY_MAX,
        "batch.size": min(PRODUCE_BATCH_BYTES, config.batch_bytes_max),
        "compression.type": config.compression,
        "message.max.bytes": RECORD_BYTES_MAX,
        # As Java's and kafka-python's clients do it, so that a key stays where it is whoever sends.
        "partitioner": "murmur2_random",
        # The caller bounds what is outstanding, and sends at most what one poll gave rise to beyond that.
        "queue.buffering.max.messages": config.outstanding_max + config.poll_records_max,
        "topic.metadata.propagation.max.ms": TOPIC_WAIT_MAX_MS,
    }
    if config.delivery == "at_least_once":
        return settings
    transaction = _transaction(config, transactional_id(config, instance_id))
    # What its transaction does not live to see need not be tried any more; librdkafka insists on it.
    longest_ms = int(transaction["transaction.timeout.ms"])
    return {**settings, **transaction, "message.timeout.ms": min(delivery_timeout_ms, longest_ms)}


def fence_settings(config: KafkaConfig, transactional_id: str) -> Settings:
    """Settings of a `confluent_kafka.Producer` that sends nothing: it takes a former owner's name away."""
    return {**_common(config, "fence"), **_transaction(config, transactional_id)}


def reader_settings(config: KafkaConfig, instance_id: str) -> Settings:
    """Settings of a `confluent_kafka.Consumer` that reads back what is answered already, and never joins the group."""
    return {
        **_common(config, instance_id),
        "socket.timeout.ms": max(_socket_timeout_ms(config), FETCH_WAIT_MAX_MS + FETCH_MARGIN_MS),
        "group.id": config.group_id,  # which the library insists on
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
        # By it the end is seen where nothing but markers, aborted records or holes lie before it.
        "enable.partition.eof": True,
        "fetch.min.bytes": 1,
        "fetch.wait.max.ms": READER_FETCH_WAIT_MAX_MS,
        "fetch.queue.backoff.ms": FETCH_LOOK_INTERVAL_MS,
        "fetch.max.bytes": READER_FETCH_BYTES,
        "queued.min.messages": FETCHED_AHEAD_RECORDS,
        "queued.max.messages.kbytes": FETCHED_AHEAD_KIB,
        "check.crcs": True,
    }


def onlooker_settings(config: KafkaConfig, instance_id: str) -> Settings:
    """Settings of a `confluent_kafka.Consumer` that asks for what the group has committed, and never joins it."""
    return {
        **_common(config, instance_id),
        "socket.timeout.ms": _socket_timeout_ms(config),
        "group.id": config.group_id,
        "isolation.level": "read_uncommitted",
        "enable.auto.commit": False,
    }


def _common(config: KafkaConfig, instance_id: str) -> Settings:
    return {
        "bootstrap.servers": config.bootstrap_servers,
        "client.id": f"tickcast-{instance_id}",
        "reconnect.backoff.max.ms": RECONNECT_PAUSE_MAX_MS,
        "topic.metadata.refresh.interval.ms": METADATA_AGE_MAX_MS,
        "socket.nagle.disable": True,
        "log.connection.close": False,  # idle connections are closed by brokers as a matter of course
        **kafka_security.for_librdkafka(config.security),
    }


def _transaction(config: KafkaConfig, transactional_id: str) -> Settings:
    timeout_ms = max(config.transaction_timeout_ms, TRANSACTION_TIMEOUT_MIN_MS)
    return {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": timeout_ms,
        "message.timeout.ms": timeout_ms,
        "socket.timeout.ms": min(_socket_timeout_ms(config), timeout_ms),  # no request outlives its transaction
        # Else a broker that was away becomes another one, and offsets for ever wait for the group's coordinator of old.
        "metadata.recovery.strategy": "none",
    }


def _socket_timeout_ms(config: KafkaConfig) -> int:
    least, most = SOCKET_TIMEOUT_MS
    return min(max(config.request_timeout_ms, least), most)
