"""Live state on its way into its topic: with each commit what changed since the last, as of that commit.

Stage `commit` of the way of a tick. Each symbol's two keys take turns, and a key is written again only when the commit
that went with the other one is confirmed. So whatever becomes of a commit, the topic holds the newest record as of the
offset that is committed, though nobody was told at which offset of the topic it lies.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from tickcast import log, records
from tickcast.board import Board
from tickcast.clients import Committed, Partition
from tickcast.clock import Clock
from tickcast.deliveries import Deliveries, Send
from tickcast.offers import Offers
from tickcast.partition_state import PartitionState
from tickcast.state_kept import Changed, KeptState
from tickcast.state_reading import Turns
from tickcast.state_record import TURNS, VERSION, Key, PartitionRecord, SymbolRecord, sealed
from tickcast.state_topic import StateTopic

# Handed over between two looks at the clock.
RECORDS_AT_ONCE = 16


class _Outgoing(NamedTuple):
    symbol: str | None
    turn: int
    kind: str  # "live", "forgotten"; or "gone": no record any more
    value: bytes | None


class _Taken(NamedTuple):
    """What was taken down of a partition, to be made records one by one."""

    source: Partition
    as_of: int
    rules: str
    lives: list[tuple[KeptState, list[Changed], memoryview]]  # a row each
    forgotten: list[str]  # symbols whose windows were dropped
    gone: list[str]  # symbols of which that was said before
    drift: dict[str, bytes]


class StateKeeper:
    """Writes the live state of the partitions in service; at most one commit's at a time.

    `begin`, then `send` until it says so, then `confirm` when the offsets are committed.
    """

    def __init__(
        self, topic: StateTopic | None, group: str, offers: Offers, deliveries: Deliveries, board: Board, clock: Clock
    ) -> None:
        """Without a topic nothing is kept."""
        self.topic = topic
        self.kept: Sequence[KeptState | None] = ()
        self._group = group
        self._offers = offers
        self._deliveries = deliveries
        self._clock = clock
        self._log = log.get("state")
        self._records = board.counter("tickcast_state_records_total")
        self._bytes = board.counter("tickcast_state_bytes_total")
        # Of the partitions in service each key that holds what is confirmed: the other one is written next.
        self._turns: dict[Partition, Turns] = {}
        # Symbols of which the topic says that nothing is known, as does the restart that finds no record.
        self._forgotten: dict[Partition, set[str]] = {}
        self._taken: deque[tuple[_Taken, Iterator[_Outgoing]]] = deque()
        self._written: list[tuple[Partition, str | None, int, str]] = []  # and not confirmed: symbol, turn, kind

    def adopt(self, kept: Sequence[KeptState | None]) -> None:
        """The bundles that answer from now on, in the configuration's order."""
        self.kept = kept
        for each in kept:
            if each is not None and each.is_too_long:
                self._log.warning(
                    "bands and scores are not kept: a symbol's record would be too long for kafka.batch_bytes_max",
                    sha256=each.sha256,
                    bytes=each.dtype.itemsize,
                )

    @property
    def unconfirmed(self) -> bool:
        """Whether there is a `begin` without its `confirm`."""
        return bool(self._written or self._taken)

    @property
    def handed_over(self) -> bool:
        """Whether all that `begin` took down is with the producer."""
        return not self._taken

    # -- partitions

    def take_up(self, state: PartitionState, turns: Turns, forgotten: Collection[str]) -> None:
        """From now on `state` is in service: windows, and all that is known of them, are as of what is committed.

        `turns` as the topic has them; of the symbols `forgotten`, which are among them, nothing is known any more.
        """
        if self.topic is None:
            return
        self._turns[state.partition] = turns
        self._forgotten[state.partition] = set(forgotten)
        for windows in state.windows.by_model:
            windows.dropped = set()

    def drop(self, partitions: Collection[Partition]) -> None:
        """`partitions` are not ours any more, or are read anew."""
        for partition in partitions:
            self._turns.pop(partition, None)
            self._forgotten.pop(partition, None)
        self._taken = deque(each for each in self._taken if each[0].source not in partitions)
        self._written = [each for each in self._written if each[0] not in partitions]

    # -- commits

    def begin(self, offsets: Mapping[Partition, Committed]) -> None:
        """Take down what changed since the last commit, as of now, for a commit of `offsets`."""
        assert not self.unconfirmed, "one commit at a time"
        states = [self._offers.states[each] for each in offsets if each in self._turns]
        if not states:
            return
        lives: dict[Partition, list[tuple[KeptState, list[Changed], memoryview]]] = {
            each.partition: [] for each in states
        }
        for place, kept in enumerate(self.kept):
            if kept is not None:
                for partition, symbols in kept.changed(states, place).items():
                    if symbols:
                        lives[partition].append((kept, symbols, kept.save(symbols)))
        for state in states:
            taken = self._take_down(state, lives[state.partition])
            self._taken.append((taken, self._records_of(taken)))

    def send(self, send: Send, budget_ns: int) -> None:
        """Hand over what `begin` took down, for so long."""
        assert self.topic is not None
        batch, begun_ns, count, size = self._deliveries.open(), self._clock.monotonic_ns(), 0, 0
        while self._taken:
            (source, as_of, *_), outgoing = self._taken[0]
            place, headers = self.topic.place_of(source).number, records.source_headers(source, as_of)
            for each in outgoing:
                key = Key(self._group, source.topic, source.number, each.turn, each.symbol).encode()
                length = len(each.value or b"")
                batch.sent += 1
                batch.bytes += length
                count, size = count + 1, size + len(key) + length
                self._written.append((source, each.symbol, each.turn, each.kind))
                send(self.topic.name, each.value, key, headers, batch.on_delivery, place)
                if count % RECORDS_AT_ONCE == 0 and self._clock.monotonic_ns() - begun_ns >= budget_ns:
                    break
            else:
                self._taken.popleft()
                continue
            break
        self._records.add(count)
        self._bytes.add(size)

    def confirm(self) -> None:
        """The commit that `begin` was for is known to count."""
        assert self.handed_over
        written, self._written = self._written, []
        for source, symbol, turn, kind in written:
            turns, forgotten = self._turns[source], self._forgotten[source]
            if kind == "gone":
                turns.pop(symbol, None)
                continue
            turns[symbol] = turn
            if symbol is not None and kind == "forgotten":
                forgotten.add(symbol)

    # -- private

    def _take_down(self, state: PartitionState, lives: list[tuple[KeptState, list[Changed], memoryview]]) -> _Taken:
        """Windows that were dropped begin anew should their symbols come back, here and after a restart.

        First that is said, as of this commit; when that is confirmed, both keys are cleared.
        """
        source, turns = state.partition, self._turns[state.partition]
        changed = {each.symbol for _, symbols, _ in lives for each in symbols}
        gone, self._forgotten[source] = self._forgotten[source], set()
        dropped: set[str] = set()
        for windows in state.windows.by_model:
            dropped.update(windows.dropped or ())
            windows.dropped = set()
        forgotten = sorted(symbol for symbol in dropped - changed - gone if symbol in turns)
        drift = {kept.sha256: kept.drift.save(source) for kept in self.kept if kept is not None and kept.drift.watches}
        return _Taken(source, state.position, self._offers.rules_hash, lives, forgotten, sorted(gone - changed), drift)

    def _records_of(self, taken: _Taken) -> Iterator[_Outgoing]:
        """The partition's own comes last: with it, all is there."""
        turns, as_of, rules = self._turns[taken.source], taken.as_of, taken.rules
        for symbol in taken.gone:
            turn = turns[symbol]
            for each in ((turn + 1) % TURNS, turn):  # what was said last goes last
                yield _Outgoing(symbol, each, "gone", None)
        for kept, symbols, rows in taken.lives:
            size, sha256 = kept.dtype.itemsize, kept.sha256
            for at, (symbol, _, newest_row) in enumerate(symbols):
                live = bytes(rows[at * size : (at + 1) * size])
                value = sealed(SymbolRecord(VERSION, as_of, rules, sha256, newest_row, live))
                yield _Outgoing(symbol, _next(turns, symbol), "live", value)
        nothing = sealed(SymbolRecord(VERSION, as_of, rules, "", 0, b""))
        for symbol in taken.forgotten:
            yield _Outgoing(symbol, _next(turns, symbol), "forgotten", nothing)
        value = sealed(PartitionRecord(VERSION, as_of, rules, taken.drift))
        yield _Outgoing(None, _next(turns, None), "live", value)


def _next(turns: Turns, symbol: str | None) -> int:
    """The key to be written: not the one that holds what is confirmed."""
    return (turns.get(symbol, TURNS - 1) + 1) % TURNS
