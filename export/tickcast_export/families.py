"""The model families, and a whole model of one: raw ticks in, forecast in price units out.

    ticks [batch, window + 1, columns] float64 -> features -> core (rows -> standardised forecast) -> times scale

Training may feed the core with precomputed rows; the whole model shares its weights. Feed a whole model with float64
tensors, never through `model.predict` (nor `fit`, `evaluate`) from arrays: those cast to float32 before it sees them.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tickcast_export import family_additive, family_seq2seq, family_stacked
from tickcast_export.family import Carried, Cut, Family, FamilySettings
from tickcast_export.features import COLUMNS, TickFeatures

__all__ = ["FAMILIES", "FamilySettings", "OutputScale", "attention_of", "build", "core_of", "cut_of", "features_of"]

# One row for the prefix, one for finish.
WINDOW_MIN = 2

FAMILIES: dict[str, Family] = {
    "stacked": family_stacked,
    "additive": family_additive,
    "seq2seq": family_seq2seq,
}


@keras.saving.register_keras_serializable(package="tickcast")
class OutputScale(keras.layers.Layer):  # type: ignore[misc]
    """Standardised forecast [batch, horizons] -> price units: value h times `scale[h]`."""

    def __init__(self, scale: list[float], **options: Any) -> None:
        super().__init__(**options)
        self.scale = np.asarray(scale, np.float32)

    def call(self, standardised: tf.Tensor) -> tf.Tensor:
        return standardised * tf.constant(self.scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale.tolist()}


def build(
    family: str,
    window: int,
    features_layer: TickFeatures,
    horizons: int,
    scale: NDArray[np.float64],
    settings: FamilySettings,
) -> keras.Model:
    """A fresh whole model; `scale` [horizons] is the standard deviation of each horizon's target, in price units."""
    if window < WINDOW_MIN:
        raise ValueError(f"window = {window}: at least {WINDOW_MIN} rows")
    if np.shape(scale) != (horizons,):
        raise ValueError(f"scale has shape {np.shape(scale)}, not ({horizons},)")
    ticks = keras.Input((window + 1, len(COLUMNS)), dtype="float64", name="ticks")
    rows = features_layer(ticks)
    standardised = FAMILIES[family].core(window, rows.shape[-1], horizons, settings)(rows)
    return keras.Model(ticks, OutputScale(list(scale), name="forecast")(standardised), name=family)


def features_of(model: keras.Model) -> TickFeatures:
    """The feature layer of a whole model."""
    layer = model.get_layer("features")
    assert isinstance(layer, TickFeatures)
    return layer


def core_of(model: keras.Model) -> keras.Model:
    """Rows [batch, window, features] -> standardised forecast [batch, horizons], sharing the model's weights."""
    return model.get_layer("core")


def attention_of(model: keras.Model) -> keras.Model | None:
    """Rows [batch, window, features] -> attention weights [batch, window]; None where the family has no attention."""
    core = core_of(model)
    if not any(layer.name == "attention" for layer in core.layers):
        return None
    return keras.Model(core.input, core.get_layer("attention").output[1], name="attention_weights")


def cut_of(model: keras.Model, family: str, settings: FamilySettings) -> Cut:
    """The model behind its features in two parts, its output scale folded in."""
    return FAMILIES[family].cut(core_of(model), model.get_layer("forecast").scale, settings)


def carried_of(model: keras.Model, family: str, settings: FamilySettings) -> Carried:
    """The model behind its features with its state carried from row to row, its output scale folded in."""
    return FAMILIES[family].carried(core_of(model), model.get_layer("forecast").scale, settings)
