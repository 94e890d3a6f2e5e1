"""Which due ticks are answered when the daemon is behind, and what the forecasts say of those that are not.

Stage `schedule` of the way of a tick. A symbol is behind when one poll brings several of its due ticks: they were there
together, and the newest of them tells most. So nothing is estimated, a poll says it all; and when a backlog fills the
polls, each symbol costs one window a poll. A tick's age counts from its Kafka timestamp: that is when the cluster had
it, and the daemon could; an event time may be the exchange's of long ago, and right all the same.

Skipped ticks make their rows like all others: values never depend on what is skipped, only which ones are told.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tickcast.clients import Record
from tickcast.instruments import Instruments
from tickcast.lag_config import LagConfig
from tickcast.windows import Row, SymbolWindow

FLAG_STALE = "stale"
FLAG_RESUMED = "resumed"

# What a forecast says of this: `skipped_before` and `flags`.
Remark = tuple[int, tuple[str, ...]]
NO_REMARK: Remark = (0, ())


class Remarks(NamedTuple):
    """What the forecasts of one poll have to say."""

    rows: Sequence[Row]
    stale: Collection[int]  # indices of rows that were too old when they came
    skipped: Sequence[int]  # by row: the due ticks its window ever skipped until then; empty: none ever is

    def take(self, index: int) -> Remark:
        """Of the forecast of the row at `index`, which is on its way. Asked once for each, a window's in order."""
        flags: tuple[str, ...] = (FLAG_STALE,) if index in self.stale else ()
        if not self.skipped:
            return 0, flags
        window, skipped = self.rows[index].window, self.skipped[index]
        if window.reported < 0:
            flags = (*flags, FLAG_RESUMED)
        skipped_before = skipped - max(window.reported, 0)
        window.reported = skipped
        return skipped_before, flags


class Lag:
    """Takes back from a poll's due ticks those that are not to be answered."""

    def __init__(self, config: LagConfig, instruments: Instruments) -> None:
        self._latest = config.on_lag == "latest"
        self._skips_stale = config.on_stale == "skip"
        self._skips = config.skips
        self._max_age_ms = config.max_age_ms
        self._skipped = instruments.skipped

    def choose(self, rows: Sequence[Row], records: Sequence[Record], due: list[bool], now_ns: int) -> Remarks:
        """Clear `due` of the rows that get no answer. Rows, their records and `due` are a poll's, received at `now_ns`.

        A symbol's newest due tick is chosen first: where that is stale, no older one stands in for it.
        """
        stale = self._stale(records, due, now_ns)
        if not self._skips:
            return Remarks(rows, stale, ())
        passed = self._passed(rows, due)
        late = stale - passed if self._skips_stale else frozenset[int]()
        skipped = []
        for index, row in enumerate(rows):
            if index in passed or index in late:
                due[index] = False
                row.window.skipped += 1
            skipped.append(row.window.skipped)
        self._skipped["latest"].add(len(passed))
        self._skipped["stale"].add(len(late))
        return Remarks(rows, stale, skipped)

    def _stale(self, records: Sequence[Record], due: Sequence[bool], now_ns: int) -> frozenset[int]:
        if not self._max_age_ms:
            return frozenset()
        oldest_ms = now_ns // 1_000_000 - self._max_age_ms
        return frozenset(at for at, record in enumerate(records) if due[at] and record.timestamp_ms < oldest_ms)

    def _passed(self, rows: Sequence[Row], due: Sequence[bool]) -> frozenset[int]:
        """Due rows that a later one of their window has overtaken within the poll."""
        if not self._latest:
            return frozenset()
        newest: dict[SymbolWindow, int] = {row.window: at for at, row in enumerate(rows) if due[at]}
        return frozenset(at for at, row in enumerate(rows) if due[at] and newest[row.window] != at)
