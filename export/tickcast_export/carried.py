"""The graphs of the mode `carried`, traced as the others are: one step per tick instead of a whole window.

    anchor    rows [batch, window, features]                    -> forecast, next_carried_state(, next_carried_ring)
    carried   ticks [batch, 2, columns], carried_state(, stays) -> forecast, row, next_carried_state(, item)
    fold      carried_state, carried_ring                       -> next_carried_state, next_carried_ring

    state [batch, width]; ring [batch, window, item width]; stays [batch, items that a step reads, item width]

What they hold is the family's business (`family.Carried`); the daemon keeps them, a state and a ring per symbol.
"""

from collections.abc import Callable

import keras
import onnx
import tensorflow as tf
from tickcast.manifest import GraphRole, Tensor

from tickcast_export.conversion import Shape, convert
from tickcast_export.families import carried_of, cut_of, features_of
from tickcast_export.family import Carried
from tickcast_export.features import TickFeatures
from tickcast_export.model_card import ModelCard


def trace(model: keras.Model, card: ModelCard) -> dict[GraphRole, onnx.ModelProto]:
    """These graphs of the model. Raises BundleError where a graph is not what it must be."""
    carried = carried_of(model, card.family, card.settings)
    lstm_layers = cut_of(model, card.family, card.settings).lstm_layers
    traced: dict[GraphRole, onnx.ModelProto] = {
        "anchor": convert(carried.anchor, _anchor_shape(card, carried, lstm_layers)),
        "carried": convert(_step(features_of(model), carried), _step_shape(card, carried)),
    }
    if carried.fold is not None:
        traced["fold"] = convert(carried.fold, _fold_shape(card, carried))
    return traced


def _step(features: TickFeatures, carried: Carried) -> Callable[..., tuple[tf.Tensor, ...]]:
    def step(ticks: tf.Tensor, *carry: tf.Tensor) -> tuple[tf.Tensor, ...]:
        row = features.rows(ticks)
        forecast, *next_carry = carried.step(row, *carry)
        return forecast, row, *next_carry

    return step


def _anchor_shape(card: ModelCard, carried: Carried, lstm_layers: int) -> Shape:
    rows = _tensor("rows", card.rules.window, len(card.feature_names))
    outputs = (
        _forecast(card),
        _tensor("next_carried_state", carried.state),
        *_ring("next_carried_ring", card, carried),
    )
    return Shape((rows,), outputs, lstm_layers, _folded(carried))


def _step_shape(card: ModelCard, carried: Carried) -> Shape:
    ticks = Tensor(name="ticks", dtype="float64", shape=("batch", 2, len(card.columns)))
    stays = (_tensor("stays", carried.stays, carried.item),) if carried.item else ()
    item = (_tensor("item", carried.item),) if carried.item else ()
    row = _tensor("row", len(card.feature_names))
    return Shape(
        (ticks, _tensor("carried_state", carried.state), *stays),
        (_forecast(card), row, _tensor("next_carried_state", carried.state), *item),
        float64_until="row",
    )


def _fold_shape(card: ModelCard, carried: Carried) -> Shape:
    return Shape(
        (_tensor("carried_state", carried.state), *_ring("carried_ring", card, carried)),
        (_tensor("next_carried_state", carried.state), *_ring("next_carried_ring", card, carried)),
        float64_until=_folded(carried),
    )


def _folded(carried: Carried) -> str:
    """The output that is summed up in float64, if one is."""
    return "next_carried_ring" if carried.fold is not None else ""


def _ring(name: str, card: ModelCard, carried: Carried) -> tuple[Tensor, ...]:
    return (_tensor(name, card.rules.window, carried.item),) if carried.item else ()


def _forecast(card: ModelCard) -> Tensor:
    return _tensor("forecast", len(card.horizons))


def _tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=("batch", *shape))
