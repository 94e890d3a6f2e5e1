"""What came of a shadow's forecasts, as sums on the board: beside those of the bundle that answers, by other names.

Behind the way of a tick.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tickcast.board import Board

Changes = NDArray[np.float64]
Marks = NDArray[np.bool_]


class ShadowCounters:
    """The counters of each horizon; as `ScoreCounters`, without what decides nothing."""

    def __init__(self, board: Board, horizons: Iterable[int]) -> None:
        labels = [{"horizon": str(horizon)} for horizon in horizons]
        self._scored = [board.counter("tickcast_shadow_forecasts_scored_total", **each) for each in labels]
        self._squared = [board.counter("tickcast_shadow_squared_error_total", **each) for each in labels]
        self._persistence = [
            board.counter("tickcast_shadow_persistence_squared_error_total", **each) for each in labels
        ]

    def count(self, changes: Changes, forecasts: Changes, is_scored: Marks) -> None:
        """As `ScoreCounters.count`."""
        sums = is_scored.sum(axis=0), np.square(forecasts - changes).sum(axis=0), np.square(changes).sum(axis=0)
        for counters, values in zip((self._scored, self._squared, self._persistence), sums, strict=True):
            for counter, value in zip(counters, values.tolist(), strict=True):
                counter.add(value)
