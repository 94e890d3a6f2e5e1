"""The family `seq2seq`: encoder LSTM; a one-step decoder LSTM; Bahdanau attention; Dense on context and decoder state.

The decoder's state queries the encoder's states. The query comes with the newest row, so the carry is the encoder's
state, every encoder state so far and its product with W1.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export import every_row as every
from tickcast_export import recurrent
from tickcast_export.attention import AdditiveAttention, Weights, attend, scored
from tickcast_export.family import Carried, Cut, FamilySettings, carry
from tickcast_export.recurrent import constant

TAUGHT_EVERY = 4  # each costs a decoder step and scores of all rows before it
ATTENTION = True


def core(window: int, features: int, horizons: int, settings: FamilySettings) -> keras.Model:
    """Rows [batch, window, features] -> standardised forecast [batch, horizons]."""
    rows = keras.Input((window, features), name="rows")
    encoder = keras.layers.LSTM(settings.units, return_sequences=True, return_state=True, name="encoder")
    encoded, hidden, cell = encoder(rows)
    newest = rows[:, -1:]
    decoder = keras.layers.LSTM(settings.units, name="decoder")
    decoded = decoder(
        newest if settings.decoder_input == "newest" else keras.ops.zeros_like(newest),
        initial_state=[hidden, cell] if settings.decoder_start == "encoder" else None,
    )
    query = keras.layers.Reshape((1, settings.units), name="query")(decoded)
    context, _ = AdditiveAttention(settings.attention_units, name="attention")(encoded, query)
    both = keras.layers.Concatenate(name="context_and_decoder")([context, decoded])
    return keras.Model(rows, keras.layers.Dense(horizons, name="output")(both), name="core")


def cut(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Cut:
    """The trained core in two parts.

    Carry: `carry_state` [batch, 5 * units], what the encoder's hidden state gives to its next step's gates, and its
    cell state; `carry_encoded` [batch, rows, units], its hidden states; `carry_keys` [batch, rows, attention units],
    their products with W1.
    """
    parts = _Parts(core, scale, settings)
    units, over_rows, keys_of = parts.units, parts.over_rows, parts.keys_of
    encoder = core.get_layer("encoder")
    gates, step = recurrent.gates(encoder), recurrent.gated_step(encoder)

    def window(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, hidden, cell = over_rows(rows)
        return parts.answer(rows[:, -1], (hidden, cell), encoded, keys_of(encoded))

    def prefix(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, hidden, cell = over_rows(rows)
        return tf.concat([gates(hidden), cell], axis=1), encoded, keys_of(encoded)

    def finish(row: tf.Tensor, state: tf.Tensor, encoded: tf.Tensor, keys: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, cell = step(row, *tf.split(state, [3 * units, units, units], axis=1))
        encoded = tf.concat([encoded, tf.expand_dims(hidden, 1)], axis=1)
        keys = tf.concat([keys, tf.expand_dims(keys_of(hidden), 1)], axis=1)
        forecast, _ = parts.answer(row, (hidden, cell), encoded, keys)
        return forecast, tf.concat([gates(hidden), cell], axis=1), encoded, keys

    return Cut(
        (carry("state", 5 * units), carry("encoded", "rows", units), carry("keys", "rows", parts.weights.units)),
        1,
        window,
        prefix,
        finish,
    )


def carried(core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Carried:
    """The decoder's query comes with the newest row, so every step reads the whole ring.

    State [batch, 2 * units]: the encoder's. Item [batch, units + attention units]: its hidden state, and that times W1.
    """
    parts = _Parts(core, scale, settings)
    units, item = parts.units, parts.units + parts.weights.units

    def anchor(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, hidden, cell = parts.over_rows(rows)
        keys = parts.keys_of(encoded)
        forecast, _ = parts.answer(rows[:, -1], (hidden, cell), encoded, keys)
        return forecast, tf.concat([hidden, cell], axis=1), tf.concat([encoded, keys], axis=2)

    def step(row: tf.Tensor, state: tf.Tensor, stays: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, cell = parts.step(row, *tf.split(state, [units, units], axis=1))
        newest = tf.concat([hidden, parts.keys_of(hidden)], axis=1)
        decoded, query = parts.decoded(row, hidden, cell)
        scores = scored(stays[:, :, units:] + tf.expand_dims(query, 1), parts.weights)  # [batch, window - 1, 1]
        scores = tf.concat([scores, tf.expand_dims(scored(newest[:, units:] + query, parts.weights), 1)], axis=1)
        shares = tf.nn.softmax(tf.squeeze(scores, axis=-1), axis=1)  # [batch, window]
        # Over whole items, keys included: less work than a copy of the hidden states to leave them out.
        stay = tf.squeeze(tf.matmul(tf.expand_dims(shares[:, :-1], 1), stays), axis=1)
        context = stay[:, :units] + shares[:, -1:] * hidden
        return parts.output(tf.concat([context, decoded], axis=1)), tf.concat([hidden, cell], axis=1), newest

    return Carried(2 * units, item, int(core.input_shape[1]) - 1, anchor, step)


def every_row(core: keras.Model, rows: tf.Tensor, positions: Sequence[int], settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window, features] -> [batch, positions, horizons]; see `every_row.py`."""
    encoded, cells = every.hidden_and_cells(core.get_layer("encoder"), rows)
    attention, decoder = core.get_layer("attention"), core.get_layer("decoder")
    at = [tf.gather(states, positions, axis=1) for states in (rows, encoded, cells)]
    flat = [tf.reshape(states, [-1, states.shape[-1]]) for states in at]  # [batch * positions, ...]
    row, hidden, cell = decoder_start(settings, *flat)
    _, (decoded, _) = decoder.cell(row, [hidden, cell])
    decoded = tf.reshape(decoded, tf.shape(at[1]))  # [batch, positions, units]
    keys, queries = attention.W1(encoded)[:, None], attention.W2(decoded)[:, :, None]
    scores = tf.squeeze(attention.V(tf.tanh(keys + queries)), axis=-1)  # [batch, positions, window]
    context = every.asked_mean(scores, encoded, positions)
    return core.get_layer("output")(tf.concat([context, decoded], axis=-1))


def stepwise(core: keras.Model, rows: tf.Tensor, settings: FamilySettings) -> tf.Tensor:
    """rows [batch, window + n, features] -> [batch, n + 1, horizons], cell by cell."""
    encoded, cells = recurrent.cell_by_cell(core.get_layer("encoder"), rows)
    decoder, attention, output = (core.get_layer(name) for name in ("decoder", "attention", "output"))
    forecasts, window = [], core.input_shape[1]
    for end in range(window, rows.shape[1] + 1):
        row, hidden, cell = decoder_start(settings, rows[:, end - 1], encoded[:, end - 1], cells[:, end - 1])
        _, (decoded, _) = decoder.cell(row, [hidden, cell])
        context, _ = attention(encoded[:, end - window : end], tf.expand_dims(decoded, 1))
        forecasts.append(output(tf.concat([context, decoded], axis=1)))
    return tf.stack(forecasts, axis=1)


def decoder_start(settings: FamilySettings, *tensors: tf.Tensor) -> list[tf.Tensor]:
    """The decoder's row, hidden, cell of the encoder's: each itself or zeros of its shape, as the settings say."""
    kept = [settings.decoder_input == "newest"] + [settings.decoder_start == "encoder"] * 2
    return [tensor if keep else 0.0 * tensor for tensor, keep in zip(tensors, kept, strict=True)]


class _Parts:
    """The trained layers as functions of tensors."""

    def __init__(self, core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> None:
        encoder = core.get_layer("encoder")
        self.units = recurrent.units_of(encoder)
        self.over_rows, self.step = recurrent.over_rows(encoder, core.input_shape[-1]), recurrent.step(encoder)
        self.weights = Weights(core.get_layer("attention"))
        self.output = recurrent.scaled_output(core.get_layer("output"), scale)
        self._decode = recurrent.step(core.get_layer("decoder"))
        self._settings = settings

    def keys_of(self, encoded: tf.Tensor) -> tf.Tensor:
        """encoded [..., units] -> keys [..., attention units]."""
        return tf.matmul(encoded, constant(self.weights.values))

    def decoded(self, row: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Newest row, encoder state with it -> decoder state [batch, units], query [batch, attention units]."""
        decoded, _ = self._decode(*decoder_start(self._settings, row, hidden, cell))
        return decoded, tf.matmul(decoded, constant(self.weights.query)) + constant(self.weights.bias)

    def answer(
        self, row: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor], encoded: tf.Tensor, keys: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Newest row, encoder state with it, encoded and keys [batch, n, ...] -> forecast, weights [batch, n]."""
        decoded, query = self.decoded(row, *state)
        context, shares = attend(scored(keys + tf.expand_dims(query, 1), self.weights), encoded)
        return self.output(tf.concat([context, decoded], axis=1)), shares
