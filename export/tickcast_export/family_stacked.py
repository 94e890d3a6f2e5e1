"""The family `stacked`: LSTM -> LSTM -> Dense.

The carry is what both layers' hidden states give to the next step's gates, and their cell states.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export import every_row as every
from tickcast_export import recurrent
from tickcast_export.family import Carried, Cut, FamilySettings, carry

TAUGHT_EVERY = 1
ATTENTION = False


def core(window: int, features: int, horizons: int, settings: FamilySettings) -> keras.Model:
    """Rows [batch, window, features] -> standardised forecast [batch, horizons]."""
    rows = keras.Input((window, features), name="rows")
    first = keras.layers.LSTM(settings.units, return_sequences=True, name="first")(rows)
    second = keras.layers.LSTM(settings.second_units, name="second")(first)
    return keras.Model(rows, keras.layers.Dense(horizons, name="output")(second), name="core")


def cut(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Cut:
    """The trained core in two parts; carry `carry_state` [batch, 5 * units + 5 * second units]: gates and cell, twice.

    The gates of the next step, as far as they are known.
    """
    parts = _Parts(core, scale)
    units, second = parts.units, parts.second_units
    gates_first, gates_second = recurrent.gates(parts.first), recurrent.gates(parts.second)
    step_first, step_second = recurrent.gated_step(parts.first), recurrent.gated_step(parts.second)
    widths = [3 * units, units, units, 3 * second, second, second]

    def window(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return (parts.output(parts.over_rows(rows)[2]),)

    def packed(states: Sequence[tf.Tensor]) -> tf.Tensor:
        hidden_first, cell_first, hidden_second, cell_second = states
        return tf.concat([gates_first(hidden_first), cell_first, gates_second(hidden_second), cell_second], axis=1)

    def prefix(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return (packed(parts.over_rows(rows)),)

    def finish(row: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        gates = tf.split(state, widths, axis=1)
        hidden_first, cell_first = step_first(row, *gates[:3])
        hidden_second, cell_second = step_second(hidden_first, *gates[3:])
        return parts.output(hidden_second), packed((hidden_first, cell_first, hidden_second, cell_second))

    return Cut((carry("state", sum(widths)),), 2, window, prefix, finish)


def carried(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Carried:
    """Both layers' states go on; there is no attention and so no ring. State: hidden and cell, twice."""
    parts = _Parts(core, scale)
    widths = [parts.units] * 2 + [parts.second_units] * 2
    step_first, step_second = recurrent.step(parts.first), recurrent.step(parts.second)

    def anchor(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        states = parts.over_rows(rows)
        return parts.output(states[2]), tf.concat(states, axis=1)

    def step(row: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_first, cell_first, hidden_second, cell_second = tf.split(state, widths, axis=1)
        hidden_first, cell_first = step_first(row, hidden_first, cell_first)
        hidden_second, cell_second = step_second(hidden_first, hidden_second, cell_second)
        return parts.output(hidden_second), tf.concat([hidden_first, cell_first, hidden_second, cell_second], axis=1)

    return Carried(sum(widths), 0, 0, anchor, step)


def every_row(core: keras.Model, rows: tf.Tensor, positions: Sequence[int], settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window, features] -> [batch, positions, horizons]; see `every_row.py`."""
    first, second = (core.get_layer(name) for name in ("first", "second"))
    hidden_states = every.hidden_states(second, every.hidden_states(first, rows))
    return core.get_layer("output")(tf.gather(hidden_states, positions, axis=1))


def stepwise(core: keras.Model, rows: tf.Tensor, settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window + n, features] -> [batch, n + 1, horizons], cell by cell."""
    first, _ = recurrent.cell_by_cell(core.get_layer("first"), rows)
    second, _ = recurrent.cell_by_cell(core.get_layer("second"), first)
    return core.get_layer("output")(second[:, core.input_shape[1] - 1 :])


class _Parts:
    """The trained layers as functions of tensors."""

    def __init__(self, core: keras.Model, scale: NDArray[np.float32]) -> None:
        self.first, self.second = core.get_layer("first"), core.get_layer("second")
        self.units, self.second_units = recurrent.units_of(self.first), recurrent.units_of(self.second)
        self.output = recurrent.scaled_output(core.get_layer("output"), scale)
        self._over_first = recurrent.over_rows(self.first, core.input_shape[-1])
        self._over_second = recurrent.over_rows(self.second, self.units)

    def over_rows(self, rows: tf.Tensor) -> list[tf.Tensor]:
        """Rows [batch, n, features] -> last hidden and cell state of the first layer, then of the second."""
        hidden_states, *first = self._over_first(rows)
        return [*first, *self._over_second(hidden_states)[1:]]
