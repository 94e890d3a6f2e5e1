"""A bundle's own answers to windows of ticks, by its own graphs: what the daemon would have answered, many at a time.

Behind the way of a tick: part of `tickcast evaluate`. Windows go through the window graph, as a backlog does.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tickcast.engine import Engine

from tickcast_export.dataset import Indices, Rows

# Pairs through the feature graph, and windows through the window graph, between two words of progress.
PAIRS = 65_536
WINDOWS = 4_096
# Beside each other: onnxruntime lets go of the interpreter lock. More than a few cores are rarely ours alone.
THREADS_MAX = 8


class BundleForecasts:
    """Forecasts [n, horizons] for windows that end with given rows."""

    def __init__(self, engine: Engine, rows: Rows) -> None:
        """Computes every row's features, once."""
        self._engine = engine
        self._window = engine.bundle.manifest.rules.window
        columns = len(engine.bundle.manifest.columns)  # a foreign bundle may do without the seconds, which stand last
        starts = range(0, len(rows), PAIRS)
        parts = (np.arange(start, min(start + PAIRS, len(rows))) for start in starts)
        pairs = (np.ascontiguousarray(rows.pairs(part)[:, :, :columns]) for part in parts)
        self._rows: NDArray[np.float32] = np.concatenate([engine.features(some) for some in pairs])

    def of(self, ends: Indices, step: Callable[[int], None]) -> NDArray[np.float64]:
        """In price units; `step` hears of so many more windows that are done."""
        made = np.empty((len(ends), len(self._engine.bundle.manifest.horizons)))

        def answer(start: int) -> int:
            some = ends[start : start + WINDOWS]
            made[start : start + len(some)] = self._engine.window(self._windows(some))
            return len(some)

        with ThreadPoolExecutor(min(THREADS_MAX, os.cpu_count() or 1)) as threads:
            for count in threads.map(answer, range(0, len(ends), WINDOWS)):
                step(count)
        return made

    def _windows(self, ends: Indices) -> NDArray[np.float32]:
        windows: NDArray[np.float32] = self._rows[ends[:, None] + np.arange(1 - self._window, 1)]
        return windows
