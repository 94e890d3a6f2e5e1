"""The loop of training: random windows in, a core left with the weights of its best epoch.

The loss is the plain squared error of each horizon's change in units of its standard deviation. Nearly all ticks leave
the mid where it was, so a loss that is robust to rare large values (Huber's, absolute error) would aim at the median,
zero, and unlearn what is to be forecast: the mean. What heavy tails do to a single step is bounded by clipping.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tickcast.clock import Clock
from tickcast.errors import UsageError
from tickcast.windows import NANOSECONDS

from tickcast_export.dataset import Indices, Split, changes, evenly
from tickcast_export.progress import Epoch, Progress
from tickcast_export.scores import Score, against_persistence, mean_ratio
from tickcast_export.training_settings import TrainingSettings

STEPS_PER_EPOCH_MAX = 400  # so that early stopping and the progress bar see a long file more often than once a pass
EVALUATION_BATCH = 2_048  # faster by a third than the training batch, without a gradient to keep


@dataclass(frozen=True)
class Examples:
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


class Fit:
    """The loop over epochs. Time is left when neither the steps nor the time budget are used up."""

    def __init__(
        self,
        core: keras.Model,
        examples: Examples,
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
        self._validation = evenly(split.validation, settings.validation_windows_max)
        self._batch = min(settings.batch, len(split.train))
        one_pass = len(split.train) // self._batch
        self._steps = settings.steps_per_epoch or min(one_pass, STEPS_PER_EPOCH_MAX)
        self._batches = Batches(split.train, self._batch, np.random.default_rng(settings.seed))
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


class Batches:
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
