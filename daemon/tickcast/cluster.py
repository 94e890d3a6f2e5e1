"""The topics of a Kafka cluster: made, listed and deleted by whoever prepares a job.

Before every stage of the way of a tick: the daemon itself makes no topic.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import kafka.errors
from kafka.admin import KafkaAdminClient, NewTopic

from tickcast.errors import BrokerError
from tickcast.kafka_python_settings import opened

ADMIN_TIMEOUT_MS = 15_000
BOOTSTRAP_TIMEOUT_MS = 30_000
BROKERS_DEFAULT = -1  # as many copies as the cluster makes by itself


class Cluster:
    """A cluster that answers at `bootstrap_servers`, `host:port,host:port`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

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

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """An administration client; what the broker refuses comes out as BrokerError."""
        try:
            with self._admin_client() as admin:
                yield admin
        except kafka.errors.KafkaError as error:
            raise BrokerError(f"{self.bootstrap_servers}: {error}") from error

    def _admin_client(self, bootstrap_timeout_ms: int = BOOTSTRAP_TIMEOUT_MS) -> KafkaAdminClient:
        settings = {"bootstrap_servers": self.bootstrap_servers, "bootstrap_timeout_ms": bootstrap_timeout_ms}
        return opened(KafkaAdminClient, settings)
