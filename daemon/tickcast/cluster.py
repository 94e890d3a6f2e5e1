"""The topics of a Kafka cluster: made, listed and deleted by whoever prepares a job.

Before every stage of the way of a tick: the daemon itself makes no topic.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import kafka.errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic

from tickcast import kafka_security
from tickcast.errors import BrokerError
from tickcast.kafka_python_settings import opened
from tickcast.security_config import SecurityConfig

ADMIN_TIMEOUT_MS = 15_000
BOOTSTRAP_TIMEOUT_MS = 30_000
BROKERS_DEFAULT = -1  # as many copies as the cluster makes by itself
BATCH_BYTES_MAX = "max.message.bytes"
CLEANUP_POLICY = "cleanup.policy"


class Cluster:
    """A cluster that answers at `bootstrap_servers`, `host:port,host:port`."""

    def __init__(self, bootstrap_servers: str, security: SecurityConfig | None = None) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._security = security or SecurityConfig()

    @property
    def bootstrap_servers(self) -> str:
        """What a client is to be given."""
        return self._bootstrap_servers

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until each partition has a leader. Raises BrokerError, also where it exists."""
        topic = NewTopic(
            name, num_partitions=partitions, replication_factor=BROKERS_DEFAULT, topic_configs=dict(config or {})
        )
        with self.admin() as admin:
            admin.create_topics([topic], timeout_ms=ADMIN_TIMEOUT_MS)
            admin.wait_for_topics([name], timeout_ms=ADMIN_TIMEOUT_MS)

    def delete_topics(self, names: Sequence[str]) -> None:
        """Delete topics and what is in them. Raises BrokerError."""
        with self.admin() as admin:
            admin.delete_topics(list(names), timeout_ms=ADMIN_TIMEOUT_MS)

    def topics(self) -> frozenset[str]:
        """The names of the topics there are."""
        with self.admin() as admin:
            return frozenset(admin.list_topics())

    def batch_bytes_max(self, names: Collection[str]) -> dict[str, int | None]:
        """`max.message.bytes` of each topic, the longest record batch it takes. Raises BrokerError without an answer.

        None where we are not told: the topic is absent, or the permission DescribeConfigs.
        """
        told = self._told(names, BATCH_BYTES_MAX)
        return {name: None if value is None else int(value) for name, value in told.items()}

    def cleanup_policy(self, name: str) -> str | None:
        """What becomes of a topic's old records: `compact`, `delete`, or both. Raises BrokerError without an answer.

        None where we are not told, as in `batch_bytes_max`.
        """
        return self._told([name], CLEANUP_POLICY)[name]

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """An administration client; what the broker refuses comes out as BrokerError."""
        try:
            with self._admin_client() as admin:
                yield admin
        except kafka.errors.KafkaError as error:
            raise BrokerError(f"{self.bootstrap_servers}: {error}") from error

    def _told(self, names: Collection[str], key: str) -> dict[str, str | None]:
        """One setting of each topic."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, name, {key: None}) for name in names]
        with self.admin() as admin:
            found = admin.describe_configs(asked, config_filter="all")["topic"]
        return {name: str(found[name][key]["value"]) if found[name] else None for name in names}

    def _admin_client(self, bootstrap_timeout_ms: int | None = None) -> KafkaAdminClient:
        settings = {
            "bootstrap_servers": self.bootstrap_servers,
            "bootstrap_timeout_ms": bootstrap_timeout_ms or BOOTSTRAP_TIMEOUT_MS,
            **kafka_security.for_kafka_python(self._security),
        }
        return opened(KafkaAdminClient, settings)
