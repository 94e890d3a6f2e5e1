"""Symbols that come on two partitions of a topic: their windows are each but a part of what they should be.

Stage `windows.push` of the way of a tick. A topic's producer has to key its records by symbol; one that does not, or a
topic that was given more partitions, shows here. Looked at when windows meet a symbol, never for each tick. Nothing is
known of partitions that another daemon owns; the same symbol on another topic is another one.
"""

from collections.abc import Mapping

from tickcast import log
from tickcast.board import Counter
from tickcast.clients import Partition
from tickcast.partition_state import PartitionState

SYMBOLS_NAMED_MAX = 8  # in one line of the log


class SymbolHomes:
    """Looks for the symbols that partitions of `states` have just met on the others."""

    def __init__(self, states: Mapping[Partition, PartitionState], doubled: Counter) -> None:
        self._states = states
        self._doubled = doubled
        self._total = 0
        self._log = log.get("symbols")

    def take_up(self, state: PartitionState) -> None:
        """From now on its windows say whom they meet."""
        state.windows.newcomers = None if state.rebuilding else []  # else they were counted when they came

    def look(self, state: PartitionState) -> None:
        """Count those of its newcomers that another partition remembers, too. Once for each poll with records of it."""
        newcomers = state.windows.newcomers
        if not newcomers:
            return
        state.windows.newcomers = []
        here = state.partition
        others = [
            (there, other.windows)
            for there, other in self._states.items()
            if there.topic == here.topic and there != here and len(other.windows)
        ]
        doubled = {symbol: there for there, windows in others for symbol in newcomers if symbol in windows}
        if doubled:
            self._count(here, doubled)

    def _count(self, here: Partition, doubled: Mapping[str, Partition]) -> None:
        before, self._total = self._total, self._total + len(doubled)
        self._doubled.add(len(doubled))
        if self._total.bit_length() == before.bit_length():
            return  # said when there are twice as many: a topic without keys has all its symbols everywhere
        named = list(doubled.items())[:SYMBOLS_NAMED_MAX]
        self._log.warning(
            "symbols on two partitions, answered from windows that lack what the other one has",
            topic=here.topic,
            partition=here.number,
            symbols={symbol: there.number for symbol, there in named},
            so_far=self._total,
        )
