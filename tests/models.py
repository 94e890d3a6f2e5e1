"""Small trained models of every family, and raw ticks to ask them about."""

import functools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tickcast.bundle import Bundle
from tickcast.manifest import WindowRules
from tickcast_export import bundle_writer, carried_certificate, certificate, extremes, families, graphs
from tickcast_export.families import FamilySettings
from tickcast_export.features import TickFeatures
from tickcast_export.model_card import ModelCard

WINDOW = 8
HORIZONS = (1, 2, 5)
SCALE = np.array([0.01, 0.02, 0.05])
SMALL = FamilySettings(units=8, second_units=6, attention_units=5)


def ticks(cases: int, window: int = WINDOW, seed: int = 0) -> NDArray[np.float64]:
    """Windows of raw ticks [cases, window + 1, columns]: prices of 60,000 that walk by ticks of 0.01."""
    random = np.random.default_rng(seed)
    shape = (cases, window + 1)
    bid = 60_000.0 + 0.01 * random.integers(-1, 2, shape).cumsum(axis=1)
    ask = bid + 0.01 * random.integers(1, 3, shape)
    sizes = random.integers(1, 50, (*shape, 2))
    return np.concatenate([np.stack([bid, ask], -1), sizes, random.exponential(size=(*shape, 1))], axis=-1)


def trained(family: str, settings: FamilySettings = SMALL) -> keras.Model:
    """A model after one step of training, so that no weight is still at its first value."""
    keras.utils.set_random_seed(7)
    asked = ticks(32)
    features = TickFeatures().adapt(np.stack([asked[:, 0], asked[:, 1]], axis=1))
    model = families.build(family, WINDOW, features, len(HORIZONS), SCALE, settings)
    core = families.core_of(model)
    targets = tf.constant(np.random.default_rng(1).normal(size=(32, len(HORIZONS))), tf.float32)
    core.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=True)  # one step: tracing takes longer
    core.train_on_batch(features(tf.constant(asked)), targets)
    return model


def card(family: str, settings: FamilySettings = SMALL) -> ModelCard:
    """The card of `trained`."""
    return ModelCard(
        name=f"small-{family}",
        version="1",
        family=family,
        settings=settings,
        rules=WindowRules(window=WINDOW),
        horizons=HORIZONS,
        target_scale=float(SCALE.mean()),
    )


@functools.cache
def draft(family: str) -> Bundle:
    """The bundle of `trained`, uncertified and unwritten; made once, for nobody changes it."""
    model = trained(family)
    windows = {"real": ticks(20), **extremes.book_windows(WINDOW + 1)}
    golden = certificate.golden(windows, certificate.keras_reference(model))
    pairs = graphs.carry_pairs(model, card(family))
    return bundle_writer.draft(card(family), graphs.trace(model, card(family)), pairs, golden, "keras")


def carried_draft(family: str) -> Bundle:
    """The same, certified for the mode `carried` over runs of 60 rows."""
    runs = list(ticks(4, 60, seed=8))
    return carried_certificate.with_carried(draft(family), trained(family), card(family), runs)


def written(family: str, folder: Path) -> Bundle:
    """The same, certified and written to `folder`."""
    return bundle_writer.write(draft(family), folder)
