"""How what was handed over comes to count: the contract of the two deliveries, and the one that is the default.

Stages `(acks)` and `commit` of the way of a tick. `AtLeastOnce` fixes a checkpoint, per partition the offset processed
and where a rebuild for it may start, and commits it once everything handed over before it is acknowledged, live state
as of that offset included.
`transactions.ExactlyOnce` is the other.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple, Protocol

from tickcast import log
from tickcast.clients import Client, Committed, Partition
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.deliveries import Deliveries, Send
from tickcast.errors import BrokerError, OwnershipLostError
from tickcast.instruments import Instruments
from tickcast.offers import Offers
from tickcast.state_keeper import StateKeeper

# One question to the broker while the loop stands still: a second is the longest any call in the loop may take.
ANSWER_TIMEOUT_S = 1.0
# Live state is handed over in slices, between two turns: so long, or a tenth of the time that the loop takes otherwise.
SLICE_NS = 300_000
SLICE_SHARE = 0.1


class Commits(Protocol):
    """Gets records on their way, and commits the offsets they answer."""

    @property
    def send(self) -> Send:
        """What every forecast and dead letter is handed to."""

    @property
    def busy(self) -> bool:
        """Whether nothing may be processed now: what is under way has to be ended first, by `advance`."""

    @property
    def in_a_hurry(self) -> bool:
        """Whether there is more to hand over, in the next turn."""

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
    """What may be committed once `batches` batches are settled; None: live state of it is still to be handed over."""

    batches: int | None
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
        keeper: StateKeeper,
        instruments: Instruments,
        clock: Clock,
        alive: Callable[[], None],
    ) -> None:
        """`alive` is called while the loop waits for the cluster: waiting is no reason to be restarted."""
        self.send: Send = client.send
        self._kafka = config.kafka
        self._interval_ns = config.kafka.commit_interval_ms * 1_000_000
        self._drain_timeout_s = config.recovery.drain_timeout_ms / 1_000
        self._client = client
        self._offers = offers
        self._deliveries = deliveries
        self._keeper = keeper
        self._instruments = instruments
        self._clock = clock
        self._alive = alive
        self._log = log.get("commits")
        self._checkpoint: Checkpoint | None = None
        self._due_ns = 0
        self._again_ns = 0  # when a commit that was not answered is asked for again
        self._slice_ended_ns = 0

    @property
    def in_a_hurry(self) -> bool:
        """See `Commits`."""
        return self._checkpoint is not None and self._checkpoint.batches is None

    def advance(self) -> None:
        """See `Commits`."""
        self._collect()
        now_ns = self._clock.monotonic_ns()
        if self._checkpoint is not None:
            self._go_on(self._checkpoint, now_ns)
        if self._checkpoint is None and now_ns >= self._due_ns:
            self._due_ns = now_ns + self._interval_ns
            if offsets := self._offers.moved():
                self._keeper.begin(offsets)
                self._slice_ended_ns = now_ns
                self._hand_over(Checkpoint(None, offsets))

    def claim(self, offsets: Mapping[Partition, Committed]) -> None:
        """See `Commits`. A failure is no harm: the next checkpoint says the same."""
        self._commit(offsets)

    def settle(self, leaving: Collection[Partition]) -> None:
        """See `Commits`."""
        attempts = iter(range(1, math.ceil(self._drain_timeout_s / ANSWER_TIMEOUT_S)))
        if not self._flushed(attempts):
            return
        # What is committed here is further. But live state is not written again while the last may count or not.
        if self._keeper.unconfirmed and self._checkpoint is not None and not self._committed(self._checkpoint.offsets):
            return
        offsets = self._offers.moved()
        self._keeper.begin(offsets)
        self._checkpoint = Checkpoint(None, offsets)
        if self._flushed(attempts):
            self._checkpoint = Checkpoint(self._deliveries.opened, offsets)
            if self._committed({**offsets, **self._offers.released(leaving)}):
                self._checkpoint = None

    def dropped(self, partitions: Collection[Partition]) -> None:
        """See `Commits`. Should one come back, it may have got on elsewhere."""
        if self._checkpoint is not None:
            kept = {each: at for each, at in self._checkpoint.offsets.items() if each not in partitions}
            self._checkpoint = self._checkpoint._replace(offsets=kept) if kept else None

    # -- private

    def _go_on(self, checkpoint: Checkpoint, now_ns: int) -> None:
        if checkpoint.batches is None:
            self._hand_over(checkpoint)
        elif self._deliveries.settled >= checkpoint.batches and now_ns >= self._again_ns:
            # Without an answer it may count or not: then no other one is begun, or live state of either would be lost.
            if self._committed(checkpoint.offsets) or not self._keeper.unconfirmed:
                self._checkpoint = None
            else:
                self._again_ns = now_ns + self._interval_ns

    def _hand_over(self, checkpoint: Checkpoint) -> None:
        """A slice of the live state that goes with it."""
        self._checkpoint = checkpoint
        if not self._keeper.handed_over:
            if self._is_full:
                return
            elapsed_ns = self._clock.monotonic_ns() - self._slice_ended_ns
            self._keeper.send(self.send, max(SLICE_NS, int(SLICE_SHARE * elapsed_ns)))
            self._slice_ended_ns = self._clock.monotonic_ns()
        if self._keeper.handed_over:
            self._checkpoint = checkpoint._replace(batches=self._deliveries.opened)

    @property
    def _is_full(self) -> bool:
        return self._deliveries.load(self._kafka.outstanding_max, self._kafka.outstanding_bytes_max) >= 1

    def _committed(self, offsets: Mapping[Partition, Committed]) -> bool:
        """Commit `offsets`, and all that `begin` took down with them; whether that counts now."""
        if not self._commit(offsets):
            return False
        self._keeper.confirm()
        return True

    def _commit(self, offsets: Mapping[Partition, Committed]) -> bool:
        owned = self._offers.only_owned(offsets)
        if not owned:
            return True
        try:
            self._client.commit(owned, ANSWER_TIMEOUT_S)
        except BrokerError as error:  # not lost: the next checkpoint covers it, and a restart repeats from the last one
            self._instruments.commit_failures.add()
            self._log.warning("commit failed", error=str(error), lost=isinstance(error, OwnershipLostError))
            return False
        self._instruments.commits.add()
        self._offers.note(owned)
        return True

    def _collect(self) -> None:
        for batch in self._deliveries.collect():
            self._instruments.answered(batch)

    def _flushed(self, attempts: Iterator[int]) -> bool:
        """Hand over what is left and wait for acknowledgements, a second at a time, once more for each attempt left."""
        while True:
            while not self._keeper.handed_over and not self._is_full:
                self._keeper.send(self.send, SLICE_NS)
            if self._client.flush(ANSWER_TIMEOUT_S):
                self._collect()
                if self._keeper.handed_over:
                    return True
            elif next(attempts, None) is None:
                self._log.error(
                    "not acknowledged in time, not committed: these ticks are answered again",
                    timeout_s=self._drain_timeout_s,
                )
                return False
            else:
                self._alive()
