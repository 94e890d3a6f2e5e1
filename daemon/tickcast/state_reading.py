"""One partition's live state read back: of each symbol the newest record as of the committed offset, or before it.

Stage `commit` of the way of a tick, from the other end. What was written with a commit that was never confirmed is
newer, and passed over. Of symbols whose windows are not remembered only the names are kept.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tickcast.clients import Record
from tickcast.partition_state import PartitionState
from tickcast.state_record import TURNS, Key, PartitionRecord, SymbolRecord, key_of, partition_record, symbol_record

# Names of symbols that nobody remembers: more are cleared after the next start.
FORGOTTEN_MAX = 100_000

# Why what lives of a symbol begins anew; the label of `tickcast_state_begun_anew_symbols_total`.
Reason = Literal["absent", "other_offset", "other_rules", "other_bundle", "other_row", "unreadable"]


Turns = dict[str | None, int]  # symbol, or None for the partition -> one of its keys


class FoundSymbol(NamedTuple):
    """The record that counts: which of the symbol's keys has it. None: what was there is damaged."""

    turn: int
    record: SymbolRecord | None


class StateReading:
    """What the topic says of `state`'s partition. `take` its records in order."""

    def __init__(self, group: str, state: PartitionState) -> None:
        """Windows of `state` stand as of the committed offset, which is its position."""
        self.state = state
        self.records = 0  # of this partition
        self.symbols: dict[str, FoundSymbol] = {}
        self.partition: PartitionRecord | None = None
        self.partition_turn: int | None = None
        self.forgotten: dict[str, int] = {}  # symbols that are not remembered, and their keys with something, as bits
        self.unconfirmed: Turns = {}  # those that are, of which a key has what may not count
        self._group = group
        self._as_of = state.position
        self._damaged = False

    @property
    def turns(self) -> Turns:
        """Of each symbol in the topic, and of the partition, the key that is not to be written next."""
        turns: Turns = {symbol: (turn + 1) % TURNS for symbol, turn in self.unconfirmed.items()}
        turns.update((symbol, found.turn) for symbol, found in self.symbols.items())
        turns.update(dict.fromkeys(self.forgotten, 0))  # of these no key has anything that counts
        if self.partition_turn is not None:
            turns[None] = self.partition_turn
        return turns

    @property
    def is_complete(self) -> bool:
        """Whether all is there that was written with the commit of that offset."""
        return self.partition is not None and self.partition.as_of == self._as_of

    @property
    def missing(self) -> Reason | None:
        """Why none of it can be used, if so."""
        if not self.records:
            return "absent"
        if self.partition is None and self._damaged:
            return "unreadable"
        return None if self.is_complete else "other_offset"

    def take(self, found: Sequence[Record]) -> None:
        """Records of the topic, in order; those of other partitions are passed over."""
        source, group = self.state.partition, self._group
        for each in found:
            key = key_of(each.key)
            if key is None or key.partition != source.number or key.topic != source.topic or key.group != group:
                continue
            self.records += 1
            if key.symbol is None:
                self._take_partition(key, each.value)
            else:
                self._take_symbol(key, key.symbol, each.value)

    # -- private

    def _take_partition(self, key: Key, value: bytes | None) -> None:
        try:
            record = None if value is None else partition_record(value)
        except ValueError:
            self.partition, self._damaged = None, True
            return
        if record is not None and record.as_of <= self._as_of and self._is_newer(record.as_of, self.partition):
            self.partition, self.partition_turn = record, key.turn

    def _take_symbol(self, key: Key, symbol: str, value: bytes | None) -> None:
        if not any(windows.window(symbol) for windows in self.state.windows.by_model):
            self._take_forgotten(key, symbol, value)
            return
        before = self.symbols.get(symbol)
        if value is None:  # it was forgotten; the record that says so may have been compacted away while this was read
            if before is not None and before.turn == key.turn:
                del self.symbols[symbol]
            return
        try:
            record = symbol_record(value)
        except ValueError:
            self.symbols[symbol] = FoundSymbol(key.turn, None)
            return
        if record.as_of > self._as_of:
            self.unconfirmed[symbol] = key.turn
        elif self._is_newer(record.as_of, None if before is None else before.record):
            self.symbols[symbol] = FoundSymbol(key.turn, record)

    def _take_forgotten(self, key: Key, symbol: str, value: bytes | None) -> None:
        keys = self.forgotten.get(symbol, 0)
        if value is None:
            keys &= ~(1 << key.turn)
        elif symbol in self.forgotten or len(self.forgotten) < FORGOTTEN_MAX:
            keys |= 1 << key.turn
        if keys:
            self.forgotten[symbol] = keys
        else:
            self.forgotten.pop(symbol, None)

    @staticmethod
    def _is_newer(as_of: int, before: SymbolRecord | PartitionRecord | None) -> bool:
        return before is None or as_of >= before.as_of
