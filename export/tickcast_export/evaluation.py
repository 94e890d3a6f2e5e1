"""How good a bundle's forecasts are, on recorded ticks, walking forward by day beside baselines fitted to the past.

Behind the way of a tick: what `tickcast evaluate` does. Each test day is worked through by itself and leaves sums over
blocks of windows; statistics over several days are made of those.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tickcast.errors import UsageError

from tickcast_export import baselines, direction, evaluation_scores
from tickcast_export.bootstrap import Array, Tally
from tickcast_export.dataset import Indices, Rows, changes, evenly
from tickcast_export.direction import Thresholds
from tickcast_export.evaluation_features import WindowFeatures
from tickcast_export.evaluation_folds import Exposure, Fold
from tickcast_export.evaluation_scores import MODEL, Drawing, HorizonScores

# Windows, evenly spaced over the validation part, that thresholds are tuned on.
TUNING_WINDOWS_MAX = 100_000


class Forecasts(Protocol):
    """The bundle's."""

    def of(self, ends: Indices, step: Callable[[int], None]) -> Array:
        """Of the windows that end with these rows: [n, horizons], price units; `step` hears of windows done."""


class Steps(Protocol):
    """Hears of the work as it goes."""

    def begin(self, text: str, count: int) -> None:
        """`count` steps of this are to come."""

    def advance(self, count: int = 1) -> None:
        """So many are done."""


@dataclass(frozen=True)
class Question:
    """What is asked of which ticks."""

    rows: Rows
    window: int
    horizons: tuple[int, ...]
    reference_columns: tuple[str, ...]
    half_widths: tuple[float, ...] | None  # by horizon: of the bands that the bundle begins with
    folds: tuple[Fold, ...]
    with_baselines: bool
    drawing: Drawing


@dataclass(frozen=True)
class DayScores:
    """One test day."""

    name: str
    exposure: Exposure
    first_ns: int
    last_ns: int
    earlier_windows: int
    horizons: tuple[HorizonScores, ...]


@dataclass(frozen=True)
class Evaluation:
    """All of it. `pooled` is over the days that count: those the bundle had not seen, or all where there are none."""

    days: tuple[DayScores, ...]
    pooled: tuple[HorizonScores, ...]
    counted: tuple[str, ...]  # names of the days in `pooled`
    exposure: Exposure  # of these

    @property
    def is_unseen(self) -> bool:
        """Whether the pooled figures are of days that the bundle knows nothing of."""
        return self.exposure == "unseen"


def evaluate(question: Question, bundle: Forecasts, steps: Steps) -> Evaluation:
    """Score the bundle on each fold's test day. Raises UsageError where the mid never moves."""
    mid = question.rows.mid(question.reference_columns)
    features = WindowFeatures(question.rows, question.reference_columns, question.window)
    tallies = [_fold(question, fold, mid, features, bundle, steps) for fold in question.folds]
    steps.begin("intervals", (len(tallies) + 1) * len(question.horizons))
    days = [
        DayScores(
            fold.name,
            fold.exposure,
            fold.first_ns,
            fold.last_ns,
            len(fold.earlier),
            tuple(_scores(question, at, [tally], steps) for at, tally in enumerate(of_day)),
        )
        for fold, of_day in zip(question.folds, tallies, strict=True)
    ]
    exposure = _counted([fold.exposure for fold in question.folds])
    counted = [at for at, fold in enumerate(question.folds) if fold.exposure == exposure]
    pooled = [
        _scores(question, at, [tallies[day][at] for day in counted], steps) for at in range(len(question.horizons))
    ]
    return Evaluation(tuple(days), tuple(pooled), tuple(question.folds[at].name for at in counted), exposure)


def _counted(exposures: Sequence[Exposure]) -> Exposure:
    """The days that a verdict is made of: the least known ones."""
    order: tuple[Exposure, ...] = ("unseen", "unknown", "chosen", "trained")
    return min(exposures, key=order.index)


def _fold(
    question: Question, fold: Fold, mid: Array, features: WindowFeatures, bundle: Forecasts, steps: Steps
) -> list[Tally]:
    """The sums of one test day, for each horizon."""

    def targets(ends: Indices) -> Array:
        return changes(mid, ends, question.horizons)

    tuning = evenly(fold.validation, TUNING_WINDOWS_MAX)
    happened = targets(fold.test)
    if not np.square(happened).sum(axis=0).all():
        raise UsageError(f"{fold.name}: the mid never moves: there is nothing to forecast")
    steps.begin(f"{fold.name}: the bundle's forecasts", len(tuning) + len(fold.test))
    tuned, tested = ({MODEL: bundle.of(ends, steps.advance)} for ends in (tuning, fold.test))
    if question.with_baselines:
        steps.begin(f"{fold.name}: baselines", len(question.horizons))
        fitted = baselines.fitted(features, targets, fold, question.drawing.seed, steps.advance)
        tuned |= baselines.forecasts(fitted, features, tuning, question.horizons)
        tested |= baselines.forecasts(fitted, features, fold.test, question.horizons)
    spread = question.rows.spread(question.reference_columns) if len(question.reference_columns) == 2 else None
    thresholds = _thresholds(tuned, targets(tuning), spread[tuning] if spread is not None else None)
    runs = question.rows.run[fold.test]
    return [
        evaluation_scores.tally(
            horizon,
            {name: forecast[:, at] for name, forecast in tested.items()},
            thresholds[at],
            happened[:, at],
            spread[fold.test] if spread is not None else None,
            question.half_widths[at] if question.half_widths else None,
            runs,
        )
        for at, horizon in enumerate(question.horizons)
    ]


def _thresholds(forecasts: Mapping[str, Array], happened: Array, spread: Array | None) -> list[dict[str, Thresholds]]:
    """Of each horizon, each forecaster's, as they serve it best on the validation part."""
    return [
        {name: direction.tuned(forecast[:, at], happened[:, at], spread) for name, forecast in forecasts.items()}
        for at in range(happened.shape[1])
    ]


def _scores(question: Question, at: int, tallies: Sequence[Tally], steps: Steps) -> HorizonScores:
    found = evaluation_scores.scores(question.horizons[at], tallies, question.drawing)
    steps.advance()
    return found
