"""Training: a model of one family from rows of ticks, stopped early, scored against persistence on later ticks.

The core is trained on rows computed once; the whole model, raw ticks to price units, shares its weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from tickcast.clock import Clock
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules

from tickcast_export import direction, families, memories, validation_runs
from tickcast_export.checkpoint import Checkpoints
from tickcast_export.dataset import Indices, Rows, Split, changes, evenly
from tickcast_export.direction import Thresholds
from tickcast_export.features import COLUMNS, TickFeatures
from tickcast_export.fitting import Examples, Fit, Lessons, taught
from tickcast_export.model_card import ModelCard
from tickcast_export.progress import Epoch, Progress
from tickcast_export.scores import Score, of_forecasts
from tickcast_export.training_settings import TrainingSettings
from tickcast_export.validation_runs import Runs

REFERENCE_COLUMNS = ("bid", "ask")
# Enough for statistics to three digits; the rest of a long file would only take memory.
STATISTICS_ROWS_MAX = 1_000_000
SAMPLE_WINDOWS = 256  # real windows that travel with the model, to certify its export by
QUANTILES = np.linspace(0, 1, 21)  # of the reference quantiles: evenly spaced, so that their number says which they are


@dataclass(frozen=True)
class Trained:
    """A model with its best weights, and what is known of it."""

    model: keras.Model
    card: ModelCard
    sample_ticks: NDArray[np.float64]  # [n, window + 1, columns], from the validation ticks
    runs: Runs  # of the validation ticks
    epochs: tuple[Epoch, ...]
    test_scores: tuple[Score, ...]


def train(
    rows: Rows,
    split: Split,
    rules: WindowRules,
    settings: TrainingSettings,
    progress: Progress,
    clock: Clock,
    name: str,
    version: str = "1",
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
) -> Trained:
    """Train on `split.train`, choose weights by `split.validation`, score on `split.test`. Raises UsageError.

    The same seed gives the same weights, interrupted and resumed or not, unless a time budget ends the fitting.
    """
    if rows.columns != COLUMNS:
        raise UsageError(
            f"the families take the columns {', '.join(COLUMNS)}; the ticks have {', '.join(rows.columns)}"
        )
    keras.utils.set_random_seed(settings.seed)
    examples, layer = examples_of(rows, split, rules.window, settings.horizons)
    horizons = len(settings.horizons)
    model = families.build(settings.family, rules.window, layer, horizons, examples.scale, settings.network)
    core = families.core_of(model)
    memories.spread(core, rules.window, settings.seed)
    lessons, kept = lessons_of(core, rules.window, settings), checkpoints or Checkpoints(None)
    fit = Fit(core, lessons, examples, split, settings, progress, clock, kept)
    epochs = fit.run(resume)
    ends = evenly(split.test, settings.test_windows_max)
    forecasts, targets = examples.forecasts(core, ends), examples.targets(ends)
    test_scores = of_forecasts(forecasts, targets, settings.horizons)
    tuning = evenly(split.validation, settings.threshold_windows_max)
    thresholds = thresholds_by(examples.forecasts(core, tuning), examples.targets(tuning), examples.spread[tuning])
    card = ModelCard(
        name=name,
        version=version,
        family=settings.family,
        settings=settings.network,
        rules=rules,
        horizons=settings.horizons,
        reference_columns=REFERENCE_COLUMNS,
        target_scale=float(np.sqrt(np.square(examples.scale).mean())),
        training={
            **_facts(rows, split, settings, epochs, test_scores),
            "spans_ns": _spans_ns(rows, split, rules.window, max(settings.horizons)),
            "direction": {
                "horizon": settings.horizons[0],
                **_told(thresholds),
                "test_kappa": agreement(thresholds, forecasts, targets, examples.spread[ends]),
            },
        },
        reference_quantiles=_quantiles(rows, split.train),
        symbols=_symbols(rows, split.train),
    )
    sample_ticks = rows.windows(evenly(split.validation, SAMPLE_WINDOWS), rules.window)
    runs = validation_runs.chosen(rows, split.validation, rules.window)
    return Trained(model, card, sample_ticks, runs, epochs, test_scores)


def examples_of(rows: Rows, split: Split, window: int, horizons: Sequence[int]) -> tuple[Examples, TickFeatures]:
    """Rows' features normalised, and targets scaled, by what is known at training time only."""
    layer = TickFeatures().adapt(rows.pairs(evenly(_training_rows(rows, split.train), STATISTICS_ROWS_MAX)))
    mid = rows.mid(REFERENCE_COLUMNS)
    scale = changes(mid, evenly(split.train, STATISTICS_ROWS_MAX), horizons).std(axis=0)
    if not (scale > 0).all():
        raise UsageError("the mid never moves in the training ticks: there is nothing to learn")
    return Examples(
        rows.features(layer), mid, rows.spread(REFERENCE_COLUMNS), window, tuple(horizons), scale, layer.mirror()
    ), layer


def lessons_of(core: keras.Model, window: int, settings: TrainingSettings) -> Lessons:
    """What a family's core learns from."""
    family = families.FAMILIES[settings.family]
    positions = taught(window, family.TAUGHT_EVERY)
    return Lessons(positions, lambda rows: family.every_row(core, rows, positions, settings.network))


def thresholds_by(
    forecasts: NDArray[np.float64], targets: NDArray[np.float64], spread: NDArray[np.float64]
) -> Thresholds:
    """Of the nearest horizon's direction, with the highest kappa over these [n, horizons] and their mirror image.

    For each side by itself moves are too rare. `spread` [n] is that of the windows' newest ticks.
    """
    told, happened = (np.concatenate([values[:, 0], -values[:, 0]]) for values in (forecasts, targets))
    return direction.tuned(told, happened, np.concatenate([spread, spread]))


def agreement(
    thresholds: Thresholds,
    forecasts: NDArray[np.float64],
    targets: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> float:
    """Cohen's kappa of the nearest horizon's direction, as forecasts [n, horizons] tell it and as it happened."""
    table = np.zeros((3, 3))
    said, happened = thresholds.classes(forecasts[:, 0], spread), direction.happened(targets[:, 0])
    np.add.at(table, (said, happened), 1)
    return float(direction.kappa(table))


def _told(thresholds: Thresholds) -> dict[str, float | None]:
    """As JSON has them: what nothing passes is null."""
    return {name: value if math.isfinite(value) else None for name, value in thresholds._asdict().items()}


def _training_rows(rows: Rows, ends: Indices) -> Indices:
    """Rows up to the newest one that a training window ends with."""
    time_ns = rows.ticks.event_time_ns[rows.current]
    return np.flatnonzero(time_ns <= time_ns[ends].max())


def _facts(
    rows: Rows, split: Split, settings: TrainingSettings, epochs: Sequence[Epoch], test_scores: Sequence[Score]
) -> dict[str, object]:
    """What the model's card, and so its bundle, says of the training."""
    return {
        "settings": settings.model_dump(mode="json", exclude={"family", "network", "horizons"}),
        "ticks": len(rows.ticks),
        "windows": {part: len(ends) for part, ends in split._asdict().items()},
        "epochs": len(epochs),
        "validation_error": min(epoch.validation_error for epoch in epochs),
        "learning_curve": {
            "train_error": [epoch.train_error for epoch in epochs],
            "validation_error": [epoch.validation_error for epoch in epochs],
        },
        "test_squared_error": [score.squared_error for score in test_scores],
        "test_squared_error_persistence": [score.squared_error_persistence for score in test_scores],
        "test_below_persistence": [score.below_persistence for score in test_scores],
    }


def _spans_ns(rows: Rows, split: Split, window: int, horizon: int) -> dict[str, list[int]]:
    """Event times of the first and the last tick of each part, targets included."""
    spans = {part: rows.span_ns(ends, window, horizon) for part, ends in split._asdict().items()}
    return {part: [int(first_ns.min()), int(last_ns.max())] for part, (first_ns, last_ns) in spans.items()}


def _quantiles(rows: Rows, ends: Indices) -> dict[str, tuple[float, ...]]:
    """Quantiles of each raw column over training ticks: minimum, every 5 %, maximum."""
    ticks = rows.pairs(evenly(_training_rows(rows, ends), STATISTICS_ROWS_MAX))[:, 1]
    quantiles = np.quantile(ticks, QUANTILES, axis=0).T
    return {column: tuple(values) for column, values in zip(rows.columns, quantiles.tolist(), strict=True)}


def _symbols(rows: Rows, ends: Indices) -> tuple[str, ...]:
    ids = np.unique(rows.ticks.symbol_ids[rows.current[ends]])
    return tuple(rows.ticks.symbols[i] for i in ids.tolist())
