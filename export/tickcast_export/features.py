"""Features: the one home of feature engineering and normalisation, a layer of the model, exported with it.

Stage `features` of the way of a tick. Everything here is linear in the logarithms of two raw ticks, save a `tanh` on
ratios, so that the exported graph is a handful of nodes: one floor, one Log, one product with a constant matrix.

The order flow is that of Cont, Kukanov and Stoikov, "The price impact of order book events" (2014), each side by
itself and as a ratio: +1 when the bid improves, -1 when it retreats, (q - q') / (q + q') when the price stands.
"""

from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tickcast.manifest import SECONDS_SINCE_PREVIOUS

# What is recorded of a book. A tick that repeats it all (a timer's, a deeper level's) says nothing but the time.
BOOK = ("bid", "ask", "bid_size", "ask_size")
COLUMNS = (*BOOK, SECONDS_SINCE_PREVIOUS)

# Below these a value counts as this: an empty side, a halted book and a clock that stands all stay finite.
FLOORS = {"bid": 1e-12, "ask": 1e-12, "bid_size": 1e-9, "ask_size": 1e-9, SECONDS_SINCE_PREVIOUS: 1e-6}

# A one-tick move of a price of 1,000,000 ticks saturates tanh(FLOW * d log price); a power of two, so that the products
# with the logarithms of equal prices are exact and cancel.
FLOW = 2.0**25

# feature -> column -> (weight of the previous tick's logarithm, weight of the tick's own)
LINEAR: dict[str, dict[str, tuple[float, float]]] = {
    "mid_return": {"bid": (-0.5, 0.5), "ask": (-0.5, 0.5)},
    "relative_spread": {"bid": (0.0, -1.0), "ask": (0.0, 1.0)},
    "log_bid_size": {"bid_size": (0.0, 1.0)},
    "log_ask_size": {"ask_size": (0.0, 1.0)},
    "log_seconds_since_previous": {SECONDS_SINCE_PREVIOUS: (0.0, 1.0)},
}
# The same, under a tanh: half the logarithm of a ratio a / b makes (a - b) / (a + b).
BOUNDED: dict[str, dict[str, tuple[float, float]]] = {
    "queue_imbalance": {"bid_size": (0.0, 0.5), "ask_size": (0.0, -0.5)},
    "bid_flow": {"bid_size": (-0.5, 0.5), "bid": (-FLOW, FLOW)},
    "ask_flow": {"ask_size": (-0.5, 0.5), "ask": (FLOW, -FLOW)},
}
FEATURE_NAMES = (*LINEAR, *BOUNDED)

# Feature -> what it is in the mirrored market, where bid and ask change places and prices their sign: a feature here,
# and a factor. A better bid is a better ask there.
MIRRORED = {
    "mid_return": ("mid_return", -1.0),
    "relative_spread": ("relative_spread", 1.0),
    "log_bid_size": ("log_ask_size", 1.0),
    "log_ask_size": ("log_bid_size", 1.0),
    "log_seconds_since_previous": ("log_seconds_since_previous", 1.0),
    "queue_imbalance": ("queue_imbalance", -1.0),
    "bid_flow": ("ask_flow", 1.0),
    "ask_flow": ("bid_flow", 1.0),
}

# What a market of other size sees otherwise: both by the same amount.
SIZE_FEATURES = tuple(FEATURE_NAMES.index(name) for name in ("log_bid_size", "log_ask_size"))

# Standard deviations up to which a feature counts as constant in training (rounding noise), and the smallest one used
# for others: dividing by less would lift the rounding of float64 logarithms into float32's sight.
CONSTANT_SPREAD_MAX = 1e-12
SPREAD_MIN = 1e-8

# In standard deviations; what is further out says no more than this.
CLIP = 8.0


@dataclass(frozen=True)
class Mirror:
    """Normalised feature rows of a market -> those of the same market mirrored."""

    order: NDArray[np.int64]  # [features]: which feature each is made of
    factor: NDArray[np.float32]  # [features]
    offset: NDArray[np.float32]  # [features]

    def rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """[..., features] -> the same shape."""
        return rows[..., self.order] * self.factor + self.offset


@keras.saving.register_keras_serializable(package="tickcast")
class TickFeatures(keras.layers.Layer):  # type: ignore[misc]
    """Raw ticks [batch, window + 1, columns] float64 -> feature rows [batch, window, features] float32.

    Row t is made of ticks t and t + 1, of the seconds since the previous tick only the later one's. `mean` and `scale`
    [linear features] are constants, not variables, so that an export bakes them in.
    """

    def __init__(self, mean: list[float] | None = None, scale: list[float] | None = None, **options: Any) -> None:
        super().__init__(**{"name": "features", **options, "dtype": "float64", "autocast": False, "trainable": False})
        self._normalise_with(np.array(mean or [0.0] * len(LINEAR)), np.array(scale or [1.0] * len(LINEAR)))

    def adapt(self, pairs: NDArray[np.float64]) -> Self:
        """Take mean and scale from training rows, given as raw pairs [n, 2, columns]."""
        self._normalise_with(np.zeros(len(LINEAR)), np.ones(len(LINEAR)))
        floors = np.array([FLOORS[column] for column in COLUMNS])
        logarithms = np.log(np.maximum(pairs, floors)).reshape(len(pairs), -1)
        values = logarithms @ self._matrix[:, : len(LINEAR)]
        spread = values.std(axis=0)
        self._normalise_with(
            values.mean(axis=0), np.where(spread <= CONSTANT_SPREAD_MAX, 1.0, np.maximum(spread, SPREAD_MIN))
        )
        return self

    def compute(self, pairs: NDArray[np.float64]) -> NDArray[np.float32]:
        """Feature rows [n, features] of raw pairs [n, 2, columns]."""
        return np.asarray(self.rows(tf.constant(pairs, tf.float64)))

    def rows(self, pairs: tf.Tensor) -> tf.Tensor:
        """`compute` on tensors: what the feature graph is traced from."""
        return self._rows(tf.reshape(self._logarithms(pairs), [-1, 2 * len(COLUMNS)]))

    def mirror(self) -> Mirror:
        """How rows of this normalisation are mirrored; exact where nothing is clipped."""
        unbounded = len(BOUNDED)
        mean, scale = np.append(self.mean, np.zeros(unbounded)), np.append(self.scale, np.ones(unbounded))
        order = np.array([FEATURE_NAMES.index(MIRRORED[name][0]) for name in FEATURE_NAMES])
        sign = np.array([MIRRORED[name][1] for name in FEATURE_NAMES])
        factor, offset = sign * scale[order] / scale, (sign * mean[order] - mean) / scale
        return Mirror(order, factor.astype(np.float32), offset.astype(np.float32))

    def call(self, ticks: tf.Tensor) -> tf.Tensor:
        logarithms = self._logarithms(ticks)  # [batch, window + 1, columns]
        return self._rows(tf.concat([logarithms[:, :-1], logarithms[:, 1:]], axis=-1))

    def compute_output_spec(self, ticks: Any) -> Any:
        batch, length, _ = ticks.shape
        return keras.KerasTensor((batch, length - 1, len(FEATURE_NAMES)), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        for fixed in ("dtype", "trainable"):
            config.pop(fixed, None)
        return {**config, "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def _normalise_with(self, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        self.mean, self.scale = mean, scale
        matrix, bias = _matrix(), np.zeros(len(FEATURE_NAMES))
        matrix[:, : len(LINEAR)] /= scale
        bias[: len(LINEAR)] = -mean / scale
        self._matrix, self._bias = matrix, bias

    def _logarithms(self, ticks: tf.Tensor) -> tf.Tensor:
        return tf.math.log(tf.maximum(ticks, tf.constant([FLOORS[column] for column in COLUMNS], tf.float64)))

    def _rows(self, logarithms: tf.Tensor) -> tf.Tensor:
        """Logarithms [..., 2 * columns], the previous tick's first -> rows [..., features]."""
        values = tf.matmul(logarithms, tf.constant(self._matrix)) + tf.constant(self._bias)
        linear, ratios = tf.split(values, [len(LINEAR), len(BOUNDED)], axis=-1)
        rows = tf.cast(tf.concat([linear, tf.tanh(ratios)], axis=-1), tf.float32)
        return tf.raw_ops.ClipByValue(t=rows, clip_value_min=-CLIP, clip_value_max=CLIP)  # one node, not two


def _matrix() -> NDArray[np.float64]:
    """The weights above as one matrix [2 * columns, features]."""
    matrix = np.zeros((2, len(COLUMNS), len(FEATURE_NAMES)))
    for feature, weights in enumerate((LINEAR | BOUNDED).values()):
        for column, pair in weights.items():
            matrix[:, COLUMNS.index(column), feature] = pair
    return matrix.reshape(2 * len(COLUMNS), -1)
