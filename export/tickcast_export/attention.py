"""Bahdanau's additive attention (arXiv:1409.0473, appendix A.1.2), as Keras layers and as functions for graphs.

score = V tanh(W1 value + W2 query), softmax over time, context = sum(weight * value). In self-attention each value is
its own query, so W1 h + W2 h is one product with W1 + W2. V's bias moves every score alike and softmax does not see it;
the layers have none.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export.recurrent import constant


@keras.saving.register_keras_serializable(package="tickcast")
class AdditiveAttention(keras.layers.Layer):  # type: ignore[misc]
    """values [batch, n, width], queries [batch, n or 1, width] -> context [batch, width], weights [batch, n]."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.W1 = keras.layers.Dense(units, name="W1")
        self.W2 = keras.layers.Dense(units, name="W2")
        self.V = keras.layers.Dense(1, use_bias=False, name="V")

    def build(self, values_shape: Any, queries_shape: Any) -> None:
        self.W1.build(values_shape)
        self.W2.build(queries_shape)
        self.V.build((None, None, self.units))

    def call(self, values: tf.Tensor, queries: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scores = self.V(tf.tanh(self.W1(values) + self.W2(queries)))  # [batch, n, 1]
        weights = tf.nn.softmax(scores, axis=1)
        return tf.reduce_sum(weights * values, axis=1), tf.squeeze(weights, axis=-1)

    def compute_output_spec(self, values: Any, queries: Any) -> Any:
        batch, length, width = values.shape
        return keras.KerasTensor((batch, width)), keras.KerasTensor((batch, length))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Weights:
    """A trained layer's matrices, folded for the graphs."""

    def __init__(self, layer: AdditiveAttention) -> None:
        self.values, bias_values = layer.W1.get_weights()  # [width, units], [units]
        self.query, bias_query = layer.W2.get_weights()
        self.bias: NDArray[np.float32] = bias_values + bias_query
        self.units: int = layer.units
        (self.score,) = layer.V.get_weights()  # [units, 1]


def attend(scores: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """scores [batch, n, 1], values [batch, n, width] -> context [batch, width], weights [batch, n]."""
    weights = tf.nn.softmax(tf.squeeze(scores, axis=-1), axis=1)
    return tf.squeeze(tf.matmul(tf.expand_dims(weights, 1), values), axis=1), weights


def scored(projected: tf.Tensor, weights: Weights) -> tf.Tensor:
    """W1 value + W2 query, [..., units], biases included -> scores [..., 1]."""
    return tf.matmul(tf.tanh(projected), constant(weights.score))


def row_by_row(score: Callable[[tf.Tensor], tf.Tensor], values: tf.Tensor) -> tf.Tensor:
    """`score` of [m, width] -> [m, 1] over values [batch, n, width], n known -> [batch, n, 1].

    In the order in which the LSTM operator leaves its states: then nothing but the scores is turned, and product, bias
    and tanh are one operator.
    """
    _, length, width = values.shape
    scores = score(tf.reshape(tf.transpose(values, [1, 0, 2]), [-1, width]))  # [n * batch, 1]
    return tf.transpose(tf.reshape(scores, [length, -1, 1]), [1, 0, 2])
