"""Training: a model of one family from rows of ticks, stopped early, scored against persistence on later ticks.

The core is trained on rows computed once; the whole model, raw ticks to price units, shares its weights.

The loss is the plain squared error of each horizon's change in units of its standard deviation. Nearly all ticks leave
the mid where it was, so a loss that is robust to rare large values (Huber's, absolute error) would aim at the median,
zero, and unlearn what is to be forecast: the mean. What heavy tails do to a single step is bounded by clipping.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tickcast.clock import Clock
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules
from tickcast.windows import NANOSECONDS

from tickcast_export import families
from tickcast_export.dataset import Indices, Rows, Split, changes
from tickcast_export.family import FamilySettings
from tickcast_export.features import COLUMNS, TickFeatures
from tickcast_export.model_card import ModelCard
from tickcast_export.progress import Epoch, Progress
from tickcast_export.scores import Score, against_persistence, mean_ratio

REFERENCE_COLUMNS = ("bid", "ask")
# Enough for statistics to three digits; the rest of a long file would only take memory.
STATISTICS_ROWS_MAX = 1_000_000
STEPS_PER_EPOCH_MAX = 400  # so that early stopping and the progress bar see a long file more often than once a pass
EVALUATION_BATCH = 2_048  # faster by a third than the training batch, without a gradient to keep
SAMPLE_WINDOWS = 256  # real windows that travel with the model, to certify its export by
QUANTILES = np.linspace(0, 1, 21)  # of the reference quantiles: evenly spaced, so that their number says which they are


class TrainingSettings(BaseModel):
    """What to train, how and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = Field("additive", description="one of `families.FAMILIES`")
    network: FamilySettings = FamilySettings()
    horizons: tuple[int, ...] = Field(tuple(range(1, 11)), min_length=1, description="sampled ticks ahead")
    epochs: int = Field(20, ge=1, description="most epochs")
    batch: int = Field(256, ge=1, description="windows per step")
    steps_per_epoch: int | None = Field(None, ge=1, description="default: one pass, at most 400 steps")
    time_budget_s: float | None = Field(None, gt=0, description="fitting ends after this; scoring comes on top")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's, at the start; falls to 0 along half a cosine")
    clip_norm: float = Field(1.0, gt=0, description="longest gradient over all weights")
    patience: int = Field(5, ge=1, description="epochs without a better validation error before stopping")
    validation_windows_max: int = Field(20_480, ge=1, description="most windows, evenly spaced, to validate on")
    test_windows_max: int = Field(200_000, ge=1, description="most windows, evenly spaced, to score the model on")
    seed: int = Field(1, ge=0, description="of the first weights and of the order of windows")


@dataclass(frozen=True)
class Trained:
    """A model with its best weights, and what is known of it."""

    model: keras.Model
    card: ModelCard
    sample_ticks: NDArray[np.float64]  # [n, window + 1, columns], from the validation ticks
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
) -> Trained:
    """Train on `split.train`, choose weights by `split.validation`, score on `split.test`. Raises UsageError.

    The same seed gives the same weights, unless a time budget ends the fitting.
    """
    if rows.columns != COLUMNS:
        raise UsageError(
            f"the families take the columns {', '.join(COLUMNS)}; the ticks have {', '.join(rows.columns)}"
        )
    keras.utils.set_random_seed(settings.seed)
    examples, layer = _examples(rows, split, rules.window, settings.horizons)
    horizons = len(settings.horizons)
    model = families.build(settings.family, rules.window, layer, horizons, examples.scale, settings.network)
    core = families.core_of(model)
    epochs = _Fit(core, examples, split, settings, progress, clock).run()
    test_scores = examples.scores(core, _evenly(split.test, settings.test_windows_max))
    card = ModelCard(
        name=name,
        version=version,
        family=settings.family,
        settings=settings.network,
        rules=rules,
        horizons=settings.horizons,
        reference_columns=REFERENCE_COLUMNS,
        target_scale=float(np.sqrt(np.square(examples.scale).mean())),
        training=_facts(rows, split, settings, epochs, test_scores),
        reference_quantiles=_quantiles(rows, split.train),
        symbols=_symbols(rows, split.train),
    )
    sample_ticks = rows.windows(_evenly(split.validation, SAMPLE_WINDOWS), rules.window)
    return Trained(model, card, sample_ticks, epochs, test_scores)


@dataclass(frozen=True)
class _Examples:
    """What windows are gathered from."""

    features: NDArray[np.float32]  # [rows, features]
    mid: NDArray[np.float64]  # [rows]
    window: int
    horizons: tuple[int, ...]
    scale: NDArray[np.float64]  # [horizons]: standard deviation of the training targets

    def rows(self, ends: Indices) -> NDArray[np.float32]:
        """[n, window, features]"""
        rows: NDArray[np.float32] = self.features[ends[:, None] + np.arange(1 - self.window, 1)]
        return rows

    def targets(self, ends: Indices) -> NDArray[np.float64]:
        """[n, horizons], in price units"""
        return changes(self.mid, ends, self.horizons)

    def standardised(self, ends: Indices) -> NDArray[np.float32]:
        """[n, horizons], in standard deviations"""
        return (self.targets(ends) / self.scale).astype(np.float32)

    def scores(self, core: keras.Model, ends: Indices) -> tuple[Score, ...]:
        """The core's errors over the windows that end at `ends`."""

        def forecast(some: Indices) -> NDArray[np.float64]:
            return np.asarray(core.predict_on_batch(self.rows(some)), np.float64) * self.scale

        return against_persistence(forecast, self.targets, ends, self.horizons, EVALUATION_BATCH)


class _Fit:
    """The loop over epochs. Time is left when neither the steps nor the time budget are used up."""

    def __init__(
        self,
        core: keras.Model,
        examples: _Examples,
        split: Split,
        settings: TrainingSettings,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._core = core
        self._examples = examples
        self._settings = settings
        self._progress = progress
        self._clock = clock
        self._validation = _evenly(split.validation, settings.validation_windows_max)
        self._batch = min(settings.batch, len(split.train))
        one_pass = len(split.train) // self._batch
        self._steps = settings.steps_per_epoch or min(one_pass, STEPS_PER_EPOCH_MAX)
        self._batches = _Batches(split.train, self._batch, np.random.default_rng(settings.seed))
        self._optimizer = keras.optimizers.Adam(settings.learning_rate)
        self._optimizer.build(core.trainable_variables)
        self._step = tf.function(self._descend)
        self._steps_done = 0
        self._started_ns = clock.monotonic_ns()

    def run(self) -> tuple[Epoch, ...]:
        """Fit; the core is left with the weights of the best epoch."""
        epochs: list[Epoch] = []
        best_weights: Any = None
        best = math.inf
        stale = 0
        self._progress.started(self._settings.epochs, self._steps)
        while self._share_done() < 1 and stale < self._settings.patience:
            epoch = self._epoch(len(epochs) + 1, best)
            epochs.append(epoch)
            stale = 0 if epoch.is_best else stale + 1
            if epoch.is_best:
                best, best_weights = epoch.validation_error, self._core.get_weights()
            self._progress.epoch_ended(epoch)
        if best_weights is None:
            raise UsageError("training diverged: no epoch had a finite validation error; try a lower learning rate")
        self._core.set_weights(best_weights)
        self._progress.finished()
        return tuple(epochs)

    def _epoch(self, number: int, best: float) -> Epoch:
        total = tf.zeros(())
        steps = 0
        while steps < self._steps and (steps == 0 or self._share_done() < 1):
            share = self._share_done()
            self._optimizer.learning_rate.assign(self._settings.learning_rate * (1 + math.cos(math.pi * share)) / 2)
            ends = self._batches.next()
            total += self._step(tf.constant(self._examples.rows(ends)), tf.constant(self._examples.standardised(ends)))
            steps += 1
            self._steps_done += 1
            self._progress.stepped(self._share_done())
        error = mean_ratio(self._examples.scores(self._core, self._validation))
        return Epoch(number, self._steps_done * self._batch, float(total) / steps, error, error < best)

    def _descend(self, rows: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """One step on rows [batch, window, features] and standardised targets [batch, horizons]: the batch's error."""
        weights = self._core.trainable_variables
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(self._core(rows, training=True) - targets))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(error, weights), self._settings.clip_norm)
        self._optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return error

    def _share_done(self) -> float:
        """0 to 1: of the steps or of the time budget, whichever is further on."""
        share = self._steps_done / (self._settings.epochs * self._steps)
        if self._settings.time_budget_s is not None:
            elapsed_s = (self._clock.monotonic_ns() - self._started_ns) / NANOSECONDS
            share = max(share, elapsed_s / self._settings.time_budget_s)
        return min(share, 1.0)


class _Batches:
    """Window ends in random order without repeat, over and over; an epoch may be less than one pass."""

    def __init__(self, ends: Indices, batch: int, random: np.random.Generator) -> None:
        self._ends = ends
        self._batch = batch
        self._random = random
        self._order = ends[:0]

    def next(self) -> Indices:
        """[batch]"""
        if len(self._order) < self._batch:
            self._order = self._random.permutation(self._ends)
        taken, self._order = self._order[: self._batch], self._order[self._batch :]
        return taken


def _examples(rows: Rows, split: Split, window: int, horizons: Sequence[int]) -> tuple[_Examples, TickFeatures]:
    """Rows' features normalised, and targets scaled, by what is known at training time only."""
    layer = TickFeatures().adapt(rows.pairs(_evenly(_training_rows(rows, split.train), STATISTICS_ROWS_MAX)))
    mid = rows.mid(REFERENCE_COLUMNS)
    scale = changes(mid, _evenly(split.train, STATISTICS_ROWS_MAX), horizons).std(axis=0)
    if not (scale > 0).all():
        raise UsageError("the mid never moves in the training ticks: there is nothing to learn")
    return _Examples(rows.features(layer), mid, window, tuple(horizons), scale), layer


def _training_rows(rows: Rows, ends: Indices) -> Indices:
    """Rows up to the newest one that a training window ends with."""
    time_ns = rows.ticks.event_time_ns[rows.current]
    return np.flatnonzero(time_ns <= time_ns[ends].max())


def _evenly(places: Indices, most: int) -> Indices:
    """At most `most` of `places`, evenly spaced."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.int64)]


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
        "test_squared_error": [score.squared_error for score in test_scores],
        "test_squared_error_persistence": [score.squared_error_persistence for score in test_scores],
        "test_below_persistence": [score.below_persistence for score in test_scores],
    }


def _quantiles(rows: Rows, ends: Indices) -> dict[str, tuple[float, ...]]:
    """Quantiles of each raw column over training ticks: minimum, every 5 %, maximum."""
    ticks = rows.pairs(_evenly(_training_rows(rows, ends), STATISTICS_ROWS_MAX))[:, 1]
    quantiles = np.quantile(ticks, QUANTILES, axis=0).T
    return {column: tuple(values) for column, values in zip(rows.columns, quantiles.tolist(), strict=True)}


def _symbols(rows: Rows, ends: Indices) -> tuple[str, ...]:
    ids = np.unique(rows.ticks.symbol_ids[rows.current[ends]])
    return tuple(rows.ticks.symbols[i] for i in ids.tolist())
