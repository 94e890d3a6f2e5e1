"""How far a model's forecasts are off, against those of persistence (no change)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from tickcast.errors import UsageError


@dataclass(frozen=True)
class Score:
    """Mean squared errors at one horizon, in squared price units."""

    horizon: int
    squared_error: float
    squared_error_persistence: float

    @property
    def below_persistence(self) -> float:
        """Share of persistence's squared error that the model saves: 0 is none, 1 all, negative is worse."""
        return 1 - self.squared_error / self.squared_error_persistence


def against_persistence(
    forecast: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    targets: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    ends: NDArray[np.int64],
    horizons: Sequence[int],
    batch: int,
) -> tuple[Score, ...]:
    """One score per horizon over the windows that end at `ends`; both functions give [n, horizons] in price units.

    Raises UsageError where the target never moves: persistence would be perfect.
    """
    sums = np.zeros((2, len(horizons)))
    for start in range(0, len(ends), batch):
        some = ends[start : start + batch]
        happened = targets(some)
        sums[0] += np.square(forecast(some) - happened).sum(axis=0)
        sums[1] += np.square(happened).sum(axis=0)
    if not (sums[1] > 0).all():
        raise UsageError("the mid never moves in the ticks to be scored: there is nothing to forecast")
    means = sums / len(ends)
    return tuple(Score(*score) for score in zip(horizons, *means.tolist(), strict=True))


def of_forecasts(
    forecasts: NDArray[np.float64], targets: NDArray[np.float64], horizons: Sequence[int]
) -> tuple[Score, ...]:
    """The same of forecasts that are there already; both [n, horizons], in price units."""
    every = np.arange(len(targets))
    return against_persistence(lambda ends: forecasts[ends], lambda ends: targets[ends], every, horizons, len(targets))


def mean_ratio(scores: Sequence[Score]) -> float:
    """Mean over horizons of squared error / persistence's: what training stops early on; 1 is no better than it."""
    return sum(score.squared_error / score.squared_error_persistence for score in scores) / len(scores)


def table(scores: Sequence[Score], title: str) -> Table:
    """For a terminal."""
    made = Table(title=title)
    for heading in ("ticks ahead", "squared error", "of persistence", "below persistence"):
        made.add_column(heading, justify="right")
    for score in scores:
        errors = (f"{score.squared_error:.4g}", f"{score.squared_error_persistence:.4g}")
        made.add_row(str(score.horizon), *errors, f"{score.below_persistence:.1%}")
    return made
