"""Executable specification of the window rules: slow and clear, the oracle for `tickcast.windows`.

`Windows.step(tick)` says what becomes of each tick of one partition; `replay_from()` says where a rebuild may start.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class Tick(NamedTuple):
    offset: int
    symbol: str
    event_time: int
    value: int  # stands for the columns that `on_change` watches
    sequence: int
    market: str = ""  # skip | reset, by the topic's rule for the market state it shows


@dataclass(frozen=True)
class Rules:
    window: int
    replay_records_max: int  # R, in offsets of the partition
    sampling: str = "all"  # all | on_change | grid
    grid: int = 3
    max_gap: int | None = None
    order: str = "accept"  # accept | skip | reset, for event time going backwards
    drop_duplicates: bool = False  # same sequence number as the previous tick
    max_symbols: int | None = None


class Row(NamedTuple):
    offset: int
    previous_sampled: int
    oldest_needed: int  # the tick that decided that the previous one was sampled


@dataclass
class Symbol:
    previous: Tick  # of any fate
    sampled: tuple[int, int] | None = None  # (offset, oldest offset its sampling decision needed)
    rows: deque[Row] = field(default_factory=deque)


class Windows:
    def __init__(self, rules: Rules) -> None:
        self.rules, self.symbols = rules, {}

    def step(self, tick: Tick) -> tuple[str, tuple[Row, ...]]:
        """(fate, window): fate is forecast, warming, duplicate, late, unsampled or off the market.

        Off the market: as if the tick had never come; with `reset`, as if its symbol had not either.
        """
        if tick.market:
            if tick.market == "reset":
                self.symbols.pop(tick.symbol, None)
            return "off_market", ()
        r = self.rules
        self._forget(tick.offset)
        s = self.symbols.get(tick.symbol)
        if s is None:
            if r.max_symbols and len(self.symbols) >= r.max_symbols:
                del self.symbols[min(self.symbols, key=lambda k: self.symbols[k].previous.offset)]
            self.symbols[tick.symbol] = Symbol(tick)
            return "warming", ()
        previous, s.previous = s.previous, tick
        backwards = tick.event_time < previous.event_time
        if r.drop_duplicates and tick.sequence == previous.sequence:
            return "duplicate", ()
        if (backwards and r.order == "reset") or (
            r.max_gap is not None and tick.event_time - previous.event_time > r.max_gap
        ):
            s.rows.clear()
            s.sampled = None
            return "warming", ()
        if backwards and r.order == "skip":
            return "late", ()
        if r.sampling == "on_change" and tick.value == previous.value:
            return "unsampled", ()
        if r.sampling == "grid" and tick.event_time // r.grid == previous.event_time // r.grid:
            return "unsampled", ()
        before, s.sampled = s.sampled, (tick.offset, previous.offset)
        if before is None:
            return "warming", ()
        s.rows.append(Row(tick.offset, *before))
        if len(s.rows) > r.window:
            s.rows.popleft()
        rows = tuple(s.rows)
        return ("forecast" if len(rows) == r.window else "warming"), rows

    def replay_from(self, position: int) -> int:
        """The newest offset from which a rebuild up to `position` (exclusive) is faithful."""
        self._forget(position)
        return min((self._needs(s) for s in self.symbols.values()), default=position)

    def snapshot(self, position: int) -> dict[str, tuple[Row, ...]]:
        self._forget(position)
        return {k: tuple(s.rows) for k, s in self.symbols.items() if s.rows}

    @staticmethod
    def _needs(s: Symbol) -> int:
        return s.rows[0].oldest_needed if s.rows else s.sampled[1] if s.sampled else s.previous.offset

    def _forget(self, position: int) -> None:
        oldest = position - self.rules.replay_records_max
        for key, s in list(self.symbols.items()):
            if s.previous.offset < oldest:
                del self.symbols[key]
                continue
            while s.rows and s.rows[0].oldest_needed < oldest:
                s.rows.popleft()
            if s.sampled and s.sampled[1] < oldest:
                s.sampled = None
