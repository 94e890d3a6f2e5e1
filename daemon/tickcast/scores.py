"""How good the forecasts turned out: each is compared with what then happened, and so is the guess that nothing would.

Behind the way of a tick. A forecast for h sampled ticks ahead is scored when that tick comes, within one run of its
symbol: no target reaches over a cut. Sums over all symbols, in squares of the bundle's `target_scale`; of so many
symbols that memory stays bounded.
"""

import numpy as np
from numpy.typing import NDArray

from tickcast.board import Board
from tickcast.manifest import Manifest
from tickcast.row_pool import RowPool

# Whose windows came first are scored: of more symbols, a sample. Half a KB each with ten horizons up to ten ticks
# ahead; the farther they look, the more is kept of each symbol, and the fewer these are.
SYMBOLS_MAX = 10_000
BYTES_MAX = 32 << 20
# In units of `target_scale`: beyond it is a broken price, whose square would drown all others for good.
CHANGE_MAX = 1e6

Slots = NDArray[np.intp]
Positions = NDArray[np.int64]


class Scores:
    """The forecasts that wait for their tick, and the sums of those that have seen it."""

    def __init__(self, board: Board, manifest: Manifest, rows: RowPool) -> None:
        """Scores what is a change of the mid, for horizons shorter than the window: only a full one proves the run."""
        horizons = [h for h in manifest.horizons if h < manifest.rules.window] if manifest.reference_columns else []
        self._columns = [manifest.horizons.index(h) for h in horizons]
        self._ahead = np.array(horizons, np.int64)
        self._scale = manifest.target_scale
        self._rows = rows
        self._depth = max(horizons, default=1)
        self._symbols_max = max(1, min(SYMBOLS_MAX, BYTES_MAX // (self._depth * (8 + 4 * len(horizons)))))
        self._mids = np.empty((0, self._depth))
        self._forecasts = np.empty((0, self._depth, len(horizons)), np.float32)
        self._first = np.empty(0, np.int64)  # position of the oldest row of the slot's run
        self._last = np.empty(0, np.int64)  # and of its newest
        self._seated = np.empty(0, np.int64)  # of whom the slot was: see `RowPool.seated`
        labels = [{"horizon": str(h)} for h in horizons]
        self._scored = [board.counter("tickcast_forecasts_scored_total", **each) for each in labels]
        self._squared = [board.counter("tickcast_forecast_squared_error_total", **each) for each in labels]
        self._persistence = [board.counter("tickcast_persistence_squared_error_total", **each) for each in labels]

    def add(
        self, slots: Slots, positions: Positions, mids: NDArray[np.float64], forecasts: NDArray[np.float32]
    ) -> None:
        """Take in rows that filled their windows, a symbol's in order.

        `mids` [n] and `forecasts` [n, horizons] of the bundle are NaN where there is none.
        """
        kept = np.flatnonzero(slots < self._symbols_max)
        if not len(kept) or not self._columns:
            return
        self._make_room(int(slots[kept].max()) + 1)
        order = kept[np.argsort(slots[kept], kind="stable")]  # each symbol's rows beside each other
        slots, positions, mids = slots[order], positions[order], mids[order]
        made = forecasts[order][:, self._columns]
        opens = np.concatenate([[True], slots[1:] != slots[:-1]])  # a symbol's first row
        starts = self._starts(slots, positions, opens)
        then_mids, then_made = self._then(slots, positions, mids, made, np.flatnonzero(opens), opens)
        with np.errstate(over="ignore"):
            happened = mids[:, None] - then_mids
        is_scored = (positions[:, None] - self._ahead >= starts[:, None]) & self._means(happened, then_made)
        self._count(np.where(is_scored, happened, 0.0), np.where(is_scored, then_made, 0.0), is_scored)
        self._keep(slots, positions, starts, mids, made)

    def _starts(self, slots: Slots, positions: Positions, opens: NDArray[np.bool_]) -> Positions:
        """For each row the position of the oldest row of its run: rows without a gap, of one window."""
        before = np.concatenate([positions[:1], positions[:-1]])
        before[opens] = self._last[slots[opens]]
        goes_on = positions == before + 1
        goes_on[opens] &= self._seated[slots[opens]] == self._rows.seated[slots[opens]]
        known = np.where(goes_on, self._first[slots], positions)
        marks = np.where(opens | ~goes_on, np.arange(len(slots)), 0)
        starts: Positions = known[np.maximum.accumulate(marks)]
        return starts

    def _then(
        self,
        slots: Slots,
        positions: Positions,
        mids: NDArray[np.float64],
        made: NDArray[np.float32],
        first_rows: NDArray[np.intp],
        opens: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The mid [n, horizons] so many rows before each, and what was forecast there for it: kept, or among these."""
        horizons, columns = len(self._ahead), np.arange(len(self._ahead))
        place = slots[:, None] * self._depth + (positions[:, None] - self._ahead) % self._depth
        index = np.arange(len(slots))[:, None] - self._ahead
        here = index >= first_rows[np.cumsum(opens) - 1][:, None]
        then_mids = np.where(here, mids.take(index, mode="clip"), self._mids.take(place))
        made_here = made.take(index * horizons + columns, mode="clip")
        return then_mids, np.where(here, made_here, self._forecasts.take(place * horizons + columns))

    def _means(self, happened: NDArray[np.float64], made: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether both are there, and changes that a market could make."""
        change_max = CHANGE_MAX * self._scale
        means: NDArray[np.bool_] = (np.abs(happened) <= change_max) & (np.abs(made) <= change_max)
        return means

    def _count(
        self, happened: NDArray[np.float64], forecast: NDArray[np.float64], is_scored: NDArray[np.bool_]
    ) -> None:
        """Changes [n, horizons], zero where nothing is scored."""
        error, change = (happened - forecast) / self._scale, happened / self._scale
        sums = is_scored.sum(axis=0), np.square(error).sum(axis=0), np.square(change).sum(axis=0)
        for counters, values in zip((self._scored, self._squared, self._persistence), sums, strict=True):
            for counter, value in zip(counters, values.tolist(), strict=True):
                counter.add(value)

    def _keep(
        self,
        slots: Slots,
        positions: Positions,
        starts: Positions,
        mids: NDArray[np.float64],
        made: NDArray[np.float32],
    ) -> None:
        """Where a ring is written over several times, and for a symbol's last row, numpy keeps the last."""
        ring = positions % self._depth
        self._mids[slots, ring] = mids
        self._forecasts[slots, ring] = made
        self._first[slots] = starts
        self._last[slots] = positions
        self._seated[slots] = self._rows.seated[slots]

    def _make_room(self, slots: int) -> None:
        if slots <= len(self._last):
            return
        more = min(max(slots, self._rows.slots), self._symbols_max) - len(self._last)
        self._mids = np.concatenate([self._mids, np.full((more, self._depth), np.nan)])
        blank = np.full((more, *self._forecasts.shape[1:]), np.nan, np.float32)
        self._forecasts = np.concatenate([self._forecasts, blank])
        self._first, self._last, self._seated = (
            np.concatenate([each, np.full(more, -2, np.int64)]) for each in (self._first, self._last, self._seated)
        )
