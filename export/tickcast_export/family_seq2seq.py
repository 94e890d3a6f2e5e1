"""The family `seq2seq`: encoder LSTM; a one-step decoder LSTM; Bahdanau attention; Dense on context and decoder state.

The decoder's state queries the encoder's states. The query comes with the newest row, so the carry is the encoder's
state, every encoder state so far and its product with W1.
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

    Carry: `carry_state` [batch, 2 * units], the encoder's hidden and cell state; `carry_encoded` [batch, rows, units],
    its hidden states; `carry_keys` [batch, rows, attention units], their products with W1.
    """
    encoder, decoder = core.get_layer("encoder"), core.get_layer("decoder")
    units = recurrent.units_of(encoder)
    over_rows, step = recurrent.over_rows(encoder, core.input_shape[-1]), recurrent.step(encoder)
    decode = recurrent.step(decoder)
    weights = Weights(core.get_layer("attention"))
    output = recurrent.scaled_output(core.get_layer("output"), scale)

    def decoder_starts_with(*tensors: tf.Tensor) -> list[tf.Tensor]:
        """Row, hidden, cell: each itself or zeros of its shape, as the settings say."""
        kept = [settings.decoder_input == "newest"] + [settings.decoder_start == "encoder"] * 2
        return [tensor if keep else 0.0 * tensor for tensor, keep in zip(tensors, kept, strict=True)]

    def keys_of(encoded: tf.Tensor) -> tf.Tensor:
        return tf.matmul(encoded, constant(weights.values))

    def answer(
        row: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor], encoded: tf.Tensor, keys: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Newest row, encoder state with it, encoded and keys [batch, n, ...] -> forecast, weights [batch, n]."""
        decoded, _ = decode(*decoder_starts_with(row, *state))
        query = tf.matmul(decoded, constant(weights.query)) + constant(weights.bias)  # [batch, attention units]
        context, shares = attend(scored(keys + tf.expand_dims(query, 1), weights), encoded)
        return output(tf.concat([context, decoded], axis=1)), shares

    def window(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, hidden, cell = over_rows(rows)
        return answer(rows[:, -1], (hidden, cell), encoded, keys_of(encoded))

    def prefix(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded, hidden, cell = over_rows(rows)
        return tf.concat([hidden, cell], axis=1), encoded, keys_of(encoded)

    def finish(row: tf.Tensor, state: tf.Tensor, encoded: tf.Tensor, keys: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, cell = step(row, *tf.split(state, [units, units], axis=1))
        encoded = tf.concat([encoded, tf.expand_dims(hidden, 1)], axis=1)
        keys = tf.concat([keys, tf.expand_dims(keys_of(hidden), 1)], axis=1)
        forecast, _ = answer(row, (hidden, cell), encoded, keys)
        return forecast, tf.concat([hidden, cell], axis=1), encoded, keys

    return Cut(
        (carry("state", 2 * units), carry("encoded", "rows", units), carry("keys", "rows", weights.units)),
        1,
        window,
        prefix,
        finish,
    )
