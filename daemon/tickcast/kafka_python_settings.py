"""What kafka-python's consumer and producer are told, each setting on purpose, and how they are opened.

Stages `poll` and `produce` of the way of a tick; used by `client_kafka_python` and its parts, and by the broker.
"""

from collections.abc import Callable
from typing import Any

from kafka import codec, errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from tickcast import kafka_security
from tickcast.config import KafkaConfig
from tickcast.errors import MissingExtraError

# A member that has not polled for so long gives its partitions to others: an order above the longest turn of the loop.
POLL_INTERVAL_MAX_MS = 60_000
# Heartbeats are how a member hears of a rebalance; a second is the most that adds to a takeover.
HEARTBEAT_INTERVAL_MAX_MS = 1_000
# kafka-python has one fetch on its way per broker, and a partition that was left out of it (paused, or its last records
# still being handed out) waits for it to come back: this is the tail of the latency. Shorter costs idle requests.
FETCH_WAIT_MAX_MS = 20
# One answer to a reader, per partition: its interpreter lock is held while it is taken apart, and others wait.
READER_FETCH_BYTES = 262_144
# How late new partitions of an input topic are noticed; and a broker that was restarted: until then a fetch that finds
# no leader is silently left out, for half a minute once measured. The library's default is 5 minutes.
METADATA_AGE_MAX_MS = 5_000
# A broker that was away is found again this soon; the library's default is 30 s.
RECONNECT_PAUSE_MAX_MS = 1_000
# The longest `send` may block, which it does only for the metadata of a topic it has not sent to yet.
SEND_BLOCK_MAX_MS = 1_000
CONNECTION_IDLE_MAX_MS = 540_000
PRODUCE_BATCH_BYTES = 65_536
# kafka-python's sender sleeps so long where the cluster is still ending the transaction before: often a millisecond.
TRANSACTION_RETRY_PAUSE_MS = 20
# What unpacks records, by Kafka's name of the way they are packed; pip's name of the library. gzip is Python's own.
COMPRESSION_LIBRARIES = {"lz4": "lz4", "snappy": "python-snappy", "zstd": "zstandard"}


class ClosingSocket(KafkaNetSocket):  # type: ignore[misc]  # kafka-python has no types
    """Connects directly, and closes the socket where that fails.

    kafka-python leaves that to the garbage collector, and tries again many times while a broker is away. What it offers
    for proxies is the place to do better: it picks the class by the scheme of `proxy_url`.
    """

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, address: Any, timeout_at: float | None = None) -> Any:
        """See `KafkaNetSocket`."""
        try:
            return await super().sock_connect(net, sock, address, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise


def opened(kind: Callable[..., Any], settings: dict[str, Any]) -> Any:
    """`kind(**settings)`, one of kafka-python's clients. Raises its error where the cluster does not answer.

    Nothing stays behind then, as sockets and a thread would if kafka-python were left alone with it.
    """
    connections: list[Any] = []

    def connect(*args: Any, **kwargs: Any) -> Any:
        connections.append(KafkaNetClient(*args, **kwargs))
        return connections[-1]

    try:
        return kind(kafka_client=connect, proxy_url=f"{ClosingSocket.SCHEMES[0]}://", **settings)
    except errors.KafkaError:
        for connection in connections:
            connection._net.stop()
            connection.close()
        raise


def consumer_settings(config: KafkaConfig, instance_id: str) -> dict[str, Any]:
    """Keyword arguments of `kafka.KafkaConsumer`."""
    return {
        **_common(config, instance_id),
        "group_id": config.group_id,
        "group_instance_id": instance_id,
        # Alone: a second assignor would bring the group down to what both can do, that is, to stopping the world.
        "partition_assignment_strategy": [CooperativeStickyAssignor],
        "session_timeout_ms": config.session_timeout_ms,
        "heartbeat_interval_ms": max(1, min(HEARTBEAT_INTERVAL_MAX_MS, config.session_timeout_ms // 3)),
        "max_poll_interval_ms": max(POLL_INTERVAL_MAX_MS, config.session_timeout_ms),
        # Also makes committed offsets wait for the former owner's open transaction, without which a takeover doubles.
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        # A position that is gone is an error, never a silent jump over ticks.
        "auto_offset_reset": "none",
        "fetch_min_bytes": 1,
        "fetch_max_wait_ms": min(FETCH_WAIT_MAX_MS, config.request_timeout_ms // 2),
        "check_crcs": True,
        "request_timeout_ms": config.request_timeout_ms,
    }


def reader_settings(config: KafkaConfig, instance_id: str) -> dict[str, Any]:
    """Keyword arguments of a `kafka.KafkaConsumer` that reads back what is answered already, and joins no group."""
    return {
        **_common(config, instance_id),
        "group_id": None,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "fetch_min_bytes": 1,
        "fetch_max_wait_ms": min(FETCH_WAIT_MAX_MS, config.request_timeout_ms // 2),
        "max_partition_fetch_bytes": READER_FETCH_BYTES,
        "check_crcs": True,
        "request_timeout_ms": config.request_timeout_ms,
    }


def producer_settings(config: KafkaConfig, instance_id: str) -> dict[str, Any]:
    """Keyword arguments of `kafka.KafkaProducer`."""
    return {
        **_common(config, instance_id),
        "enable_idempotence": True,  # so acks=all, retried without doubling or changing places
        "delivery_timeout_ms": config.delivery_timeout_ms,
        "request_timeout_ms": min(config.request_timeout_ms, config.delivery_timeout_ms),
        # Under load a batch fills while the one before it is on its way; waiting for more would only add latency.
        "linger_ms": 0,
        "batch_size": min(PRODUCE_BATCH_BYTES, config.batch_bytes_max),
        "compression_type": None if config.compression == "none" else config.compression,
        "max_block_ms": SEND_BLOCK_MAX_MS,
    }


def transactional_settings(config: KafkaConfig, transactional_id: str) -> dict[str, Any]:
    """What a producer is told beyond `producer_settings` to have transactions, under this name."""
    return {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": config.transaction_timeout_ms,
        "retry_backoff_ms": TRANSACTION_RETRY_PAUSE_MS,
    }


def check_compression() -> None:
    """Raises MissingExtraError where a library is absent: any producer may pack its records in any way, at any time."""
    for kind, library in COMPRESSION_LIBRARIES.items():
        if not getattr(codec, f"has_{kind}")():
            raise MissingExtraError(f"kafka-python cannot read records packed with {kind}: pip install {library}")


def _common(config: KafkaConfig, instance_id: str) -> dict[str, Any]:
    check_compression()
    return {
        "bootstrap_servers": config.bootstrap_servers.split(","),
        "client_id": f"tickcast-{instance_id}",
        "bootstrap_timeout_ms": config.request_timeout_ms,
        "connections_max_idle_ms": max(CONNECTION_IDLE_MAX_MS, 2 * config.request_timeout_ms),
        "metadata_max_age_ms": METADATA_AGE_MAX_MS,
        "reconnect_backoff_max_ms": RECONNECT_PAUSE_MAX_MS,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,  # nobody reads them, and they cost time per request
        **kafka_security.for_kafka_python(config.security),
    }
