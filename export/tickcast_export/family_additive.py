"""The family `additive`: LSTM -> additive self-attention over all hidden states -> Dense.

The carry is the LSTM's state and the attention's sums so far, by online softmax (Milakov and Gimelshein,
arXiv:1805.02867): the running maximum of the scores, and the sums of exp(score - maximum) times (1, hidden state).
"""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export import recurrent
from tickcast_export.attention import AdditiveAttention, Weights, attend, scored
from tickcast_export.family import Cut, FamilySettings, carry
from tickcast_export.recurrent import constant

ATTENTION = True


def core(window: int, features: int, horizons: int, settings: FamilySettings) -> keras.Model:
    """Rows [batch, window, features] -> standardised forecast [batch, horizons]."""
    rows = keras.Input((window, features), name="rows")
    hidden_states = keras.layers.LSTM(settings.units, return_sequences=True, name="lstm")(rows)
    context, _ = AdditiveAttention(settings.attention_units, name="attention")(hidden_states, hidden_states)
    return keras.Model(rows, keras.layers.Dense(horizons, name="output")(context), name="core")


def cut(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Cut:
    """The trained core in two parts; carry `carry_state` [batch, 3 * units + 2]: hidden, cell, maximum, sums."""
    lstm = core.get_layer("lstm")
    units = recurrent.units_of(lstm)
    over_rows, step = recurrent.over_rows(lstm, core.input_shape[-1]), recurrent.step(lstm)
    weights = Weights(core.get_layer("attention"))
    output = recurrent.scaled_output(core.get_layer("output"), scale)

    def score(hidden: tf.Tensor) -> tf.Tensor:
        """hidden [..., units] -> [..., 1]; each is its own query."""
        return scored(tf.matmul(hidden, constant(weights.values + weights.query)) + constant(weights.bias), weights)

    def window(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_states, _, _ = over_rows(rows)
        context, shares = attend(score(hidden_states), hidden_states)
        return output(context), shares

    def prefix(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden_states, hidden, cell = over_rows(rows)  # [batch, n, units], [batch, units] twice
        scores = tf.squeeze(score(hidden_states), axis=-1)  # [batch, n]
        maximum = tf.reduce_max(scores, axis=1, keepdims=True)
        shares = tf.exp(scores - maximum)
        weighted = tf.squeeze(tf.matmul(tf.expand_dims(shares, 1), hidden_states), axis=1)
        return (tf.concat([hidden, cell, maximum, tf.reduce_sum(shares, axis=1, keepdims=True), weighted], axis=1),)

    def finish(row: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, cell, maximum, total, weighted = tf.split(state, [units, units, 1, 1, units], axis=1)
        hidden, cell = step(row, hidden, cell)
        newest = score(hidden)  # [batch, 1]
        higher = tf.maximum(maximum, newest)
        kept, share = tf.exp(maximum - higher), tf.exp(newest - higher)
        total = total * kept + share
        weighted = weighted * kept + hidden * share
        return output(weighted / total), tf.concat([hidden, cell, higher, total, weighted], axis=1)

    return Cut((carry("state", 3 * units + 2),), 1, window, prefix, finish)
