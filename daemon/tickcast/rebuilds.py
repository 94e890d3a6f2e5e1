"""Partitions whose windows are being rebuilt, read back by a reader of their own while all others go on.

Stage `windows.push` of the way of a tick, for ticks that are answered already. The group's consumer stands at the first
offset to be answered and is paused until the windows stand: what it fetched ahead is live ticks of other partitions,
which must not wait behind what is read back. So a rebuild is done in slices, one a turn of the loop: short ones while
any partition is served, as one of its ticks may come during each, long ones while there is nothing else to do.

What came for the partition since its last commit would hold up the others just the same: where any is served, that is
read and answered in slices, too, before the consumer takes over.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from tickcast import log
from tickcast.clients import Client, Partition, Reader, Record
from tickcast.clock import Clock
from tickcast.errors import BrokerError, OffsetOutOfRangeError, RegistryError
from tickcast.instruments import Instruments
from tickcast.partition_state import PartitionState
from tickcast.state_restores import StateRestores

# What a slice may take while ticks of other partitions come, and while none can.
SLICE_S = 300e-6
SLICE_ALONE_S = 20e-3
# More at once only leaves the caches; less is all fixed cost.
SLICE_RECORDS = (8, 1_024)
# Until the first slices are timed: what a record takes to be read, decoded and pushed.
RECORD_S = 10e-6
# The weight of the newest slice in what a record takes.
LEARNING = 0.25
# For the reader's first records, or the cluster's next: librdkafka counts in milliseconds.
WAIT_S = 1e-3
WAIT_ALONE_S = 10e-3
# After an error that may heal.
RETRY_PAUSE_NS = 500_000_000
# Between two looks whether the loop may answer again.
BLOCKED_PAUSE_NS = 1_000_000

# Takes in records of a partition, in order, for its windows' sake.
Refill = Callable[[Sequence[Record], PartitionState], None]
# Answers records of several partitions, each one's in order.
CatchUp = Callable[[Sequence[Record]], None]


class Rebuilds:
    """The partitions under rebuild. `turn` is called once a turn of the loop."""

    def __init__(
        self,
        client: Client,
        open_reader: Callable[[], Reader],
        restores: StateRestores,
        instruments: Instruments,
        clock: Clock,
    ) -> None:
        """`open_reader` is called when a rebuild begins and none is under way; `restores` what lives beside windows."""
        self._client = client
        self._open_reader = open_reader
        self._restores = restores
        self._instruments = instruments
        self._clock = clock
        self._log = log.get("rebuilds")
        self._under_way: dict[Partition, _Rebuild] = {}
        self._reader: Reader | None = None
        self._record_s = RECORD_S
        self._cut_short = False
        self._due_ns = 0

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._under_way)

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to do for a while."""
        return not self._under_way or self._clock.monotonic_ns() < self._due_ns

    @property
    def is_cut_short(self) -> bool:
        """Whether all have to be taken up anew: one does not hold any more what was being read back."""
        return self._cut_short and not self.is_waiting

    def wants(self, state: PartitionState) -> bool:
        """Whether `state`, just placed, has to be added. If not, it is served from now on."""
        if state.rebuilding or self._restores.wants(state):
            return True
        self._restores.take_up(state)
        return False

    def add(self, state: PartitionState) -> None:
        """Begin with a partition just placed, or placed anew: paused, and its consumer where it is to be answered."""
        if self._reader is None:
            self._reader = self._open_reader()
        self._reader.assign(state.partition, state.position)
        self._under_way[state.partition] = _Rebuild(state, self._clock.monotonic_ns())

    def discard(self, partitions: Collection[Partition]) -> None:
        """`partitions` are not ours any more."""
        self._restores.discard(partitions)
        for partition in partitions:
            rebuild = self._under_way.pop(partition, None)
            if rebuild is not None and (rebuild.answers_until or not rebuild.stands):
                self._reading.drop(partition)
        self._close_if_done()

    def cut_short(self, partition: Partition) -> None:
        """The topic lost records of `partition` that were to be read back, or to be answered after them."""
        self._log.warning("ends before what was answered already", partition=f"{partition.topic}/{partition.number}")
        self._cut_short = True

    def put_off(self, error: BrokerError | RegistryError) -> None:
        """Go on after a pause."""
        self._log.warning("not read back yet", partitions=len(self._under_way), error=str(error))
        self._due_ns = self._clock.monotonic_ns() + RETRY_PAUSE_NS

    def turn(self, is_alone: bool, refill: Refill, catch_up: CatchUp | None, may_answer: bool) -> bool:
        """One slice; whether there was anything. `is_alone`: no other partition is served. Resumes what is complete.

        With `catch_up`, partitions whose windows stand are complete when what had come by then is answered, too;
        `may_answer`: whether the loop could do so now. Raises BrokerError for what will not heal.
        """
        if self.is_waiting or self._cut_short:
            return False
        if catch_up is None:
            self._hand_over([partition for partition, one in self._under_way.items() if one.answers_until])
        elif not may_answer and any(one.answers_until for one in self._under_way.values()):
            self._due_ns = self._clock.monotonic_ns() + BLOCKED_PAUSE_NS
            return False
        moved = False
        try:
            moved = self._read(is_alone, refill, catch_up)
        except OffsetOutOfRangeError as error:
            self._cut_short = True
            self._log.warning("records were deleted while they were read back", error=str(error))
        except (BrokerError, RegistryError) as error:
            if not error.retriable:
                raise
            self.put_off(error)
        self._advance(catches_up=catch_up is not None)
        return moved

    # -- private

    @property
    def _reading(self) -> Reader:
        assert self._reader is not None
        return self._reader

    def _read(self, is_alone: bool, refill: Refill, catch_up: CatchUp | None) -> bool:
        """A slice of what is there, or a short wait for it; whether there was anything."""
        is_reading = any(one.answers_until or not one.stands for one in self._under_way.values())
        wait_s = WAIT_ALONE_S if is_alone else WAIT_S
        restored = self._restores.turn(0.0 if is_reading else wait_s, is_alone)
        if not is_reading:
            return restored
        began_ns = self._clock.monotonic_ns()
        records = self._reading.poll(0.0, self._slice(SLICE_ALONE_S if is_alone else SLICE_S))
        if records:
            self._take(records, refill, catch_up)
            self._learn(len(records), self._clock.monotonic_ns() - began_ns)
            return True
        records = self._reading.poll(0.0 if restored else wait_s, SLICE_RECORDS[0])
        self._take(records, refill, catch_up)
        return restored or bool(records)

    def _take(self, records: Sequence[Record], refill: Refill, catch_up: CatchUp | None) -> None:
        """Hand on what each partition is read for; the last poll of a partition reaches beyond that."""
        by_partition: dict[Partition, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        answered: list[Record] = []
        for partition, found in by_partition.items():
            rebuild = self._under_way.get(partition)
            if rebuild is None or (rebuild.stands and not rebuild.answers_until):
                continue
            end = rebuild.answers_until or rebuild.state.publish_from
            if found[-1].offset >= end:
                found = [record for record in found if record.offset < end]
            if rebuild.answers_until:
                answered += found
            else:
                refill(found, rebuild.state)
                rebuild.records += len(found)
                self._instruments.replayed[partition.topic].add(len(found))
        if answered and catch_up is not None:
            catch_up(answered)

    def _advance(self, catches_up: bool) -> None:
        """Note how far each is, and let those go on that are complete."""
        complete = []
        for partition, rebuild in self._under_way.items():
            state = rebuild.state
            if rebuild.answers_until:
                state.position = max(state.position, min(self._reading.reached(partition), rebuild.answers_until))
                if state.position == rebuild.answers_until:
                    complete.append(partition)
                continue
            if not rebuild.stands and not self._stands(rebuild):
                continue
            if not self._restores.is_done(state):
                continue
            if catches_up and state.end > state.position:
                rebuild.answers_until = state.end
                self._reading.assign(partition, state.position)  # some of it was read, and left
            else:
                complete.append(partition)
        self._hand_over(complete)

    def _stands(self, rebuild: "_Rebuild") -> bool:
        """Whether the windows do now: nothing more is read for them."""
        state = rebuild.state
        state.position = min(self._reading.reached(state.partition), state.publish_from)
        if state.rebuilding:
            return False
        rebuild.stands = True
        self._reading.drop(state.partition)
        self._say_rebuilt(rebuild)
        return True

    def _hand_over(self, partitions: Collection[Partition]) -> None:
        """The group's consumer reads them from here on."""
        for partition in partitions:
            rebuild = self._under_way.pop(partition)
            state = rebuild.state
            if rebuild.answers_until:
                self._reading.drop(partition)
            if state.position > state.publish_from:
                self._client.seek(partition, state.position)
        self._client.resume(partitions)
        self._close_if_done()

    def _say_rebuilt(self, rebuild: "_Rebuild") -> None:
        partition = rebuild.state.partition
        self._log.info(
            "windows rebuilt",
            partition=f"{partition.topic}/{partition.number}",
            symbols=len(rebuild.state.windows),
            records=rebuild.records,
            took_s=round((self._clock.monotonic_ns() - rebuild.began_ns) / 1e9, 3),
        )

    def _close_if_done(self) -> None:
        if not self._under_way and self._reader is not None:
            self._reader.close()
            self._reader = None
            self._cut_short = False

    def _slice(self, seconds: float) -> int:
        least, most = SLICE_RECORDS
        return most if self._record_s * most <= seconds else max(least, int(seconds / self._record_s))

    def _learn(self, records: int, spent_ns: int) -> None:
        self._record_s += LEARNING * (spent_ns / 1e9 / records - self._record_s)


class _Rebuild:
    """One partition's, since when, and how many records it has taken."""

    __slots__ = ("answers_until", "began_ns", "records", "stands", "state")

    def __init__(self, state: PartitionState, began_ns: int) -> None:
        self.state = state
        self.began_ns = began_ns
        self.records = 0
        self.stands = False  # the windows; what lives beside them is put back next
        self.answers_until = 0  # where the windows stand: the end of what is answered before the consumer takes over
