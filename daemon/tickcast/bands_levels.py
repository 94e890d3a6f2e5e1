"""Adaptive conformal inference: each symbol's bands grow wider with every miss, narrower with every hit.

Behind the way of a tick. Per symbol and horizon the strain of the band (see `bands_table.py`) goes up by
`GAIN * (miss - (1 - level))` for every forecast that has seen its tick. Over any n of them the share of misses is
therefore off by at most (how far the strain went) / (GAIN * n), whatever the market does. Source: Gibbs, Candes:
Adaptive Conformal Inference Under Distribution Shift, 2021.

Rows of a symbol come in blocks of `BLOCK_ROWS`. The bands of a block know of all ticks before the block before it,
and of none after: what a band knows is a function of the ticks, and what came of them may be worked off when there is
time. Arrays are by slot of the `RowPool`; positions count a symbol's rows.

A miss is one or none, nothing between. Two graphs' forecasts differ in the seventh digit; a miss that grows with the
error would hand such differences on, many times over where errors come in lumps, until nothing is alike. So counted,
an outcome differs once in some ten million, and two symbols' worth of history that differ by one miss are alike again
as soon as an error falls between their bands.
"""

import numpy as np
from numpy.typing import NDArray

from tickcast.bands_pending import Positions, Slots
from tickcast.bands_table import STRAIN_LIMITS, BandTable, HalfWidths

# Measured on a day of quotes and on threefold jumps of volatility: half of it leaves coverage over 2,000 ticks outside
# 88 to 92 % seven times as often; with twice as much the bands of a quiet hour are half as wide again.
GAIN = 0.125
# A level allows so many misses as this, to the nearest multiple of it: with `GAIN` every strain is then a multiple of a
# number that float64 holds exactly, sums of steps are the same in any order, and a restart that learns the same
# outcomes in other portions has the same bands, to the last bit.
ALLOWED_STEP = 2.0**-24
# Fewer rows: worked off in a hurry more often. More: later.
BLOCK_ROWS = 16

_NOW, _NEXT, _NEWEST = range(3)


class Levels:
    """The strains of every slot's bands: of the block it is in, of the next, and with all that is known."""

    def __init__(self, table: BandTable, level: float, ahead: NDArray[np.int64], depth: int) -> None:
        """`ahead` [horizons]; nothing is learnt of forecasts older than `depth` rows."""
        self._table = table
        self._allowed = allowed_misses(level)
        self._ahead = ahead
        self._columns = np.arange(len(ahead))
        self._kept = depth // BLOCK_ROWS + 3  # blocks whose half-widths may be asked for
        self.strains = np.empty((0, 3, len(ahead)))
        self.blocks = np.empty(0, np.int64)  # of each slot's newest row
        self.given = np.empty((0, self._kept, len(ahead)))  # half-widths, a ring of blocks

    def make_room(self, slots: int) -> None:
        """For so many slots."""
        if (more := slots - len(self.blocks)) <= 0:
            return
        self.strains = np.concatenate([self.strains, np.full((more, *self.strains.shape[1:]), self._table.start)])
        self.blocks = np.concatenate([self.blocks, np.zeros(more, np.int64)])
        self.given = np.concatenate([self.given, np.ones((more, *self.given.shape[1:]))])

    def begin(self, slots: Slots, positions: Positions) -> None:
        """Slots, none twice, of windows whose first row that is answered is at `positions`: as the export has it."""
        self.strains[slots] = self._table.start
        self.given[slots] = 1.0
        self.blocks[slots] = positions // BLOCK_ROWS
        self.write(slots)

    def advance(self, slots: Slots, blocks: NDArray[np.int64]) -> Slots:
        """Slots, none twice, whose next row is in `blocks`: all rows before are known. Returns those that moved."""
        ahead = blocks - self.blocks[slots]
        moves = ahead > 0
        moved = slots[moves]
        if len(moved):
            far = (ahead[moves] > 1)[:, None]  # the block between had no row, or all of them are known
            newest = _within(self.strains[moved, _NEWEST], *STRAIN_LIMITS)
            self.strains[moved, _NOW] = np.where(far, newest, self.strains[moved, _NEXT])
            self.strains[moved, _NEXT] = self.strains[moved, _NEWEST] = newest
            self.blocks[moved] = blocks[moves]
            self.write(moved)
        return moved

    def learn(self, slots: Slots, positions: Positions, errors: NDArray[np.float64]) -> tuple[Slots, HalfWidths]:
        """Errors [n, horizons] that showed at these rows, sorted by slot, then position; NaN: none.

        Returns the slots whose block moved, maybe several times, and the half-widths [n, horizons] that were given.
        """
        then = positions[:, None] - self._ahead
        given = self.given[slots[:, None], then // BLOCK_ROWS % self._kept, self._columns]
        steps = (errors > given) - self._allowed  # a miss is 1
        steps[np.isnan(errors)] = 0.0
        blocks = positions // BLOCK_ROWS
        opens = np.ones(len(slots), np.bool_)  # the first row of a block of a slot
        opens[1:] = (slots[1:] != slots[:-1]) | (blocks[1:] != blocks[:-1])
        starts = opens.nonzero()[0]
        sums = GAIN * np.add.reduceat(steps, starts, axis=0)
        return self._add(slots[starts], blocks[starts], sums), given

    def write(self, slots: Slots) -> None:
        """Note the half-widths of the block that each of `slots` is in, and of its next."""
        made = self._table.half_widths(self.strains[slots, :_NEWEST])
        blocks = self.blocks[slots]
        self.given[slots, blocks % self._kept] = made[:, _NOW]
        self.given[slots, (blocks + 1) % self._kept] = made[:, _NEXT]

    def half_widths(self, slots: Slots) -> tuple[HalfWidths, HalfWidths]:
        """Of the block that each of `slots` is in, and of the next."""
        blocks = self.blocks[slots]
        return self.given[slots, blocks % self._kept], self.given[slots, (blocks + 1) % self._kept]

    def _add(self, slots: Slots, blocks: NDArray[np.int64], sums: NDArray[np.float64]) -> Slots:
        """Steps of whole blocks or parts of them, a slot's in order."""
        index = np.arange(len(slots))
        is_later = np.zeros(len(slots), np.bool_)
        np.equal(slots[1:], slots[:-1], out=is_later[1:])
        if not is_later.any():
            moved = self.advance(slots, blocks)
            self.strains[slots, _NEWEST] += sums
            return moved
        rank = index - np.maximum.accumulate(np.where(is_later, 0, index))
        some_moved = []
        for turn in range(int(rank.max()) + 1):
            some = rank == turn
            some_moved.append(self.advance(slots[some], blocks[some]))
            self.strains[slots[some], _NEWEST] += sums[some]
        return np.unique(np.concatenate(some_moved))


def allowed_misses(level: float) -> float:
    """The share of outcomes that bands of `level` may miss."""
    return round((1.0 - level) / ALLOWED_STEP) * ALLOWED_STEP


def _within(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """What `np.clip` gives, in half the time for few values."""
    limited: NDArray[np.float64] = np.minimum(np.maximum(values, low), high)
    return limited
