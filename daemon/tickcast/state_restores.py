"""Live state put back where windows stand again: read from its topic, one partition after the other, in slices.

Stage `commit` of the way of a tick, from the other end; `rebuilds` asks for it before a partition is served. What
cannot be put back begins anew, is counted and said.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Literal

from tickcast import log
from tickcast.board import Board
from tickcast.clients import Client, Partition, Reader
from tickcast.clock import Clock
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, OffsetOutOfRangeError
from tickcast.offers import Offers
from tickcast.partition_state import PartitionState
from tickcast.state_keeper import StateKeeper
from tickcast.state_kept import KeptState
from tickcast.state_reading import FoundSymbol, Reason, StateReading
from tickcast.windows import SymbolWindow

# A slice while ticks of other partitions come, and while none can; some 5 us each.
SLICE_RECORDS = 64
SLICE_RECORDS_ALONE = 1_024
# One question to the broker while the loop stands still.
ANSWER_TIMEOUT_S = 1.0
# After an error that may heal.
RETRY_PAUSE_NS = 500_000_000
# With transactions: another member's, open in the same partition of the topic, hides what was committed behind it. It
# ends soon, as state is sent at a transaction's end.
HIDDEN_NS_MAX = 2_000_000_000

Step = Literal["ask", "read", "apply"]


class StateRestores:
    """The partitions whose live state is being read back. `turn` is called once a turn of the loop."""

    def __init__(
        self,
        config: KafkaConfig,
        client: Client,
        open_reader: Callable[[], Reader],
        keeper: StateKeeper,
        offers: Offers,
        board: Board,
        clock: Clock,
    ) -> None:
        """`open_reader` is called when there is something to read and nothing was."""
        self._client = client
        self._open_reader = open_reader
        self._keeper = keeper
        self._offers = offers
        self._group = config.group_id
        self._in_transactions = config.delivery == "exactly_once"
        self._board = board
        self._clock = clock
        self._log = log.get("state")
        self._waiting: deque[PartitionState] = deque()
        self._done: set[Partition] = set()
        self._current: _Restore | None = None
        self._reader: Reader | None = None
        self._due_ns = 0

    def wants(self, state: PartitionState) -> bool:
        """Whether live state of `state` may be in the topic."""
        return self._keeper.topic is not None and state.has_state

    def take_up(self, state: PartitionState) -> None:
        """Of `state`, which is about to be served, nothing is known: there was no commit, or it was for other rules."""
        self._count(state, 0, Counter())
        self._keeper.take_up(state, {}, ())

    def is_done(self, state: PartitionState) -> bool:
        """Whether `state`, whose windows stand, may be served. Where it may not, its live state is read back now."""
        if not self.wants(state):
            self.take_up(state)
            return True
        if state.partition in self._done:
            self._done.discard(state.partition)
            return True
        is_known = self._current is not None and self._current.reading.state is state
        if not is_known and state not in self._waiting:
            self._waiting.append(state)
        return False

    def discard(self, partitions: Collection[Partition]) -> None:
        """`partitions` are not ours any more, or are read anew: what lives of them is not known now."""
        self._keeper.drop(partitions)
        self._done.difference_update(partitions)
        self._waiting = deque(state for state in self._waiting if state.partition not in partitions)
        if self._current is not None and self._current.reading.state.partition in partitions:
            self._end()

    def turn(self, wait_s: float, is_alone: bool) -> bool:
        """A slice of it, waiting so long for records; whether there was anything to do.

        Raises BrokerError for what will not heal.
        """
        if self._current is None and not self._waiting:
            return False
        if self._clock.monotonic_ns() < self._due_ns:
            self._clock.sleep(wait_s)  # in place of the poll
            return False
        try:
            return self._step(wait_s, SLICE_RECORDS_ALONE if is_alone else SLICE_RECORDS)
        except OffsetOutOfRangeError as error:  # compaction, or a topic made anew: from what it holds now
            self._put_off(error)
            self._again()
        except BrokerError as error:
            if not error.retriable:
                raise
            self._put_off(error)
        return False

    # -- private

    def _step(self, wait_s: float, records_max: int) -> bool:
        if self._current is None:
            self._current = _Restore(StateReading(self._group, self._waiting.popleft()), self._clock.monotonic_ns())
        current = self._current
        if current.step == "ask":
            self._ask(current)
        elif current.step == "read":
            return self._read(current, wait_s, records_max)
        elif not self._apply(current, records_max):
            self._finish(current)
        return True

    def _ask(self, current: "_Restore") -> None:
        """Where its records end. All of ours are there: they were acknowledged before what they were written with."""
        assert self._keeper.topic is not None
        place = self._keeper.topic.place_of(current.reading.state.partition)
        held = self._client.offset_range([place], ANSWER_TIMEOUT_S)[place]
        if self._reader is None:
            self._reader = self._open_reader()
        current.place, current.end, current.step = place, held.end, "read"
        self._reader.assign(place, held.first)

    def _read(self, current: "_Restore", wait_s: float, records_max: int) -> bool:
        assert self._reader is not None
        found = self._reader.poll(wait_s, records_max)
        current.reading.take(found)
        if self._reader.reached(current.place) >= current.end and not self._is_hidden(current):
            self._reader.drop(current.place)
            current.step = "apply"
            current.left = self._usable(current)
        return bool(found)

    def _is_hidden(self, current: "_Restore") -> bool:
        reading = current.reading
        if not self._in_transactions or not reading.records or reading.is_complete:
            return False
        return self._clock.monotonic_ns() - current.begun_ns < HIDDEN_NS_MAX

    def _usable(self, current: "_Restore") -> Iterator[tuple[str, FoundSymbol]]:
        reading = current.reading
        current.reason = reading.missing
        if current.reason is None and reading.partition is not None:
            if reading.partition.rules != self._offers.rules_hash:
                current.reason = "other_rules"
            else:
                self._restore_drift(reading)
        return iter(() if current.reason else reading.symbols.items())

    def _restore_drift(self, reading: StateReading) -> None:
        assert reading.partition is not None
        for kept in self._keeper.kept:
            if kept is not None and kept.drift.watches and (saved := reading.partition.drift.get(kept.sha256)):
                try:
                    kept.drift.restore(reading.state.partition, saved)
                except ValueError as error:
                    self._log.warning("drift begins anew", partition=_name(reading.state), reason=str(error))

    def _apply(self, current: "_Restore", symbols_max: int) -> bool:
        """Put back what so many symbols have; whether there were any left."""
        by_model: list[tuple[list[SymbolWindow], list[bytes]]] = [([], []) for _ in self._keeper.kept]
        taken = list(islice(current.left, symbols_max))
        for symbol, found in taken:
            for place, windows in enumerate(current.reading.state.windows.by_model):
                if (window := windows.window(symbol)) is None:
                    continue
                kept = self._keeper.kept[place]
                if kept is None or not kept.keeps_symbols or (found.record is not None and not found.record.bundle):
                    continue
                if reason := self._objection(kept, window, found):
                    current.reasons[reason] += 1
                    continue
                assert found.record is not None
                by_model[place][0].append(window)
                by_model[place][1].append(found.record.live)
        for kept, (windows_found, lives) in zip(self._keeper.kept, by_model, strict=True):
            if kept is not None and windows_found:
                kept.restore(windows_found, lives)
                current.restored += len(windows_found)
        return bool(taken)

    def _objection(self, kept: KeptState, window: SymbolWindow, found: FoundSymbol) -> Reason | None:
        """Why a symbol's record is of no use for its window."""
        record = found.record
        if record is None or (record.bundle == kept.sha256 and len(record.live) != kept.dtype.itemsize):
            return "unreadable"
        if record.rules != self._offers.rules_hash:
            return "other_rules"
        if record.bundle != kept.sha256:
            return "other_bundle"
        # Of a window without rows the newest one is not known; nor does anything wait in it.
        if window.count and (window.sampled is None or window.sampled.offset != record.newest_row):
            return "other_row"
        return None

    def _finish(self, current: "_Restore") -> None:
        reading, state = current.reading, current.reading.state
        self._keeper.take_up(state, reading.turns, reading.forgotten)
        if current.reason is not None:
            current.reasons[current.reason] = self._with_rows(state)
        anew = self._count(state, current.restored, current.reasons)
        strange = current.reasons.keys() - {"absent"}
        (self._log.warning if strange else self._log.info)(
            "live state restored",
            partition=_name(state),
            symbols=current.restored,
            begun_anew=anew,
            records=reading.records,
            took_s=round((self._clock.monotonic_ns() - current.begun_ns) / 1e9, 3),
        )
        self._done.add(state.partition)
        self._end()

    def _count(self, state: PartitionState, restored: int, reasons: "Counter[Reason]") -> "dict[Reason, int]":
        """Count what came of the symbols of `state`; those that begin anew, by reason."""
        if self._keeper.topic is None:
            return {}
        self._board.counter("tickcast_state_restored_symbols_total").add(restored)
        if absent := max(self._with_rows(state) - restored - sum(reasons.values()), 0):
            reasons["absent"] += absent
        for reason, count in reasons.items():
            self._board.counter("tickcast_state_begun_anew_symbols_total", reason=reason).add(count)
        return {reason: count for reason, count in reasons.items() if count}

    def _with_rows(self, state: PartitionState) -> int:
        """Windows of which something could be known."""
        pairs = zip(self._keeper.kept, state.windows.by_model, strict=True)
        return sum(
            sum(1 for _ in windows.with_rows()) for kept, windows in pairs if kept is not None and kept.keeps_symbols
        )

    def _put_off(self, error: BrokerError) -> None:
        self._log.warning("live state not read back yet", error=str(error))
        self._due_ns = self._clock.monotonic_ns() + RETRY_PAUSE_NS

    def _again(self) -> None:
        """Read what was begun from the start."""
        assert self._current is not None
        state = self._current.reading.state
        self._end()
        self._waiting.appendleft(state)

    def _end(self) -> None:
        if self._reader is not None and self._current is not None and self._current.step == "read":
            self._reader.drop(self._current.place)
        self._current = None
        if not self._waiting and self._reader is not None:
            self._reader.close()
            self._reader = None


class _Restore:
    """One partition's."""

    def __init__(self, reading: StateReading, begun_ns: int) -> None:
        self.reading = reading
        self.begun_ns = begun_ns
        self.step: Step = "ask"
        self.place = reading.state.partition  # until it is asked for: of the topic
        self.end = 0
        self.left: Iterator[tuple[str, FoundSymbol]] = iter(())
        self.restored = 0
        self.reason: Reason | None = None  # why all of it begins anew
        self.reasons: Counter[Reason] = Counter()


def _name(state: PartitionState) -> str:
    return f"{state.partition.topic}/{state.partition.number}"
