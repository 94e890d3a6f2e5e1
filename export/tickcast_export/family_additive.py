"""The family `additive`: LSTM -> additive self-attention over all hidden states -> Dense.

The carry is the LSTM's state and the attention's sums so far, as online softmax keeps them (Milakov and Gimelshein,
arXiv:1805.02867), but divided: the logarithm of the sum of exp(score), and the mean. The output layer is linear, so the
mean of the hidden states need not be carried: that of their forecasts does, and it is the forecast.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export import every_row as every
from tickcast_export import recurrent
from tickcast_export.attention import AdditiveAttention, Weights, attend, row_by_row, scored
from tickcast_export.family import Carried, Cut, FamilySettings, carry
from tickcast_export.recurrent import constant

TAUGHT_EVERY = 1
ATTENTION = True

# The score of a sum over nothing: far below every score there is, and finite.
NOTHING = -1e30


def core(window: int, features: int, horizons: int, settings: FamilySettings) -> keras.Model:
    """Rows [batch, window, features] -> standardised forecast [batch, horizons]."""
    rows = keras.Input((window, features), name="rows")
    hidden_states = keras.layers.LSTM(settings.units, return_sequences=True, name="lstm")(rows)
    context, _ = AdditiveAttention(settings.attention_units, name="attention")(hidden_states, hidden_states)
    return keras.Model(rows, keras.layers.Dense(horizons, name="output")(context), name="core")


def cut(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Cut:
    """The trained core in two parts.

    Carry: `carry_state` [batch, 5 * units + 1 + 2 * horizons]: the next step's gates as far as they are known, the cell
    state, minus the logarithm of the sum of exp(score), the forecast of the mean hidden state under these weights, and
    the output's bias minus that forecast: the newest row's share of the difference is then one product and one sum.
    """
    lstm, dense = core.get_layer("lstm"), core.get_layer("output")
    units, horizons = recurrent.units_of(lstm), len(scale)
    over_rows, gates, step = (
        recurrent.over_rows(lstm, core.input_shape[-1]),
        recurrent.gates(lstm),
        recurrent.gated_step(lstm),
    )
    score = _score(core)
    output = recurrent.scaled_output(dense, scale)
    kernel, bias = (weights * scale for weights in dense.get_weights())

    def window(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_states, _, _ = over_rows(rows)
        context, shares = attend(row_by_row(score, hidden_states), hidden_states)
        return output(context), shares

    def packed(hidden: tf.Tensor, cell: tf.Tensor, minus_log: tf.Tensor, forecast: tf.Tensor) -> tf.Tensor:
        return tf.concat([gates(hidden), cell, minus_log, forecast, constant(bias) - forecast], axis=1)

    def prefix(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_states, hidden, cell = over_rows(rows)  # [batch, n, units], [batch, units] twice
        scores = tf.squeeze(score(hidden_states), axis=-1)  # [batch, n]
        maximum = tf.reduce_max(scores, axis=1, keepdims=True)
        shares = tf.exp(scores - maximum)
        total = tf.reduce_sum(shares, axis=1, keepdims=True)
        mean = tf.squeeze(tf.matmul(tf.expand_dims(shares, 1), hidden_states), axis=1) / total
        return (packed(hidden, cell, -maximum - tf.math.log(total), output(mean)),)

    def finish(row: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        sigmoids, candidate, cell, minus_log, forecast, opposed = tf.split(
            state, [3 * units, units, units, 1, horizons, horizons], axis=1
        )
        hidden, cell = step(row, sigmoids, candidate, cell)
        apart = score(hidden) + minus_log  # [batch, 1]
        forecast += tf.sigmoid(apart) * (tf.matmul(hidden, constant(kernel)) + opposed)
        return forecast, packed(hidden, cell, minus_log - tf.math.softplus(apart), forecast)

    return Cut((carry("state", 5 * units + 1 + 2 * horizons),), 1, window, prefix, finish)


def carried(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Carried:
    """A window's sum in two: over the items since the last fold, in the state; over what stays of those before, folded.

    Sums of (exp(score), exp(score) * hidden state) are kept as (logarithm, mean): a single item is (score, hidden
    state), nothing overflows, and nothing is ever subtracted, as what leaves was never in the sum that is read. It is a
    queue of two stacks (Tangwongsan, Hirzel and Schneider, "Low-latency sliding-window aggregation in worst-case
    constant time", 2017).
    State [batch, 3 * units + 1]: hidden, cell, newer sum. Item [batch, units + 1].
    """
    lstm = core.get_layer("lstm")
    units = recurrent.units_of(lstm)
    over_rows, stepped = recurrent.over_rows(lstm, core.input_shape[-1]), recurrent.step(lstm)
    score = _score(core)
    output = recurrent.scaled_output(core.get_layer("output"), scale)

    def anchor(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_states, hidden, cell = over_rows(rows)
        scores = score(hidden_states)
        state = tf.concat([hidden, cell, _nothing(hidden)], axis=1)
        return output(attend(scores, hidden_states)[0]), state, _folded(scores, hidden_states)

    def step(row: tf.Tensor, state: tf.Tensor, stays: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, cell, newer_log, newer = tf.split(state, [units, units, 1, units], axis=1)
        older_log, older = tf.split(tf.squeeze(stays, axis=1), [1, units], axis=1)
        hidden, cell = stepped(row, hidden, cell)
        newest = score(hidden)
        apart = newest - newer_log
        newer += tf.sigmoid(apart) * (hidden - newer)
        newer_log = tf.maximum(newest, newer_log) + tf.math.softplus(-tf.abs(apart))
        context = newer + tf.sigmoid(older_log - newer_log) * (older - newer)
        return output(context), tf.concat([hidden, cell, newer_log, newer], axis=1), tf.concat([newest, hidden], axis=1)

    def fold(state: tf.Tensor, ring: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, cell, _ = tf.split(state, [units, units, units + 1], axis=1)
        return tf.concat([hidden, cell, _nothing(hidden)], axis=1), _folded(ring[:, :, :1], ring[:, :, 1:])

    return Carried(3 * units + 1, units + 1, 1, anchor, step, fold)


def every_row(core: keras.Model, rows: tf.Tensor, positions: Sequence[int], settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window, features] -> [batch, positions, horizons]; see `every_row.py`."""
    hidden_states = every.hidden_states(core.get_layer("lstm"), rows)
    attention = core.get_layer("attention")
    scores = attention.V(tf.tanh(attention.W1(hidden_states) + attention.W2(hidden_states)))
    return core.get_layer("output")(every.running_mean(scores, hidden_states, positions))


def stepwise(core: keras.Model, rows: tf.Tensor, settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window + n, features] -> [batch, n + 1, horizons], cell by cell."""
    hidden_states, _ = recurrent.cell_by_cell(core.get_layer("lstm"), rows)
    window = core.input_shape[1]
    attention, output = core.get_layer("attention"), core.get_layer("output")
    rings = [hidden_states[:, end - window : end] for end in range(window, rows.shape[1] + 1)]
    return tf.stack([output(attention(ring, ring)[0]) for ring in rings], axis=1)


def _score(core: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """hidden [..., units] -> [..., 1]; each is its own query."""
    weights = Weights(core.get_layer("attention"))

    def score(hidden: tf.Tensor) -> tf.Tensor:
        return scored(tf.matmul(hidden, constant(weights.values + weights.query)) + constant(weights.bias), weights)

    return score


def _nothing(hidden: tf.Tensor) -> tf.Tensor:
    """The sum over nothing, [batch, units + 1]; shaped like hidden without asking for its shape."""
    return tf.concat([0.0 * hidden[:, :1] + NOTHING, 0.0 * hidden], axis=1)


def _folded(scores: tf.Tensor, hidden_states: tf.Tensor) -> tf.Tensor:
    """scores [batch, n, 1], hidden states [batch, n, units] -> [batch, n, units + 1], item i over all later ones.

    In float64, whose exponents hold any two scores of one network: they differ by at most twice the sum of |V|.
    """
    scores = tf.cast(scores, tf.float64)
    maximum = tf.reduce_max(scores, axis=1, keepdims=True)
    shares = tf.exp(scores - maximum)
    terms = tf.concat([shares, shares * tf.cast(hidden_states, tf.float64)], axis=2)
    sums = tf.cumsum(terms, axis=1, reverse=True)[:, 1:]  # [batch, n - 1, units + 1]
    totals, weighted = sums[:, :, :1], sums[:, :, 1:]
    means = tf.concat([maximum + tf.math.log(totals), weighted / totals], axis=2)
    nothing = tf.constant([[[NOTHING] + [0.0] * int(hidden_states.shape[-1])]], tf.float64)
    return tf.cast(tf.concat([means, 0.0 * terms[:, :1] + nothing], axis=1), tf.float32)
