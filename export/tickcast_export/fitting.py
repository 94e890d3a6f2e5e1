"""The loop of training: random windows in, a core left with the averaged weights of its best epoch.

Every row of a window from its first quarter on gives its own forecast, from the rows up to it; each is a target. One
run over a window so teaches some fifty times what its last row alone would, at the same cost.

The loss is the plain squared error of each horizon's change in units of its standard deviation. Nearly all ticks leave
the mid where it was, so a loss that is robust to rare large values (Huber's, absolute error) would aim at the median,
zero, and unlearn what is to be forecast: the mean. What heavy tails do to a single step is bounded by clipping the
gradient, and what they do to the weights that are kept, by averaging these over many steps.

Windows are drawn evenly, moves or not: drawing more of those that move would forecast more moves than there are. What
makes up for moves being rare is the mirror: half the windows are seen with bid and ask exchanged and prices negated. A
market in which rising and falling are alike has, so seen, twice the moves to learn from, and no drift of the days
trained on is taken for a rule. And each window is seen with all its sizes some per cent larger or smaller: how much
rests in a book differs from day to day, what follows from its shape less.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tickcast.clock import Clock
from tickcast.errors import UsageError
from tickcast.windows import NANOSECONDS

from tickcast_export.checkpoint import Checkpoint, Checkpoints
from tickcast_export.dataset import Indices, Split, changes, evenly
from tickcast_export.descent import Descent, Weights
from tickcast_export.features import SIZE_FEATURES, Mirror
from tickcast_export.progress import Epoch, Progress
from tickcast_export.scores import Score, mean_ratio, of_forecasts
from tickcast_export.training_settings import TrainingSettings

# A pass gives each row the part of a target about once; where the family teaches every row, that is.
STEPS_PER_EPOCH_MAX = 500  # so that early stopping and the progress bar see a long file more often than once a pass
STEPS_PER_EPOCH_MIN = 150  # a short file is passed over oftener, for weights take so many steps to find
EVALUATION_BATCH = 2_048  # faster by a third than the training batch, without a gradient to keep
RESIZED = 0.3  # spread of what is added to a window's logarithms of sizes, in their own standard deviations
UNTAUGHT_SHARE = 0.25  # of a window: its first rows, which know too little of what is before them


class Draw(NamedTuple):
    """Windows of one step, and how they are seen."""

    ends: Indices  # [n]
    mirrored: NDArray[np.bool_]  # [n]
    resized: NDArray[np.float32]  # [n], in standard deviations of logarithms of sizes


@dataclass(frozen=True)
class Examples:
    """What windows are gathered from."""

    features: NDArray[np.float32]  # [rows, features]
    mid: NDArray[np.float64]  # [rows]
    spread: NDArray[np.float64]  # [rows]
    window: int
    horizons: tuple[int, ...]
    scale: NDArray[np.float64]  # [horizons]: standard deviation of the training targets
    mirror: Mirror

    def rows(self, ends: Indices) -> NDArray[np.float32]:
        """[n, window, features]"""
        rows: NDArray[np.float32] = self.features[ends[:, None] + np.arange(1 - self.window, 1)]
        return rows

    def targets(self, ends: Indices) -> NDArray[np.float64]:
        """[n, horizons], in price units"""
        return changes(self.mid, ends, self.horizons)

    def lesson(self, draw: Draw, positions: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows [n, window, features] and standardised targets [n, positions, horizons], as `draw` has them seen."""
        ends, mirrored, resized = draw
        rows = self.rows(ends)
        rows[mirrored] = self.mirror.rows(rows[mirrored])
        rows[:, :, SIZE_FEATURES] += resized[:, None, None]
        at = ends[:, None] + (np.asarray(positions) - (self.window - 1))
        change = self.targets(at.ravel()).reshape(*at.shape, -1) / self.scale
        change[mirrored] *= -1
        return rows, change.astype(np.float32)

    def forecasts(self, core: keras.Model, ends: Indices) -> NDArray[np.float64]:
        """The core's answers to the windows that end at `ends`: [n, horizons], in price units."""
        parts = (ends[start : start + EVALUATION_BATCH] for start in range(0, len(ends), EVALUATION_BATCH))
        answers = [np.asarray(core.predict_on_batch(self.rows(part)), np.float64) for part in parts]
        forecasts: NDArray[np.float64] = np.concatenate(answers) * self.scale
        return forecasts

    def scores(self, core: keras.Model, ends: Indices) -> tuple[Score, ...]:
        """The core's errors over the windows that end at `ends`."""
        return of_forecasts(self.forecasts(core, ends), self.targets(ends), self.horizons)

    def with_window(self, window: int) -> Self:
        """The same of windows of another length."""
        return replace(self, window=window)

    def with_scale(self, scale: NDArray[np.float64]) -> Self:
        """The same in other units."""
        return replace(self, scale=scale)

    def digest(self, split: Split) -> str:
        """Of everything that is learnt from."""
        found = sha256()
        for part in (self.features, self.mid, *split):
            found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()


@dataclass(frozen=True)
class Lessons:
    """What of a window is learnt from."""

    positions: tuple[int, ...]  # rows whose forecasts are, ascending
    forecasts: Callable[[tf.Tensor], tf.Tensor]  # rows [batch, window, features] -> [batch, positions, horizons]


class Fit:
    """The loop over epochs. Time is left when neither the steps nor the time budget are used up."""

    def __init__(
        self,
        core: keras.Model,
        lessons: Lessons,
        examples: Examples,
        split: Split,
        settings: TrainingSettings,
        progress: Progress,
        clock: Clock,
        checkpoints: Checkpoints,
    ) -> None:
        self._core = core
        self._examples = examples
        self._settings = settings
        self._progress = progress
        self._clock = clock
        self._checkpoints = checkpoints
        self._made_by = sha256((settings.model_dump_json() + examples.digest(split)).encode()).hexdigest()
        self._validation = evenly(split.validation, settings.validation_windows_max)
        self._batch = min(settings.batch, len(split.train))
        self._positions = lessons.positions
        one_pass = len(split.train) // (self._batch * len(taught(examples.window, 1)))
        self._steps = settings.steps_per_epoch or min(max(one_pass, STEPS_PER_EPOCH_MIN), STEPS_PER_EPOCH_MAX)
        self._batches = Batches(split.train, self._batch, settings.seed)
        self._descent = Descent(
            core,
            lessons.forecasts,
            settings.clip_norm,
            settings.weight_decay,
            settings.epochs * self._steps,
        )
        self._epochs: list[Epoch] = []
        self._best_weights: Weights = []
        self._steps_done = 0
        self._started_ns = clock.monotonic_ns()

    def run(self, resume: bool = False) -> tuple[Epoch, ...]:
        """Fit; the core is left with the weights of the best epoch. `resume`: go on from the checkpoint."""
        if resume:
            self._restore(self._checkpoints.read(self._made_by))
        self._progress.started(self._settings.epochs, self._steps)
        while self._share_done() < 1 and self._stale() < self._settings.patience:
            epoch = self._epoch(len(self._epochs) + 1)
            self._epochs.append(epoch)
            self._progress.epoch_ended(epoch)
            self._checkpoints.write(self._checkpoint())
        if not self._best_weights:
            raise UsageError("training diverged: no epoch had a finite validation error; try a lower learning rate")
        self._core.set_weights(self._best_weights)
        self._progress.finished()
        self._checkpoints.remove()
        return tuple(self._epochs)

    def _epoch(self, number: int) -> Epoch:
        errors: list[Any] = []  # tensors: read once, after the last step
        while len(errors) < self._steps and (not errors or self._share_done() < 1):
            rate = self._settings.learning_rate * (1 + math.cos(math.pi * self._share_done())) / 2
            rows, targets = self._examples.lesson(self._batches.next(), self._positions)
            errors.append(self._descent.step(rows, targets, self._steps_done, rate))
            self._steps_done += 1
            self._progress.stepped(self._share_done())
        weights, averaged = self._core.get_weights(), self._descent.averaged()
        self._core.set_weights(averaged)
        error = mean_ratio(self._examples.scores(self._core, self._validation))
        self._core.set_weights(weights)
        best = min((epoch.validation_error for epoch in self._epochs if epoch.is_best), default=math.inf)
        if error < best:
            self._best_weights = averaged
        train_error = float(np.mean([float(error) for error in errors]))
        return Epoch(number, self._steps_done * self._batch, train_error, error, error < best)

    def _stale(self) -> int:
        """Epochs since the best one; of those before any was, none count but all diverged."""
        best = max((epoch.number for epoch in self._epochs if epoch.is_best), default=0)
        return len(self._epochs) - best

    def _share_done(self) -> float:
        """0 to 1: of the steps or of the time budget, whichever is further on."""
        share = self._steps_done / (self._settings.epochs * self._steps)
        if self._settings.time_budget_s is not None:
            share = max(share, self._elapsed_ns() / NANOSECONDS / self._settings.time_budget_s)
        return min(share, 1.0)

    def _elapsed_ns(self) -> int:
        return self._clock.monotonic_ns() - self._started_ns

    def _checkpoint(self) -> Checkpoint:
        facts: dict[str, Any] = {
            "epochs": [asdict(epoch) for epoch in self._epochs],
            "steps_done": self._steps_done,
            "elapsed_ns": self._elapsed_ns(),
            "random": self._batches.random.bit_generator.state,
        }
        arrays: dict[str, Sequence[NDArray[Any]]] = {
            **self._descent.state(),
            "best": self._best_weights,
            "order": [self._batches.order],
        }
        return Checkpoint(self._made_by, facts, arrays)

    def _restore(self, checkpoint: Checkpoint) -> None:
        facts, arrays = checkpoint.facts, checkpoint.arrays
        self._epochs = [Epoch(**epoch) for epoch in facts["epochs"]]
        self._steps_done = facts["steps_done"]
        self._started_ns -= facts["elapsed_ns"]
        self._batches.random.bit_generator.state = facts["random"]
        (self._batches.order,) = arrays["order"]
        self._best_weights = list(arrays["best"])
        self._descent.restore({name: list(arrays[name]) for name in ("weights", "averaged", "optimizer")})


class Batches:
    """Windows in random order without repeat, over and over; by chance half are mirrored, and all resized."""

    def __init__(self, ends: Indices, batch: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.order = ends[:0]  # what is left of this round
        self._ends = ends
        self._batch = batch

    def next(self) -> Draw:
        """The next `batch`."""
        if len(self.order) < self._batch:
            self.order = self.random.permutation(self._ends)
        taken, self.order = self.order[: self._batch], self.order[self._batch :]
        mirrored = self.random.random(len(taken)) < 0.5
        return Draw(taken, mirrored, RESIZED * self.random.standard_normal(len(taken), np.float32))


def taught(window: int, every: int) -> tuple[int, ...]:
    """Rows of a window whose forecasts are learnt from: its last, and each `every` before it but the first quarter."""
    return tuple(range(window - 1, int(window * UNTAUGHT_SHARE) - 1, -every))[::-1]
