"""The five graphs of a trained model, traced from its features and its cut.

    features  ticks [batch, 2, columns] float64              -> row [batch, features]
    window    rows [batch, window, features]                 -> forecast [batch, horizons](, attention [batch, window])
    prefix    rows [batch, rows, features]                   -> carry_*
    finish    ticks [batch, 2, columns] float64, carry_*     -> forecast, row
    step      the same                                       -> forecast, row, next_carry_*

onnxruntime runs all of a graph whatever is asked of it, so `finish`, which a tick waits for, is a graph of its own.
Two ticks are the sampled tick before and the tick itself. Everything but raw ticks is float32.
"""

from collections.abc import Callable

import keras
import onnx
import tensorflow as tf
from tickcast.manifest import CarryPair, GraphRole, Tensor

from tickcast_export.conversion import Shape, convert
from tickcast_export.families import FAMILIES, cut_of, features_of
from tickcast_export.family import Cut
from tickcast_export.features import TickFeatures
from tickcast_export.lstm_chain import chained
from tickcast_export.model_card import ModelCard
from tickcast_export.product_sums import summed


def trace(model: keras.Model, card: ModelCard) -> dict[GraphRole, onnx.ModelProto]:
    """Every graph of the model. Raises BundleError where a graph is not what it must be."""
    features, cut = features_of(model), cut_of(model, card.family, card.settings)
    return {
        "features": summed(
            convert(lambda ticks: (features.rows(ticks),), Shape((_ticks(card),), (_row(card),), float64_until="row"))
        ),
        "window": chained(convert(cut.window, _window_shape(card, cut))),
        "prefix": convert(cut.prefix, Shape((_rows(card, "rows"),), cut.carry, cut.lstm_layers)),
        "finish": summed(convert(_finish(features, cut), _finish_shape(card, cut))),
        "step": summed(convert(_step(features, cut), _finish_shape(card, cut, *map(_next, cut.carry)))),
    }


def carry_pairs(model: keras.Model, card: ModelCard) -> tuple[CarryPair, ...]:
    """How prefix's outputs enter finish and step, and come out of step again."""
    return tuple(
        CarryPair(prefix_output=tensor.name, finish_input=tensor.name, finish_output=f"next_{tensor.name}")
        for tensor in cut_of(model, card.family, card.settings).carry
    )


def _finish(features: TickFeatures, cut: Cut) -> Callable[..., tuple[tf.Tensor, ...]]:
    return lambda ticks, *carry: _step(features, cut)(ticks, *carry)[:2]


def _step(features: TickFeatures, cut: Cut) -> Callable[..., tuple[tf.Tensor, ...]]:
    def step(ticks: tf.Tensor, *carry: tf.Tensor) -> tuple[tf.Tensor, ...]:
        row = features.rows(ticks)
        forecast, *next_carry = cut.finish(row, *carry)
        return forecast, row, *next_carry

    return step


def _finish_shape(card: ModelCard, cut: Cut, *next_carry: Tensor) -> Shape:
    return Shape((_ticks(card), *cut.carry), (_forecast(card), _row(card), *next_carry), float64_until="row")


def _window_shape(card: ModelCard, cut: Cut) -> Shape:
    window = card.rules.window
    attention = (_tensor("attention", window),) if FAMILIES[card.family].ATTENTION else ()
    return Shape((_rows(card, window),), (_forecast(card), *attention), cut.lstm_layers)


def _tensor(name: str, *shape: int | str) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=("batch", *shape))


def _ticks(card: ModelCard) -> Tensor:
    return Tensor(name="ticks", dtype="float64", shape=("batch", 2, len(card.columns)))


def _rows(card: ModelCard, rows: int | str) -> Tensor:
    return _tensor("rows", rows, len(card.feature_names))


def _row(card: ModelCard) -> Tensor:
    return _tensor("row", len(card.feature_names))


def _forecast(card: ModelCard) -> Tensor:
    return _tensor("forecast", len(card.horizons))


def _next(carry: Tensor) -> Tensor:
    """The carry over one more row."""
    shape = tuple("next_rows" if dimension == "rows" else dimension for dimension in carry.shape)
    return Tensor(name=f"next_{carry.name}", dtype=carry.dtype, shape=shape)
