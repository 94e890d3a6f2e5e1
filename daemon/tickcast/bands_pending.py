"""Forecasts that wait for the tick they are about, and how far off they were when it comes.

Behind the way of a tick. A forecast for h sampled ticks ahead meets its tick within one run of its symbol, as targets
do in training; so only for horizons shorter than the window, as only a full one proves the run.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.intp]
Positions = NDArray[np.int64]

# No position: nothing comes one after it.
NOWHERE = -2


class Pending:
    """The newest mids and forecasts of every slot, as rings of `depth`. Grows with the slots; see `make_room`."""

    def __init__(self, ahead: Sequence[int]) -> None:
        """`ahead`: each forecast's horizons, so many rows."""
        self._ahead = np.array(ahead, np.int64)
        self._columns = np.arange(len(ahead))
        self.depth = max(ahead, default=1)
        self.mids = np.empty((0, self.depth))
        self.forecasts = np.empty((0, self.depth, len(ahead)), np.float32)
        self.first = np.empty(0, np.int64)  # position of the oldest row of the slot's run
        self.last = np.empty(0, np.int64)  # and of its newest

    def make_room(self, slots: int) -> None:
        """For so many slots."""
        if (more := slots - len(self.last)) <= 0:
            return
        self.mids = np.concatenate([self.mids, np.full((more, self.depth), np.nan)])
        blank = np.full((more, *self.forecasts.shape[1:]), np.nan, np.float32)
        self.forecasts = np.concatenate([self.forecasts, blank])
        self.first = np.concatenate([self.first, np.full(more, NOWHERE, np.int64)])
        self.last = np.concatenate([self.last, np.full(more, NOWHERE, np.int64)])

    def forget(self, slots: Slots) -> None:
        """`slots` are other windows' from now on."""
        self.first[slots] = self.last[slots] = NOWHERE
        self.mids[slots] = self.forecasts[slots] = np.nan

    def meet(
        self, slots: Slots, positions: Positions, mids: NDArray[np.float64], forecasts: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Take in rows that filled their windows, sorted by slot, then position; none twice.

        `mids` [n] and `forecasts` [n, horizons] are NaN where there is none. Returns by how much the forecasts made so
        many rows before each were off, [n, horizons]; NaN where there was none in its run.
        """
        index = np.arange(len(slots))
        opens = np.ones(len(slots), np.bool_)  # a slot's first row
        np.not_equal(slots[1:], slots[:-1], out=opens[1:])
        starts = self._starts(slots, positions, opens)
        then = positions[:, None] - self._ahead
        place = then % self.depth + slots[:, None] * self.depth
        here = index[:, None] - self._ahead
        mids_then, made = self.mids.take(place), self.forecasts.take(place * len(self._ahead) + self._columns)
        among = here >= np.maximum.accumulate(np.where(opens, index, 0))[:, None]  # these very rows
        if among.any():
            mids_then[among] = mids[here[among]]
            made[among] = forecasts[here[among], np.broadcast_to(self._columns, here.shape)[among]]
        with np.errstate(over="ignore", invalid="ignore"):
            errors: NDArray[np.float64] = np.abs(mids[:, None] - mids_then - made)
        errors[(then < starts[:, None]) | (errors == np.inf)] = np.nan
        ring = positions % self.depth  # where one is written over several times numpy keeps the last
        self.mids[slots, ring] = mids
        self.forecasts[slots, ring] = forecasts
        self.first[slots] = starts
        self.last[slots] = positions
        return errors

    def _starts(self, slots: Slots, positions: Positions, opens: NDArray[np.bool_]) -> Positions:
        """For each row the position of the oldest row of its run: rows without a gap."""
        before = self.last[slots]
        before[1:][~opens[1:]] = positions[:-1][~opens[1:]]
        is_cut = positions != before + 1
        known = np.where(is_cut, positions, self.first[slots])
        marks = np.where(opens | is_cut, np.arange(len(slots)), 0)
        starts: Positions = known[np.maximum.accumulate(marks)]
        return starts
