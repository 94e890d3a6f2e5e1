"""The partitions this daemon owns: taking them up, committing what is acknowledged, giving them back.

Stages `(acks)` and `commit` of the way of a tick. A checkpoint fixes, per partition, the offset processed and where a
rebuild for it may start; it is committed once everything handed over before it is acknowledged.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeVar

from tickcast import commit_note, log
from tickcast.clients import Client, Committed, OffsetRange, Partition
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.deliveries import Deliveries
from tickcast.errors import BrokerError, OwnershipLostError
from tickcast.instruments import Instruments, PartitionGauges
from tickcast.manifest import Manifest
from tickcast.partition_state import PartitionState, owned_windows_of, reach_of, recover

# One question to the broker while the loop stands still: a second is the longest any call in the loop may take.
ANSWER_TIMEOUT_S = 1.0
# How often a question is repeated before the process ends for its supervisor: longer than a broker's restart takes,
# also where a broker that is down refuses at once.
ANSWER_ATTEMPTS = 20
RETRY_PAUSE_S = 0.5

Answer = TypeVar("Answer")


class Checkpoint(NamedTuple):
    """What may be committed once `batches` batches are settled."""

    batches: int
    offsets: Mapping[Partition, Committed]


class Ownership:
    """Implements `RebalanceListener`; holds a `PartitionState` for each partition owned."""

    def __init__(
        self,
        config: Config,
        manifest: Manifest,
        client: Client,
        deliveries: Deliveries,
        instruments: Instruments,
        clock: Clock,
        alive: Callable[[], None],
        windows_dropped: Callable[[], None],
    ) -> None:
        """`alive` is called while the loop waits for the cluster: waiting is no reason to be restarted.

        `windows_dropped` is called after partitions left: what was prepared for their windows is void.
        """
        self.states: dict[Partition, PartitionState] = {}
        self._config = config
        self._manifest = manifest
        self._rules_hash = commit_note.rules_hash(config, manifest)
        self._client = client
        self._deliveries = deliveries
        self._instruments = instruments
        self._clock = clock
        self._log = log.get("ownership")
        self._alive = alive
        self._windows_dropped = windows_dropped
        self._gauges: dict[Partition, PartitionGauges] = {}
        self._checkpoint: Checkpoint | None = None
        self._committed: dict[Partition, int] = {}
        self._checkpoint_due_ns = 0

    # -- RebalanceListener

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Find out where each partition goes on, and start reading there."""
        committed = self._asked("committed", lambda: self._client.committed(partitions, ANSWER_TIMEOUT_S))
        held = self._asked("offset_range", lambda: self._client.offset_range(partitions, ANSWER_TIMEOUT_S))
        starts = self._fresh_starts([p for p in partitions if committed[p] is None], held)
        for partition in partitions:
            self._take_up(partition, committed[partition], starts.get(partition, 0), held[partition])
        # A group's first start is committed at once: a restart before the first forecast must not move it.
        fresh = {p: self._offer(p) for p in partitions if committed[p] is None}
        if fresh:
            self._commit(fresh)
        self._client.resume(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        """Wait for acknowledgements, commit, drop the windows."""
        self._drain(partitions)
        self._drop(partitions)
        self._log.info("partitions given back", partitions=_names(partitions))

    def lost(self, partitions: Collection[Partition]) -> None:
        """Drop the windows; somebody else answers from the last commit on."""
        self._drop(partitions)
        self._log.warning("partitions lost", partitions=_names(partitions))

    # -- called by the loop

    def advance(self) -> None:
        """Commit the checkpoint whose records are acknowledged; take a new one when it is due."""
        self._collect()
        checkpoint = self._checkpoint
        if checkpoint is not None and self._deliveries.settled >= checkpoint.batches:
            self._checkpoint = None
            self._commit(checkpoint.offsets)
        now_ns = self._clock.monotonic_ns()
        if self._checkpoint is None and now_ns >= self._checkpoint_due_ns:
            self._checkpoint_due_ns = now_ns + self._config.kafka.commit_interval_ms * 1_000_000
            offsets = {p: self._offer(p) for p in self.states if self._moved(p)}
            if offsets:
                self._checkpoint = Checkpoint(self._deliveries.opened, offsets)

    def abandon(self) -> None:
        """Forget every partition, uncommitted: a turn broke off, and positions may be ahead of what was sent."""
        self._drop(tuple(self.states))

    def measure(self) -> None:
        """Update the partitions' gauges. Asks the broker for the partitions' ends: a round trip."""
        try:
            ends = self._client.end_offsets(self.states, ANSWER_TIMEOUT_S) if self.states else {}
        except BrokerError as error:  # the gauges keep their last values; the poll will tell if it lasts
            self._log.warning("end offsets not known", error=str(error))
            ends = {}
        for partition, state in self.states.items():
            state.end = ends.get(partition, state.end)
            gauges = self._gauges[partition]
            gauges.position.set(state.position)
            gauges.lag.set(max(state.end - state.position, 0))
            gauges.rebuild_remaining.set(max(state.publish_from - state.position, 0))
        self._instruments.symbols.set(sum(len(state.windows) for state in self.states.values()))
        self._instruments.outstanding.set(self._deliveries.outstanding)

    # -- private

    def _take_up(self, partition: Partition, committed: Committed | None, fresh_start: int, held: OffsetRange) -> None:
        recovery = recover(committed, fresh_start, held, self._rules_hash, reach_of(self._config, self._manifest))
        windows = owned_windows_of(self._config, self._manifest, recovery.publish_from)
        self.states[partition] = PartitionState(partition, recovery, windows)
        self._gauges[partition] = PartitionGauges(self._instruments.board, partition)
        self._client.seek(partition, recovery.replay_from)
        self._instruments.recovered(recovery.kind)
        say = self._log.info if recovery.kind in ("metadata", "fresh") else self._log.warning
        say(
            "partition taken up",
            partition=f"{partition.topic}/{partition.number}",
            recovery=recovery.kind,
            replay_from=recovery.replay_from,
            publish_from=recovery.publish_from,
        )

    def _fresh_starts(
        self, partitions: Collection[Partition], held: Mapping[Partition, OffsetRange]
    ) -> dict[Partition, int]:
        start = self._config.kafka.start
        if start == "earliest":
            return {p: held[p].first for p in partitions}
        if start == "latest" or not partitions:
            return {p: held[p].end for p in partitions}
        found = self._asked(
            "offsets_for_time", lambda: self._client.offsets_for_time(partitions, start, ANSWER_TIMEOUT_S)
        )
        return {p: held[p].end if (offset := found[p]) is None else offset for p in partitions}

    def _asked(self, what: str, ask: Callable[[], Answer]) -> Answer:
        for attempt in range(1, ANSWER_ATTEMPTS + 1):
            try:
                return ask()
            except BrokerError as error:
                if not error.retriable or attempt == ANSWER_ATTEMPTS:
                    raise
                self._log.warning("broker did not answer", question=what, attempt=attempt, error=str(error))
                self._alive()
                self._clock.sleep(RETRY_PAUSE_S)
        raise AssertionError("unreachable")

    def _offer(self, partition: Partition) -> Committed:
        return self.states[partition].committed(self._manifest.rules.window, self._rules_hash, self._config.instance_id)

    def _moved(self, partition: Partition) -> bool:
        state = self.states[partition]
        return not state.rebuilding and state.position != self._committed.get(partition)

    def _commit(self, offsets: Mapping[Partition, Committed]) -> None:
        owned = {p: committed for p, committed in offsets.items() if p in self.states}
        if not owned:
            return
        try:
            self._client.commit(owned, ANSWER_TIMEOUT_S)
        except BrokerError as error:  # not lost: the next checkpoint covers it, and a restart repeats from the last one
            self._instruments.commit_failures.add()
            self._log.warning("commit failed", error=str(error), lost=isinstance(error, OwnershipLostError))
            return
        self._instruments.commits.add()
        self._committed.update({p: committed.offset for p, committed in owned.items()})

    def _collect(self) -> None:
        for batch in self._deliveries.collect():
            self._instruments.acknowledged.add(batch.sent)
            self._instruments.handed_to_acknowledged.observe(batch.latencies_s())

    def _drain(self, partitions: Collection[Partition]) -> None:
        timeout_s = self._config.recovery.drain_timeout_ms / 1_000
        if not self._flushed(timeout_s):
            self._log.error(
                "not acknowledged in time, not committed: these ticks are answered again", timeout_s=timeout_s
            )
            return
        self._collect()
        self._commit({p: self._offer(p) for p in partitions if p in self.states and self._moved(p)})

    def _flushed(self, timeout_s: float) -> bool:
        """Wait for acknowledgements, a second at a time."""
        for _ in range(math.ceil(timeout_s / ANSWER_TIMEOUT_S)):
            if self._client.flush(ANSWER_TIMEOUT_S):
                return True
            self._alive()
        return False

    def _drop(self, partitions: Collection[Partition]) -> None:
        # Should a partition come back, others may have answered more of it; the next checkpoint covers those we keep.
        self._checkpoint = None
        for partition in partitions:
            self.states.pop(partition, None)
            self._committed.pop(partition, None)
            if gauges := self._gauges.pop(partition, None):
                gauges.clear()
        self._windows_dropped()


def _names(partitions: Collection[Partition]) -> list[str]:
    return sorted(f"{partition.topic}/{partition.number}" for partition in partitions)
