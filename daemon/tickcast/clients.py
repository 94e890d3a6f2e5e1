"""The contract every Kafka client fulfils, and the registry of those there are.

Stage `poll`, `produce` and `commit` of the way of a tick. The pipeline knows this contract only. A new client is one
module and one line in `CLIENTS`; being registered makes the conformance suite (`tests/check_client.py`) run on it.
"""

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from tickcast import kafka_greeting
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, MissingExtraError


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as it lies in a topic."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Committed(NamedTuple):
    """What the group has committed for a partition: the next offset to process, and one line of metadata."""

    offset: int
    metadata: str


class OffsetRange(NamedTuple):
    """What a partition holds: `first` is the oldest offset kept, `end` the next one to be written (last stable)."""

    first: int
    end: int


Headers = list[tuple[str, bytes]]
OnDelivery = Callable[[BrokerError | None], None]


class RebalanceListener(Protocol):
    """What the pipeline does when partitions come and go.

    Each method is called on the thread that calls `poll` (or `close`), from inside it, and may itself call `committed`,
    `offset_range`, `seek`, `pause`, `resume`, `send`, `flush` and `commit`. The group waits for it.
    """

    def assigned(self, partitions: Collection[Partition]) -> None:
        """`partitions` are ours from now on, paused, with no position: `seek` and `resume` each of them."""

    def revoked(self, partitions: Collection[Partition]) -> None:
        """`partitions` are about to go: what is committed in here still counts."""

    def lost(self, partitions: Collection[Partition]) -> None:
        """`partitions` are already somebody else's: nothing may be committed for them."""


class Client(Protocol):
    """One consumer of a group and one idempotent producer, on the same cluster.

    Not thread-safe: everything is called from one thread. `OnDelivery` callbacks may come on another one, at any time,
    and must only note what happened. No method blocks longer than its `timeout_s`; none of them retries for ever.
    """

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """Join the group (cooperative-sticky, static membership under `instance_id`, read_committed)."""

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """Return what is there, at once when anything is: at most `records_max`, offsets ascending per partition.

        Returns an empty list after `timeout_s` with nothing. Calls the listener for whatever the group decided.
        Raises BrokerError on what will not heal by itself (authorisation, fencing). No content of a record is that.
        """

    def assignment(self) -> frozenset[Partition]:
        """The partitions that are ours now."""

    def seek(self, partition: Partition, offset: int) -> None:
        """The next record polled of `partition` is the first one at or after `offset`."""

    def pause(self, partitions: Collection[Partition]) -> None:
        """No record of `partitions` is polled until `resume`; heartbeats go on."""

    def resume(self, partitions: Collection[Partition]) -> None:
        """Undo `pause`."""

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """What the group committed, None where nothing is. Raises BrokerError when no stable answer came in time."""

    def offset_range(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, OffsetRange]:
        """What each partition holds now. Raises BrokerError when no answer came in time."""

    def end_offsets(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """The `end` of `offset_range` alone, in a single round trip: cheap enough to be asked every second."""

    def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """What was written to each partition, stable or not, as the last fetch told: without asking, so not of all."""

    def offsets_for_time(
        self, partitions: Collection[Partition], timestamp_ms: int, timeout_s: float
    ) -> dict[Partition, int | None]:
        """The first offset at or after `timestamp_ms` of each partition, None where every record is older."""

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        """The partition numbers of `topic`; empty where it does not exist. Raises BrokerError without an answer."""

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """Hand one record to the producer; `on_delivery` hears once, of its acknowledgement or its final failure.

        Without `partition` records with the same key go to the same partition.
        In a transaction a failure that sending again may heal is a TransactionAbortedError. Returns at once. The
        caller bounds what is outstanding. Raises BrokerError where the producer refuses it.
        """

    def flush(self, timeout_s: float) -> bool:
        """Send everything handed over; True when all of it has been answered within `timeout_s`."""

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """Commit for the group. Raises OwnershipLostError when the group moved on, BrokerError without an answer."""

    def begin_transaction(self) -> None:
        """With `kafka.delivery = "exactly_once"`: what is sent from now on becomes visible together, or not at all.

        In this mode nothing may be sent outside of a transaction. Before the client was made, whatever an earlier
        process had left open under the same name was aborted, and that process fenced. Raises FencedError where
        another process has this name now.
        """

    def commit_transaction(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """Commit `offsets` for the group and all that was sent since `begin_transaction`, together.

        Raises TransactionAbortedError where it has to be aborted (a record that was not delivered, a group that moved
        on); BrokerError without an answer in time: then nothing but the same call again may follow; FencedError where
        another process has this name now. `flush` first: it is not waited for acknowledgements beyond `timeout_s`.
        """

    def abort_transaction(self, timeout_s: float) -> None:
        """Nothing that was sent since `begin_transaction` becomes visible; `on_delivery` of the unanswered may hear.

        Raises BrokerError without an answer in time (call again), FencedError where another process has this name now.
        """

    def last_committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        """As `committed`, without regard to transactions under way, whose offsets may still come to count."""

    def close(self, timeout_s: float) -> None:
        """Revoke (the listener is called), leave, flush and close. Nothing may be called afterwards.

        A transaction that is open then is aborted.
        """


class Reader(Protocol):
    """Reads partitions back beside the client, as member of no group: what windows and live state are rebuilt from.

    Made without asking the cluster anything; one that is away is waited for. Committed records only. Not thread-safe;
    no method blocks longer than its `timeout_s`.
    """

    def assign(self, partition: Partition, offset: int) -> None:
        """Read `partition` from `offset` on; from another offset than before where it is being read."""

    def drop(self, partition: Partition) -> None:
        """Read `partition` no more."""

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        """As `Client.poll`, of the partitions assigned.

        Raises OffsetOutOfRangeError where one of them no longer holds what comes next: it is not read until it is
        assigned anew. BrokerError, retriable or not, for anything else.
        """

    def reached(self, partition: Partition) -> int:
        """The next offset to be read of `partition`, which is assigned.

        Whatever lies before it was polled, or is nothing to poll: aborted, a transaction's marker, compacted away. At
        the end of what there is, this is the end.
        """

    def close(self) -> None:
        """Nothing may be called afterwards. Returns at once; what it takes goes on beside."""


class Fence(Protocol):
    """Ends a former owner's transaction: a module-level function of a client's library, safe on any thread."""

    def __call__(self, config: KafkaConfig, transactional_id: str) -> None:
        """Abort what is open under `transactional_id` and fence the process that opened it, by a producer of its own.

        Blocks for up to `config.request_timeout_ms`. Raises BrokerError without an answer.
        """


# Name in `kafka.client` -> module and class that fulfil `Client`; imported when chosen: an absent extra costs nothing.
CLIENTS: dict[str, tuple[str, str]] = {
    "kafka-python": ("tickcast.client_kafka_python", "KafkaPythonClient"),
    "confluent-kafka": ("tickcast.client_confluent", "ConfluentClient"),
}
# Name in `kafka.client` -> module and function that fulfil `Fence`.
FENCES: dict[str, tuple[str, str]] = {
    "kafka-python": ("tickcast.kafka_python_transactions", "fence"),
    "confluent-kafka": ("tickcast.confluent_transactions", "fence"),
}
# Name in `kafka.client` -> module and class that fulfil `Reader`, made like the client.
READERS: dict[str, tuple[str, str]] = {
    "kafka-python": ("tickcast.kafka_python_reader", "KafkaPythonReader"),
    "confluent-kafka": ("tickcast.confluent_reader", "ConfluentReader"),
}
# Name in `kafka.client` -> the extra that brings its library, where that does not come with tickcast.
EXTRAS = {"confluent-kafka": "librdkafka"}


def connect(config: KafkaConfig, instance_id: str) -> Client:
    """The configured client, connected as `instance_id`.

    Raises BrokerError when the cluster does not answer, RefusedError when it does not let us in, MissingExtraError
    when the client's library is not installed.
    """
    kafka_greeting.greet(config)
    module, name = CLIENTS[config.client]
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if config.client not in EXTRAS:
            raise
        needed = f"kafka.client = {config.client!r} needs {error.name}"
        raise MissingExtraError(f"{needed}: pip install 'tickcast[{EXTRAS[config.client]}]'") from error
    client: Client = getattr(loaded, name)(config, instance_id)
    return client


def transactional_id(config: KafkaConfig, instance_id: str) -> str:
    """The name under which `instance_id` of this group opens transactions; the same after a restart."""
    return f"tickcast.{config.group_id}.{instance_id}"


def fence_of(config: KafkaConfig) -> Fence:
    """The configured client's way to fence a former owner."""
    module, name = FENCES[config.client]
    fence: Fence = getattr(importlib.import_module(module), name)
    return fence


def reader_of(config: KafkaConfig, instance_id: str) -> Reader:
    """A reader of the configured client's library."""
    module, name = READERS[config.client]
    reader: Reader = getattr(importlib.import_module(module), name)(config, instance_id)
    return reader
