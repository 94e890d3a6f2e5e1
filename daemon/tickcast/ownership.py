"""The partitions this daemon owns: taking them up, letting what they gave rise to be committed, giving them back.

Stages `(acks)` and `commit` of the way of a tick; `takeovers` finds out where a partition goes on, `commits` commits.
"""

from collections.abc import Callable, Collection, Sequence

from tickcast import commit_note, log
from tickcast.clients import Client, Partition
from tickcast.clock import Clock
from tickcast.commits import ANSWER_TIMEOUT_S, Commits
from tickcast.config import Config
from tickcast.deliveries import Deliveries
from tickcast.errors import BrokerError, OwnershipLostError
from tickcast.instruments import Instruments, PartitionGauges
from tickcast.manifest import Manifest
from tickcast.offers import Offers
from tickcast.partition_state import PartitionState, owned_windows_of, reach_of, recover
from tickcast.rebuilds import Rebuilds
from tickcast.symbol_homes import SymbolHomes
from tickcast.takeovers import FenceOwner, Found, Takeovers

# Waits for ticks: usually as long as is configured, short while there are none to come.
WAIT_MS = 1_000
STARTING_WAIT_MS = 10


class Ownership:
    """Implements `RebalanceListener`; holds a `PartitionState` for each partition owned."""

    def __init__(
        self,
        config: Config,
        manifests: Sequence[Manifest],
        client: Client,
        offers: Offers,
        commits: Commits,
        deliveries: Deliveries,
        instruments: Instruments,
        clock: Clock,
        rebuilds: Rebuilds,
        fence: FenceOwner,
        windows_dropped: Callable[[], None],
    ) -> None:
        """`fence` ends a former owner's transaction; `windows_dropped` is called after partitions left: what was
        prepared for their windows is void."""
        self.states: dict[Partition, PartitionState] = offers.states
        self.rebuilds = rebuilds
        self._config = config
        self._manifests = manifests
        self._client = client
        self._offers = offers
        self._commits = commits
        self._deliveries = deliveries
        self._instruments = instruments
        self._takeovers = Takeovers(config, client, clock, fence, instruments)
        self._log = log.get("ownership")
        self._windows_dropped = windows_dropped
        self.homes = SymbolHomes(self.states, instruments.symbols_doubled)
        self._gauges: dict[Partition, PartitionGauges] = {}
        # To be asked about while nothing is owned: who lost all partitions with the cluster should know why.
        self._some_partition = Partition(config.kafka.input_topics[0], 0)

    # -- RebalanceListener

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Have each partition taken up by one of the next turns; it is paused until then."""
        self._takeovers.add(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        """Wait for acknowledgements, commit, drop the windows."""
        self._takeovers.discard(partitions)
        self._commits.settle([partition for partition in partitions if partition in self.states])
        self._drop(partitions)
        self._log.info("partitions given back", partitions=_names(partitions))

    def lost(self, partitions: Collection[Partition]) -> None:
        """Drop the windows; somebody else answers from the last commit on."""
        self._takeovers.discard(partitions)
        self._drop(partitions)
        self._log.warning("partitions lost", partitions=_names(partitions))

    # -- called by the loop

    @property
    def pending(self) -> int:
        """Partitions assigned and not taken up yet."""
        return self._takeovers.waiting

    @property
    def wait_ms_max(self) -> int:
        """The longest to wait for ticks: what the group assigns while we wait is looked at only after it."""
        if not self.rebuilds.is_waiting or self._commits.in_a_hurry:
            return 0
        return STARTING_WAIT_MS if self._takeovers.waiting or not self.states else WAIT_MS

    def advance(self) -> None:
        """Commit what may be and is due, and take up the partitions that can be."""
        self._commits.advance()
        if self._takeovers.waiting and not self._commits.busy:  # one may be in what is undecided
            self._take_up(self._takeovers.step())
        if self.rebuilds.is_cut_short:
            self._take_up_anew(tuple(self.rebuilds))

    def abandon(self) -> None:
        """Forget every partition, uncommitted: a turn broke off, and positions may be ahead of what was sent."""
        self._drop(tuple(self.states))

    def measure(self) -> bool:
        """Update the partitions' gauges; whether the cluster answered. Asks for the partitions' ends: a round trip."""
        answered = True
        try:
            ends = self._client.end_offsets(self.states or [self._some_partition], ANSWER_TIMEOUT_S)
        except BrokerError as error:  # the gauges keep their last values; the poll will tell if it lasts
            self._log.warning("end offsets not known", error=str(error))
            ends, answered = {}, False
        written = self._client.high_watermarks(self.states)
        for partition, state in self.states.items():
            state.end = ends.get(partition, state.end)
            if state.end < state.publish_from and partition in self.rebuilds:
                self.rebuilds.cut_short(partition)
            gauges = self._gauges[partition]
            gauges.position.set(state.position)
            gauges.lag.set(max(state.end - state.position, 0))
            gauges.rebuild_remaining.set(max(state.publish_from - state.position, 0))
            # Both of one answer: what was written since an older end would look like an open transaction.
            fresh = partition in ends and partition in written
            gauges.unstable.set(max(written[partition] - ends[partition], 0) if fresh else 0)
        self._instruments.symbols.set(sum(len(state.windows) for state in self.states.values()))
        self._instruments.outstanding.set(self._deliveries.outstanding)
        self._instruments.pending.set(self._takeovers.waiting)
        return answered

    # -- called at a swap of models, between two turns

    def adopt(self, manifests: Sequence[Manifest]) -> None:
        """Partitions that are taken up from now on, and all notes, are for the bundles of `manifests`."""
        self._manifests = manifests
        self._offers.adopt(manifests)

    def reread(self, manifests: Sequence[Manifest]) -> None:
        """As `adopt`; and the windows of what is owned are filled anew from the topic, as those bundles want them.

        What was handed over is settled first; each partition goes on from where it stands. Raises BrokerError where the
        cluster does not say in time what it holds: then nothing has changed.
        """
        self._commits.settle(())
        held = self._client.offset_range(self.states, ANSWER_TIMEOUT_S)
        found = {p: Found(self._offers.offer(p), held[p], 0) for p in self.states}
        self.adopt(manifests)
        self._client.pause(found)
        placed = self._place_all(found)
        self._windows_dropped()
        self._go_on(placed)

    # -- private

    def _take_up(self, found: dict[Partition, Found]) -> None:
        """Start reading each of the partitions where it goes on."""
        placed = self._place_all(found)
        # In our name from the start: a group's first start must not move, and whoever follows us fences us.
        claims = {p: self._offers.offer(p) for p in placed if not self._is_ours(found[p])}
        if claims:
            self._commits.claim(claims)
        self._go_on(placed)

    def _take_up_anew(self, partitions: Collection[Partition]) -> None:
        """While `partitions` were read back the topic lost what they needed: see what it holds, and begin again."""
        try:
            held = self._client.offset_range(partitions, ANSWER_TIMEOUT_S)
        except BrokerError as error:
            if not error.retriable:
                raise
            self.rebuilds.put_off(error)
            return
        self._go_on(self._place_all({p: Found(self._offers.offer(p), held[p], 0) for p in partitions}))

    def _go_on(self, partitions: Collection[Partition]) -> None:
        """Read on after `_place`: at once, or where windows are to be rebuilt, once they stand."""
        self.rebuilds.discard(partitions)
        for partition in partitions:
            if self.rebuilds.wants(state := self.states[partition]):
                self.rebuilds.add(state)
        self._client.resume([partition for partition in partitions if partition not in self.rebuilds])

    def _is_ours(self, found: Found) -> bool:
        note = None if found.committed is None else commit_note.parse(found.committed.metadata)
        return note is not None and note.owner == self._config.instance_id

    def _place_all(self, found: dict[Partition, Found]) -> list[Partition]:
        """Those of `found` that are placed; the others went just now, of which the next poll will tell."""
        placed = []
        for partition, one in found.items():
            try:
                self._place(partition, one)
            except OwnershipLostError as error:
                self._log.warning("gone before it was taken up", partition=partition.number, error=str(error))
                self._drop([partition])
            else:
                placed.append(partition)
        return placed

    def _place(self, partition: Partition, found: Found) -> None:
        reach = reach_of(self._config, self._manifests)
        recovery = recover(found.committed, found.fresh_start, found.held, self._offers.rules_hash, reach)
        windows = owned_windows_of(self._config, self._manifests, recovery.publish_from)
        state = self.states[partition] = PartitionState(partition, recovery, windows)
        state.end = found.held.end
        self.homes.take_up(self.states[partition])
        self._gauges[partition] = PartitionGauges(self._instruments.board, partition)
        self._client.seek(partition, recovery.publish_from)
        self._instruments.recovered(recovery.kind)
        say = self._log.info if recovery.kind in ("metadata", "fresh") else self._log.warning
        say(
            "partition taken up",
            partition=f"{partition.topic}/{partition.number}",
            recovery=recovery.kind,
            replay_from=recovery.replay_from,
            publish_from=recovery.publish_from,
        )

    def _drop(self, partitions: Collection[Partition]) -> None:
        self.rebuilds.discard(partitions)
        self._offers.drop(partitions)
        self._commits.dropped(partitions)
        for partition in partitions:
            if gauges := self._gauges.pop(partition, None):
                gauges.clear()
        self._windows_dropped()


def _names(partitions: Collection[Partition]) -> list[str]:
    return sorted(f"{partition.topic}/{partition.number}" for partition in partitions)
