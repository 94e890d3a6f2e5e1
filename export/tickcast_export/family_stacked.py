"""The family `stacked`: LSTM -> LSTM -> Dense. The carry is both layers' states."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export import recurrent
from tickcast_export.family import Carried, Cut, FamilySettings, carry

ATTENTION = False


def core(window: int, features: int, horizons: int, settings: FamilySettings) -> keras.Model:
    """Rows [batch, window, features] -> standardised forecast [batch, horizons]."""
    rows = keras.Input((window, features), name="rows")
    first = keras.layers.LSTM(settings.units, return_sequences=True, name="first")(rows)
    second = keras.layers.LSTM(settings.second_units, name="second")(first)
    return keras.Model(rows, keras.layers.Dense(horizons, name="output")(second), name="core")


def cut(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Cut:
    """The trained core in two parts; carry `carry_state` [batch, 2 * units + 2 * second units]."""
    first, second = core.get_layer("first"), core.get_layer("second")
    widths = [recurrent.units_of(first)] * 2 + [recurrent.units_of(second)] * 2
    over_first = recurrent.over_rows(first, core.input_shape[-1])
    over_second = recurrent.over_rows(second, widths[0])
    step_first, step_second = recurrent.step(first), recurrent.step(second)
    output = recurrent.scaled_output(core.get_layer("output"), scale)

    def window(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return (output(over_second(over_first(rows)[0])[1]),)

    def prefix(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_states, hidden_first, cell_first = over_first(rows)
        return (tf.concat([hidden_first, cell_first, *over_second(hidden_states)[1:]], axis=1),)

    def finish(row: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_first, cell_first, hidden_second, cell_second = tf.split(state, widths, axis=1)
        hidden_first, cell_first = step_first(row, hidden_first, cell_first)
        hidden_second, cell_second = step_second(hidden_first, hidden_second, cell_second)
        return output(hidden_second), tf.concat([hidden_first, cell_first, hidden_second, cell_second], axis=1)

    return Cut((carry("state", sum(widths)),), 2, window, prefix, finish)


def carried(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Carried:
    """Both layers' states go on; there is no attention and so no ring. `finish` is the step."""
    parts = cut(core, scale, settings)
    output = recurrent.scaled_output(core.get_layer("output"), scale)
    second = recurrent.units_of(core.get_layer("second"))
    (state,) = parts.carry
    width = state.shape[-1]
    assert isinstance(width, int)

    def anchor(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        (packed,) = parts.prefix(rows)
        hidden_second = packed[:, width - 2 * second : width - second]
        return output(hidden_second), packed

    return Carried(width, 0, 0, anchor, parts.finish)


def stepwise(core: keras.Model, rows: tf.Tensor, settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window + n, features] -> [batch, n + 1, horizons], cell by cell."""
    first, _ = recurrent.cell_by_cell(core.get_layer("first"), rows)
    second, _ = recurrent.cell_by_cell(core.get_layer("second"), first)
    return core.get_layer("output")(second[:, core.input_shape[1] - 1 :])
