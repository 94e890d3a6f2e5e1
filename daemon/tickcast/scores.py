"""How good the forecasts turned out: each is compared with what then happened, and so is the guess that nothing would.

Behind the way of a tick. A forecast for h sampled ticks ahead is scored when that tick comes, within one run of its
symbol: no target reaches over a cut. Sums over all symbols, in squares of the bundle's `target_scale`; of so many
symbols that memory stays bounded. What still waits for its tick can be saved and restored: see `pending_scores.py`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tickcast.board import Board
from tickcast.manifest import Manifest
from tickcast.row_pool import RowPool
from tickcast.score_counters import Counters, ScoreCounters

# Whose windows came first are scored: of more symbols, a sample. Half a KB each with ten horizons up to ten ticks
# ahead; the farther they look, the more is kept of each symbol, and the fewer these are.
SYMBOLS_MAX = 10_000
BYTES_MAX = 32 << 20
# In units of `target_scale`: beyond it is a broken price, whose square would drown all others for good.
CHANGE_MAX = 1e6
# No position: no row follows it, whatever its own.
NO_POSITION = -2

Slots = NDArray[np.intp]
Positions = NDArray[np.int64]
Mids = NDArray[np.float64]
Made = NDArray[np.float32]


class Scores:
    """The forecasts that wait for their tick, and the sums of those that have seen it."""

    def __init__(
        self,
        board: Board,
        manifest: Manifest,
        rows: RowPool,
        counters: Callable[[Board, Sequence[int]], Counters] = ScoreCounters,
    ) -> None:
        """Scores what is a change of the mid, for horizons shorter than the window: only a full one proves the run."""
        horizons = [h for h in manifest.horizons if h < manifest.rules.window] if manifest.reference_columns else []
        self._columns = [manifest.horizons.index(h) for h in horizons]
        self._ahead = np.array(horizons, np.int64)
        self._scale = manifest.target_scale
        self._rows = rows
        self._counters = counters(board, horizons)
        self.bundle = manifest.content_sha256
        self.depth = max(horizons, default=1)
        self.symbols_max = max(1, min(SYMBOLS_MAX, BYTES_MAX // (self.depth * (8 + 4 * len(horizons)))))
        # Rings by position: of the newest `depth` rows of each symbol the mid, and what was made of them.
        self.mids = np.empty((0, self.depth))
        self.made = np.empty((0, self.depth, len(horizons)), np.float32)
        self.first = np.empty(0, np.int64)  # position of the oldest row of the slot's run
        self.last = np.empty(0, np.int64)  # and of its newest
        self.seated = np.empty(0, np.int64)  # of whom the slot was: see `RowPool.seated`

    @property
    def is_kept(self) -> bool:
        """Whether forecasts wait for anything."""
        return bool(self._columns)

    def add(self, slots: Slots, positions: Positions, mids: Mids, forecasts: Made) -> None:
        """Take in rows that filled their windows, a symbol's in order.

        `mids` [n] and `forecasts` [n, horizons] of the bundle are NaN where there is none.
        """
        kept = np.flatnonzero(slots < self.symbols_max)
        if not len(kept) or not self.is_kept:
            return
        self.make_room(int(slots[kept].max()) + 1)
        order = kept[np.argsort(slots[kept], kind="stable")]  # each symbol's rows beside each other
        slots, positions, mids = slots[order], positions[order], mids[order]
        made = forecasts[order][:, self._columns]
        opens = np.concatenate([[True], slots[1:] != slots[:-1]])  # a symbol's first row
        starts = self._starts(slots, positions, opens)
        then_mids, then_made = self._then(slots, positions, mids, made, np.flatnonzero(opens), opens)
        with np.errstate(over="ignore"):
            happened = mids[:, None] - then_mids
        is_scored = (positions[:, None] - self._ahead >= starts[:, None]) & self._means(happened, then_made)
        changes, guesses = np.where(is_scored, happened, 0.0), np.where(is_scored, then_made, 0.0)
        self._counters.count(changes / self._scale, guesses / self._scale, is_scored)
        self._keep(slots, positions, starts, mids, made)

    def who_sits(self, slots: Slots) -> NDArray[np.int64]:
        """How often each of the slots was given to a symbol: by that a later one is told from it."""
        return self._rows.seated[slots]

    def make_room(self, slots: int) -> None:
        """For so many slots."""
        if slots <= len(self.last):
            return
        more = min(max(slots, self._rows.slots), self.symbols_max) - len(self.last)
        self.mids = np.concatenate([self.mids, np.full((more, self.depth), np.nan)])
        self.made = np.concatenate([self.made, np.full((more, *self.made.shape[1:]), np.nan, np.float32)])
        self.first, self.last, self.seated = (
            np.concatenate([each, np.full(more, NO_POSITION, np.int64)])
            for each in (self.first, self.last, self.seated)
        )

    def _starts(self, slots: Slots, positions: Positions, opens: NDArray[np.bool_]) -> Positions:
        """For each row the position of the oldest row of its run: rows without a gap, of one window."""
        before = np.concatenate([positions[:1], positions[:-1]])
        before[opens] = self.last[slots[opens]]
        goes_on = positions == before + 1
        goes_on[opens] &= self.seated[slots[opens]] == self.who_sits(slots[opens])
        known = np.where(goes_on, self.first[slots], positions)
        marks = np.where(opens | ~goes_on, np.arange(len(slots)), 0)
        starts: Positions = known[np.maximum.accumulate(marks)]
        return starts

    def _then(
        self,
        slots: Slots,
        positions: Positions,
        mids: Mids,
        made: Made,
        first_rows: NDArray[np.intp],
        opens: NDArray[np.bool_],
    ) -> tuple[Mids, Made]:
        """The mid [n, horizons] so many rows before each, and what was forecast there for it: kept, or among these."""
        horizons, columns = len(self._ahead), np.arange(len(self._ahead))
        place = slots[:, None] * self.depth + (positions[:, None] - self._ahead) % self.depth
        index = np.arange(len(slots))[:, None] - self._ahead
        here = index >= first_rows[np.cumsum(opens) - 1][:, None]
        then_mids = np.where(here, mids.take(index, mode="clip"), self.mids.take(place))
        made_here = made.take(index * horizons + columns, mode="clip")
        return then_mids, np.where(here, made_here, self.made.take(place * horizons + columns))

    def _means(self, happened: Mids, made: Made) -> NDArray[np.bool_]:
        """Whether both are there, and changes that a market could make."""
        change_max = CHANGE_MAX * self._scale
        means: NDArray[np.bool_] = (np.abs(happened) <= change_max) & (np.abs(made) <= change_max)
        return means

    def _keep(self, slots: Slots, positions: Positions, starts: Positions, mids: Mids, made: Made) -> None:
        """Where a ring is written over several times, and for a symbol's last row, numpy keeps the last."""
        ring = positions % self.depth
        self.mids[slots, ring] = mids
        self.made[slots, ring] = made
        self.first[slots] = starts
        self.last[slots] = positions
        self.seated[slots] = self.who_sits(slots)
