"""One step of gradient descent as one program, and the weights averaged over the steps.

Before the way of a tick.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Weights = list[NDArray[np.float32]]

# The average forgets: a step counts e times less after this many more. Early on it forgets faster, or the first
# weights, which are random, would stay in it.
AVERAGED_STEPS = 500
AVERAGED_STEPS_FIRST = 10
# XLA makes of an LSTM's many small operations a few: four times as fast on a CPU at small batches, after seconds of
# compiling.
COMPILED_STEPS_MIN = 600
WARM_UP_STEPS = 100  # Adam's first estimates of each weight's spread are of few batches: small steps until then


class Descent:
    """A core on its way down: Adam's steps, and beside it the running average of its weights.

    The average is what is validated and kept: the error of the last weights depends on which rare moves the last
    batches held.
    """

    def __init__(
        self,
        core: keras.Model,
        forecasts: Callable[[tf.Tensor], tf.Tensor],
        clip_norm: float,
        weight_decay: float,
        steps: int,
    ) -> None:
        """`forecasts`: rows [batch, window, features] -> [batch, positions, horizons], by the core's weights; about
        `steps` steps are to come."""
        self._core = core
        self._forecasts = forecasts
        self._clip_norm = clip_norm
        self._optimizer = keras.optimizers.AdamW(weight_decay=weight_decay)
        self._optimizer.exclude_from_weight_decay(var_names=["bias"])
        self._optimizer.build(core.trainable_variables)
        self._averaged = [tf.Variable(weight) for weight in core.get_weights()]
        self._descend = tf.function(self._step, jit_compile=steps >= COMPILED_STEPS_MIN)

    def step(
        self, rows: NDArray[np.float32], targets: NDArray[np.float32], steps_done: int, learning_rate: float
    ) -> tf.Tensor:
        """One step on rows [batch, window, features], targets [batch, positions, horizons]: the batch's error."""
        warm = min(1.0, (steps_done + 1) / WARM_UP_STEPS)
        self._optimizer.learning_rate.assign(learning_rate * warm)
        steps = min(AVERAGED_STEPS, AVERAGED_STEPS_FIRST + steps_done)
        return self._descend(tf.constant(rows), tf.constant(targets), tf.constant(1.0 / steps))

    def averaged(self) -> Weights:
        """The average, as the core takes it."""
        return [weight.numpy() for weight in self._averaged]

    def state(self) -> dict[str, Weights]:
        """What a later `restore` goes on from."""
        return {
            "weights": self._core.get_weights(),
            "averaged": self.averaged(),
            "optimizer": [np.asarray(variable) for variable in self._optimizer.variables],
        }

    def restore(self, state: dict[str, Weights]) -> None:
        """Go on from there."""
        self._core.set_weights(state["weights"])
        for variable, value in zip(self._averaged, state["averaged"], strict=True):
            variable.assign(value)
        for variable, value in zip(self._optimizer.variables, state["optimizer"], strict=True):
            variable.assign(value)

    def _step(self, rows: tf.Tensor, targets: tf.Tensor, newest: tf.Tensor) -> tf.Tensor:
        weights = self._core.trainable_variables
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(self._forecasts(rows) - targets))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(error, weights), self._clip_norm)
        self._optimizer.apply_gradients(zip(gradients, weights, strict=True))
        for averaged, weight in zip(self._averaged, weights, strict=True):
            averaged.assign_add(newest * (weight - averaged))
        return error
