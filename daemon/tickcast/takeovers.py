"""Partitions that were assigned and are not taken up yet: finding out where each goes on, while all others run on.

Stage `commit` of the way of a tick, from the other end. The committed offset of a partition whose last owner died in a
transaction has to wait for that to end, and so have the readers of what it wrote. The note names the owner, and a
producer of our own under its name ends its transaction, and it.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from tickcast import commit_note, log
from tickcast.clients import Client, Committed, OffsetRange, Partition
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.errors import BrokerError
from tickcast.instruments import Instruments
from tickcast.offers import NOBODY

# Questions while other partitions wait to be read: a transaction that is about to commit is done by then.
STABLE_TIMEOUT_S = 0.3
ANSWER_TIMEOUT_S = 1.0
# Until a question is asked again.
RETRY_PAUSE_NS = 500_000_000
# Between looks at a fence that is under way.
LOOK_PAUSE_NS = 20_000_000

FenceOwner = Callable[[str], None]


class Found(NamedTuple):
    """What there is to know of a partition before it is taken up."""

    committed: Committed | None
    held: OffsetRange
    fresh_start: int  # where a group without a committed offset publishes from


class Takeovers:
    """The partitions waiting. `step` is called once a turn and takes what the cluster knows by now."""

    def __init__(
        self, config: Config, client: Client, clock: Clock, fence: FenceOwner, instruments: Instruments
    ) -> None:
        """`fence` ends a former owner's transaction, and that owner; called on a thread of its own."""
        self._start = config.kafka.start
        self._own = config.instance_id
        self._in_transactions = config.kafka.delivery == "exactly_once"
        self._client = client
        self._clock = clock
        self._fence = fence
        self._instruments = instruments
        self._log = log.get("takeovers")
        self._waiting: set[Partition] = set()
        self._fencing: dict[str, _Fencing] = {}  # former owner -> what ends it, while any of its partitions waits
        self._due_ns = 0

    @property
    def waiting(self) -> int:
        """How many partitions are not taken up yet."""
        return len(self._waiting)

    def add(self, partitions: Collection[Partition]) -> None:
        """`partitions` are ours, paused and without a position."""
        self._waiting |= set(partitions)
        self._due_ns = 0

    def discard(self, partitions: Collection[Partition]) -> None:
        """`partitions` are not ours any more."""
        self._waiting -= set(partitions)
        if not self._waiting:
            self._fencing.clear()  # owners fenced once may have come back by the next time

    def step(self) -> dict[Partition, Found]:
        """The partitions that can be taken up now; they wait no longer. Raises BrokerError for what will not heal."""
        if not self._waiting or self._clock.monotonic_ns() < self._due_ns:
            return {}
        try:
            found = self._ask(self._without_dead_owners())
        except BrokerError as error:
            if not error.retriable:
                raise
            self._due_ns = self._clock.monotonic_ns() + RETRY_PAUSE_NS
            self._log.warning("not to be taken up yet", partitions=len(self._waiting), error=str(error))
            return {}
        self._waiting -= found.keys()
        self._due_ns = self._clock.monotonic_ns() + LOOK_PAUSE_NS
        if not self._waiting:
            self._fencing.clear()
        return found

    # -- private

    def _without_dead_owners(self) -> set[Partition]:
        """Those of the partitions waiting under whose last owner nothing can be open any more."""
        if not self._in_transactions:
            return set(self._waiting)
        last = self._client.last_committed(self._waiting, ANSWER_TIMEOUT_S)
        suspects = [p for p in self._waiting if _owner(last[p]) not in (NOBODY, self._own, *self._fencing)]
        if suspects:  # a commit in nobody's name is answered before it counts
            try:
                last |= self._client.committed(suspects, STABLE_TIMEOUT_S)
            except BrokerError as error:
                if not error.retriable:
                    raise
        return {partition for partition in self._waiting if self._is_over(_owner(last[partition]))}

    def _is_over(self, owner: str) -> bool:
        if owner in (NOBODY, self._own):
            return True
        fencing = self._fencing.get(owner)
        if fencing is None or (not fencing.is_alive() and not fencing.done):
            if fencing is not None:
                if fencing.failed is not None and not fencing.failed.retriable:
                    raise fencing.failed
                self._log.warning("former owner not fenced, trying again", owner=owner, error=str(fencing.failed))
            self._log.info("fencing the former owner", owner=owner)
            self._fencing[owner] = fencing = _Fencing(self._fence, owner)
            fencing.start()
        if fencing.done and not fencing.counted:
            fencing.counted = True
            self._instruments.fenced_owners.add()
        return fencing.done

    def _ask(self, partitions: Collection[Partition]) -> dict[Partition, Found]:
        if not partitions:
            return {}
        committed = self._client.committed(partitions, STABLE_TIMEOUT_S)
        held = self._client.offset_range(partitions, ANSWER_TIMEOUT_S)
        starts = self._fresh_starts([p for p in partitions if committed[p] is None], held)
        return {p: Found(committed[p], held[p], starts.get(p, 0)) for p in partitions}

    def _fresh_starts(
        self, partitions: Collection[Partition], held: Mapping[Partition, OffsetRange]
    ) -> dict[Partition, int]:
        start = self._start
        if start == "earliest":
            return {p: held[p].first for p in partitions}
        if start == "latest" or not partitions:
            return {p: held[p].end for p in partitions}
        found = self._client.offsets_for_time(partitions, start, ANSWER_TIMEOUT_S)
        return {p: held[p].end if (offset := found[p]) is None else offset for p in partitions}


class _Fencing(threading.Thread):
    """One attempt to fence an owner; it may take as long as a request to a cluster may."""

    def __init__(self, fence: FenceOwner, owner: str) -> None:
        super().__init__(name=f"fence-{owner}", daemon=True)
        self.failed: BrokerError | None = None
        self.done = False
        self.counted = False
        self._fence = fence
        self._owner = owner

    def run(self) -> None:
        try:
            self._fence(self._owner)
        except BrokerError as error:
            self.failed = error
        else:
            self.done = True


def _owner(committed: Committed | None) -> str:
    """Who committed last and did not give the partition back; nobody where that is not known."""
    note = commit_note.parse(committed.metadata) if committed is not None else None
    return NOBODY if note is None else note.owner
