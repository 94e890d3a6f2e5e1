"""Trained layers as functions of tensors, for the graphs: an LSTM whole over rows, one step of it, a scaled Dense.

A state is packed, [batch, 2 * units]: the hidden state, then the cell state.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def constant(values: NDArray[np.float64] | NDArray[np.float32]) -> tf.Tensor:
    """A float32 constant of the graph being traced."""
    return tf.constant(np.asarray(values, np.float32))


def units_of(lstm: keras.layers.LSTM) -> int:
    """Width of a layer."""
    return int(lstm.units)


def over_rows(lstm: keras.layers.LSTM, features: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """`lstm` as a function: rows [batch, n, features] -> every hidden state [batch, n, units], last hidden, last cell.

    A copy that never takes cuDNN's kernel, which cannot be exported.
    """
    whole = keras.layers.LSTM(units_of(lstm), return_sequences=True, return_state=True, use_cudnn=False)
    whole.build((None, None, features))
    whole.set_weights(lstm.get_weights())
    return whole  # type: ignore[no-any-return]


def step(lstm: keras.layers.LSTM) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """`lstm` over one row: row [batch, features], hidden, cell -> next hidden, next cell; few nodes."""
    kernel, recurrent, bias = _sigmoids_together(lstm)
    weights, sigmoids = np.concatenate([kernel, recurrent]), 3 * units_of(lstm)

    def stepped(row: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        both = tf.concat([row, hidden], axis=1)
        return _stepped(both, weights, constant(bias[:sigmoids]), constant(bias[sigmoids:]), cell)

    return stepped


def gates(lstm: keras.layers.LSTM) -> Callable[[tf.Tensor], tf.Tensor]:
    """What a hidden state [batch, units] gives to the next step's gates, bias included: [batch, 4 * units]."""
    _, recurrent, bias = _sigmoids_together(lstm)
    return lambda hidden: tf.matmul(hidden, constant(recurrent)) + constant(bias)


def gated_step(
    lstm: keras.layers.LSTM,
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The same step where `gates` of the hidden state are there already.

    Row [batch, features], gates' first [batch, 3 * units] and last [batch, units], cell -> next hidden, next cell. Of
    the weights it reads only those of the row: for 8 features and 64 units a ninth.
    """
    kernel, _, _ = _sigmoids_together(lstm)

    def stepped(row: tf.Tensor, sigmoids: tf.Tensor, candidate: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return _stepped(row, kernel, sigmoids, candidate, cell)

    return stepped


def cell_by_cell(lstm: keras.layers.LSTM, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Keras's own cell stepped from zero: rows [batch, n, features] -> hidden and cell states [batch, n, units]."""
    hidden = cell = tf.zeros((rows.shape[0], units_of(lstm)))
    states = []
    for row in tf.unstack(rows, axis=1):
        _, (hidden, cell) = lstm.cell(row, [hidden, cell])
        states.append((hidden, cell))
    hidden_states, cells = (tf.stack(parts, axis=1) for parts in zip(*states, strict=True))
    return hidden_states, cells


def scaled_output(dense: keras.layers.Dense, scale: NDArray[np.float32]) -> Callable[[tf.Tensor], tf.Tensor]:
    """`dense` times `scale` [horizons] as one product: [batch, width] -> [batch, horizons]."""
    kernel, bias = dense.get_weights()

    def output(values: tf.Tensor) -> tf.Tensor:
        return tf.matmul(values, constant(kernel * scale)) + constant(bias * scale)

    return output


def _stepped(
    given: tf.Tensor, weights: NDArray[np.float32], sigmoids: tf.Tensor, candidate: tf.Tensor, cell: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two products, so that onnxruntime makes each one operator with its sum and its activation."""
    first = 3 * int(cell.shape[-1])
    opened = tf.sigmoid(tf.matmul(given, constant(weights[:, :first])) + sigmoids)
    proposed = tf.tanh(tf.matmul(given, constant(weights[:, first:])) + candidate)
    admit, forget, emit = tf.split(opened, 3, axis=1)
    cell = forget * cell + admit * proposed
    return emit * tf.tanh(cell), cell


def _sigmoids_together(lstm: keras.layers.LSTM) -> list[NDArray[np.float32]]:
    """Kernel, recurrent kernel, bias, [..., 4 * units]: gates reordered from Keras's i, f, c, o to i, f, o, c."""
    return [_reordered(weights, [0, 1, 3, 2]) for weights in lstm.get_weights()]


def _reordered(weights: NDArray[np.float32], order: list[int]) -> NDArray[np.float32]:
    blocks = np.split(weights, 4, axis=-1)
    return np.concatenate([blocks[block] for block in order], axis=-1)
