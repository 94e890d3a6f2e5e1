"""How what was handed over comes to count: the contract of the two deliveries, and the one that is the default.

Stages `(acks)` and `commit` of the way of a tick. `AtLeastOnce` fixes a checkpoint, per partition the offset processed
and where a rebuild for it may start, and commits it once everything handed over before it is acknowledged.
`transactions.ExactlyOnce` is the other.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from tickcast import log
from tickcast.clients import Client, Committed, Headers, OnDelivery, Partition
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.deliveries import Deliveries
from tickcast.errors import BrokerError, OwnershipLostError
from tickcast.instruments import Instruments
from tickcast.offers import Offers

# One question to the broker while the loop stands still: a second is the longest any call in the loop may take.
ANSWER_TIMEOUT_S = 1.0


class Send(Protocol):
    """`Client.send`, or what stands before it."""

    def __call__(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        """Hand one record over."""


class Commits(Protocol):
    """Gets records on their way, and commits the offsets they answer."""

    @property
    def send(self) -> Send:
        """What every forecast and dead letter is handed to."""

    @property
    def busy(self) -> bool:
        """Whether nothing may be processed now: what is under way has to be ended first, by `advance`."""

    def advance(self) -> None:
        """Called once a turn: commit what may be and is due.

        Raises DeliveryError where a record was finally not delivered, FencedError where we are somebody's predecessor.
        """

    def claim(self, offsets: Mapping[Partition, Committed]) -> None:
        """Commit `offsets` of partitions just taken up, in our name, before any of their ticks is answered."""

    def settle(self, leaving: Collection[Partition]) -> None:
        """Wait for acknowledgements and commit, `leaving`, which are about to go, in nobody's name.

        Takes no longer than the drain timeout.
        """

    def dropped(self, partitions: Collection[Partition]) -> None:
        """`partitions` are not ours any more: nothing of them may be sent or committed."""


class Checkpoint(NamedTuple):
    """What may be committed once `batches` batches are settled."""

    batches: int
    offsets: Mapping[Partition, Committed]


class AtLeastOnce:
    """Commits after acknowledgements: what was published since the last commit is published again after a crash."""

    busy = False

    def __init__(
        self,
        config: Config,
        client: Client,
        offers: Offers,
        deliveries: Deliveries,
        instruments: Instruments,
        clock: Clock,
        alive: Callable[[], None],
    ) -> None:
        """`alive` is called while the loop waits for the cluster: waiting is no reason to be restarted."""
        self.send: Send = client.send
        self._interval_ns = config.kafka.commit_interval_ms * 1_000_000
        self._drain_timeout_s = config.recovery.drain_timeout_ms / 1_000
        self._client = client
        self._offers = offers
        self._deliveries = deliveries
        self._instruments = instruments
        self._clock = clock
        self._alive = alive
        self._log = log.get("commits")
        self._checkpoint: Checkpoint | None = None
        self._due_ns = 0

    def advance(self) -> None:
        """See `Commits`."""
        self._collect()
        checkpoint = self._checkpoint
        if checkpoint is not None and self._deliveries.settled >= checkpoint.batches:
            self._checkpoint = None
            self._commit(checkpoint.offsets)
        now_ns = self._clock.monotonic_ns()
        if self._checkpoint is None and now_ns >= self._due_ns:
            self._due_ns = now_ns + self._interval_ns
            if offsets := self._offers.moved():
                self._checkpoint = Checkpoint(self._deliveries.opened, offsets)

    def claim(self, offsets: Mapping[Partition, Committed]) -> None:
        """See `Commits`. A failure is no harm: the next checkpoint says the same."""
        self._commit(offsets)

    def settle(self, leaving: Collection[Partition]) -> None:
        """See `Commits`."""
        if not self._flushed():
            self._log.error(
                "not acknowledged in time, not committed: these ticks are answered again",
                timeout_s=self._drain_timeout_s,
            )
            return
        self._collect()
        self._checkpoint = None  # what is committed here is further
        self._commit({**self._offers.moved(), **self._offers.released(leaving)})

    def dropped(self, partitions: Collection[Partition]) -> None:
        """See `Commits`. Should one come back, it may have got on elsewhere; the next checkpoint covers the rest."""
        self._checkpoint = None

    def _commit(self, offsets: Mapping[Partition, Committed]) -> None:
        owned = self._offers.only_owned(offsets)
        if not owned:
            return
        try:
            self._client.commit(owned, ANSWER_TIMEOUT_S)
        except BrokerError as error:  # not lost: the next checkpoint covers it, and a restart repeats from the last one
            self._instruments.commit_failures.add()
            self._log.warning("commit failed", error=str(error), lost=isinstance(error, OwnershipLostError))
            return
        self._instruments.commits.add()
        self._offers.note(owned)

    def _collect(self) -> None:
        for batch in self._deliveries.collect():
            self._instruments.answered(batch)

    def _flushed(self) -> bool:
        """Wait for acknowledgements, a second at a time."""
        for _ in range(math.ceil(self._drain_timeout_s / ANSWER_TIMEOUT_S)):
            if self._client.flush(ANSWER_TIMEOUT_S):
                return True
            self._alive()
        return False
