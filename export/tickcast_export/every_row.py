"""A core's forecasts at many rows of a window in one run over it: what training learns from.

Before the way of a tick. A forecast at row p is what a window of rows 0 to p alone would give: the state starts from
zero with row 0, and attention sees no row after p. Run so, the 64 steps of an LSTM teach not one target but dozens.
`positions` are such rows, ascending. All is made of Keras's own cells and layers, without cuDNN, so that XLA takes it.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

# Natural logarithm of the least share, of the window's largest, that attention may give to a row: sums over the first
# rows must not vanish in float32 beside a row that is yet to come.
SHARE_LOG_MIN = -30.0
UNSEEN = -1e9  # score of a row that is yet to come


def hidden_states(lstm: keras.layers.LSTM, rows: tf.Tensor) -> tf.Tensor:
    """rows [batch, n, features] -> hidden state at each: [batch, n, units]."""
    states: tf.Tensor = keras.layers.RNN(lstm.cell, return_sequences=True)(rows)
    return states


def hidden_and_cells(lstm: keras.layers.LSTM, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same, and the cell states with them."""
    both = keras.layers.RNN(_Both(lstm.cell), return_sequences=True)(rows)
    hidden, cells = tf.split(both, 2, axis=-1)
    return hidden, cells


def running_mean(scores: tf.Tensor, values: tf.Tensor, positions: Sequence[int]) -> tf.Tensor:
    """Softmax attention whose scores [batch, n, 1] do not depend on who asks: a mean of values [batch, n, width] over
    all rows up to each position, [batch, positions, width], by sums that go on."""
    shares = tf.exp(tf.maximum(scores - tf.reduce_max(scores, axis=1, keepdims=True), SHARE_LOG_MIN))
    sums = tf.cumsum(tf.concat([shares, shares * values], axis=2), axis=1)  # [batch, n, 1 + width]
    at = tf.gather(sums, positions, axis=1)
    return at[:, :, 1:] / at[:, :, :1]


def asked_mean(scores: tf.Tensor, values: tf.Tensor, positions: Sequence[int]) -> tf.Tensor:
    """The same where each position asks its own: scores [batch, positions, n] -> [batch, positions, width]."""
    come = tf.range(scores.shape[2])[None] <= tf.constant(list(positions))[:, None]  # [positions, n]
    return tf.matmul(tf.nn.softmax(tf.where(come, scores, UNSEEN), axis=2), values)


class _Both(keras.layers.Layer):  # type: ignore[misc]
    """An LSTM's cell that puts out its cell state too."""

    def __init__(self, cell: keras.layers.LSTMCell) -> None:
        super().__init__()
        self.cell = cell
        self.state_size = cell.state_size
        self.output_size = sum(cell.state_size)
        self.built = True

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Zeros."""
        return self.cell.get_initial_state(batch_size)

    def call(self, row: tf.Tensor, states: Any) -> tuple[tf.Tensor, Any]:
        _, after = self.cell(row, states)
        return tf.concat(after, axis=-1), after
