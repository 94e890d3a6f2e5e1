"""The windows of a shadow: the rows of another bundle over the ticks that the loop has decided about.

Behind the way of a tick, on the shadow's own thread. A shadow may have missed ticks, when it was behind or before it
was there; so it counts for itself how many rows of a symbol it has in a row, and answers where they fill the window.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.engine import Engine
from tickcast.inference import pairs
from tickcast.row_pool import RowPool
from tickcast.windows import Row, SymbolWindow


class Seats(NamedTuple):
    """Of rows, which window each belongs to: its slot in the loop's pool, and how often that was given to somebody."""

    slots: NDArray[np.intp]
    seated: NDArray[np.int64]


class ShadowWindows:
    """One bundle's. Everything but the constructor is called on one thread."""

    def __init__(self, engine: Engine) -> None:
        manifest = engine.bundle.manifest
        self._engine = engine
        self._window = manifest.rules.window
        self._horizons = len(manifest.horizons)
        self._pool = RowPool(self._window, manifest.features)
        self._windows: dict[int, tuple[int, SymbolWindow]] = {}  # slot -> who sits there, and its window here

    def answer(self, rows: Sequence[Row], seats: Seats, due: Sequence[bool]) -> NDArray[np.float32]:
        """Take in `rows`, in the order they were decided: forecasts [rows, horizons], NaN for those without one.

        Those that are `due` have one where their windows are full here, too.
        """
        own, asked = [], []
        for at, (row, slot, seated) in enumerate(zip(rows, seats.slots.tolist(), seats.seated.tolist(), strict=True)):
            window = self._of(slot, seated, row)
            window.count = min(window.count + 1, self._window) if row.position == window.sequence else 1
            window.sequence = row.position + 1
            own.append(Row(window, row.position, row.tick, row.previous, row.current, row.due))
            if due[at] and window.count == self._window:
                asked.append(at)
        features = self._engine.features(pairs(rows))
        windows = self._pool.push_and_gather(own, features, asked)
        forecasts = np.full((len(rows), self._horizons), np.nan, np.float32)
        if asked:
            forecasts[asked] = self._engine.window(windows)
        return forecasts

    def _of(self, slot: int, seated: int, row: Row) -> SymbolWindow:
        known = self._windows.get(slot)
        if known is not None and known[0] == seated:
            return known[1]
        window = SymbolWindow(0, row.tick)
        window.sequence = row.position
        self._windows[slot] = seated, window
        return window
