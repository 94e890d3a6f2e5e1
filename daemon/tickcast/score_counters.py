"""What came of the forecasts, as sums on the board: how far off, to which side, how often within their bands.

Behind the way of a tick. Everything is a counter, so that whoever scrapes them has every figure over any span and of
any set of daemons: mean squared error and that of persistence, bias (absolute errors above less those below), hits of
the direction, coverage. Errors are in units of the bundle's `target_scale`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tickcast.board import Board, Counter

Changes = NDArray[np.float64]
Marks = NDArray[np.bool_]

# Counters of each horizon that `count` adds to.
SUMS = 7


class Counters(Protocol):
    """Whoever counts what came of forecasts."""

    def count(self, changes: Changes, forecasts: Changes, is_scored: Marks) -> None:
        """Changes that happened and that were forecast, both [n, horizons]; zero where nothing is scored."""


class ScoreCounters:
    """The counters of each horizon."""

    def __init__(self, board: Board, horizons: Iterable[int]) -> None:
        labels = [{"horizon": str(horizon)} for horizon in horizons]

        def of_each(metric: str, **more: str) -> list[Counter]:
            return [board.counter(metric, **each, **more) for each in labels]

        self._sums = [
            *of_each("tickcast_forecasts_scored_total"),
            *of_each("tickcast_forecast_squared_error_total"),
            *of_each("tickcast_persistence_squared_error_total"),
            *of_each("tickcast_forecast_absolute_error_total", side="above"),
            *of_each("tickcast_forecast_absolute_error_total", side="below"),
            *of_each("tickcast_forecast_directions_total", result="right"),
            *of_each("tickcast_forecast_directions_total", result="wrong"),
        ]
        self._banded = of_each("tickcast_forecasts_banded_total")
        self._covered = of_each("tickcast_forecasts_covered_total")

    def count(self, changes: Changes, forecasts: Changes, is_scored: Marks) -> None:
        """Changes that happened and that were forecast, both [n, horizons]; zero where nothing is scored."""
        terms = np.empty((SUMS, *changes.shape))
        scored, squared, persistence, above, below, right, wrong = terms
        errors = forecasts - changes
        scored[:] = is_scored
        np.square(errors, out=squared)
        np.square(changes, out=persistence)
        np.maximum(errors, 0.0, out=above)
        np.subtract(above, errors, out=below)
        np.greater(changes * forecasts, 0.0, out=right)
        np.subtract(changes != 0.0, right, out=wrong)
        _add(self._sums, terms.sum(axis=1).ravel())

    def count_bands(self, is_banded: Marks, is_covered: Marks) -> None:
        """Which of the values scored [n, horizons] had a band, and which of these were right to be in it."""
        _add(self._banded, is_banded.sum(axis=0))
        _add(self._covered, is_covered.sum(axis=0))


def _add(counters: Sequence[Counter], amounts: NDArray[np.float64] | NDArray[np.int_]) -> None:
    for counter, amount in zip(counters, amounts.tolist(), strict=True):
        counter.add(amount)
