"""What every model family must do: run on each entry of `FAMILIES` by `test_families.py`."""

from pathlib import Path

import keras
import models
import numpy as np
import onnxruntime
import tensorflow as tf
from tickcast_export import carried, families, graphs, model_card
from tickcast_export.conversion import CONTROL_FLOW
from tickcast_export.families import FAMILIES, FamilySettings

# A few float32 roundings of standardised values.
CLOSE = {"rtol": 0.0, "atol": 2e-6}


def check_family(name: str, settings: FamilySettings, folder: Path) -> None:
    """Raises AssertionError where family `name` breaks the contract."""
    model = models.trained(name, settings)
    _learns(name, settings)
    _answers_at_every_row(model, name, settings)
    _comes_back_from_its_file(model, name, settings, folder)
    _is_the_same_function_when_cut(model, name, settings)
    _carries_on_over_one_more_row(model, name, settings)
    _weighs_with_attention(model, name)
    _exports_what_keras_computes(model, name, settings)
    _goes_on_from_row_to_row(model, name, settings)


def _standardised_cut(model: keras.Model, name: str, settings: FamilySettings) -> families.Cut:
    return FAMILIES[name].cut(families.core_of(model), np.ones(len(models.HORIZONS), np.float32), settings)


def _rows(model: keras.Model, cases: int = 6) -> tf.Tensor:
    return families.features_of(model)(tf.constant(models.ticks(cases, seed=3)))


def _learns(name: str, settings: FamilySettings) -> None:
    """Every weight of the core gets a gradient, and a few steps bring the loss down."""
    keras.utils.set_random_seed(1)
    core = FAMILIES[name].core(models.WINDOW, 3, 2, settings)
    rows = tf.random.normal((64, models.WINDOW, 3), seed=1)
    targets = tf.stack([tf.reduce_sum(rows[:, -2:, 0], axis=1), rows[:, -1, 1]], axis=1)
    core.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=True)
    losses = [float(core.train_on_batch(rows, targets)) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((core(rows) - targets) ** 2)
    gradients = tape.gradient(loss, core.trainable_variables)
    assert all(gradient is not None for gradient in gradients)


def _answers_at_every_row(model: keras.Model, name: str, settings: FamilySettings) -> None:
    """What training learns from is what cores of shorter windows answer, of the same weights."""
    core, rows = families.core_of(model), _rows(model)
    positions = (2, 4, models.WINDOW - 1)
    answers = FAMILIES[name].every_row(core, rows, positions, settings)
    assert answers.shape == (len(rows), len(positions), len(models.HORIZONS))
    for place, position in enumerate(positions):
        shorter = FAMILIES[name].core(position + 1, rows.shape[-1], len(models.HORIZONS), settings)
        shorter.set_weights(core.get_weights())
        np.testing.assert_allclose(answers[:, place], shorter(rows[:, : position + 1]), **CLOSE)


def _comes_back_from_its_file(model: keras.Model, name: str, settings: FamilySettings, folder: Path) -> None:
    path = folder / "model.keras"
    model_card.save(model, models.card(name, settings), models.ticks(3), path)
    again, card, sample = model_card.load(path)
    assert card == models.card(name, settings)
    assert np.array_equal(sample, models.ticks(3))
    asked = tf.constant(models.ticks(5, seed=2))
    assert np.array_equal(again(asked), model(asked))


def _is_the_same_function_when_cut(model: keras.Model, name: str, settings: FamilySettings) -> None:
    cut, rows = _standardised_cut(model, name, settings), _rows(model)
    answer = np.asarray(families.core_of(model)(rows))
    np.testing.assert_allclose(cut.window(rows)[0], answer, **CLOSE)
    carry = cut.prefix(rows[:, :-1])
    np.testing.assert_allclose(cut.finish(rows[:, -1], *carry)[0], answer, **CLOSE)
    assert np.abs(answer).max() > 0.01, "nothing to compare"


def _carries_on_over_one_more_row(model: keras.Model, name: str, settings: FamilySettings) -> None:
    """From one row to a whole window, step by step: each next carry is the prefix over that many rows."""
    cut, rows = _standardised_cut(model, name, settings), _rows(model)
    carry = cut.prefix(rows[:, :1])
    for count in range(1, models.WINDOW):
        forecast, *carry = cut.finish(rows[:, count], *carry)
        whole = cut.prefix(rows[:, : count + 1])
        assert [tensor.shape for tensor in carry] == [tensor.shape for tensor in whole]
        for found, wanted in zip(carry, whole, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(forecast, cut.window(rows[:, : count + 1])[0], **CLOSE)


def _weighs_with_attention(model: keras.Model, name: str) -> None:
    attention = families.attention_of(model)
    assert (attention is not None) == FAMILIES[name].ATTENTION
    if attention is not None:
        weights = np.asarray(attention(_rows(model)))
        assert weights.shape == (6, models.WINDOW)
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        assert np.ptp(weights, axis=1).min() > 1e-4, "weights all alike"


def _exports_what_keras_computes(model: keras.Model, name: str, settings: FamilySettings) -> None:
    asked = models.ticks(5, seed=4)
    traced = graphs.trace(model, models.card(name, settings))
    assert not {node.op_type for graph in traced.values() for node in graph.graph.node} & set(CONTROL_FLOW)
    sessions = {
        role: onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        for role, graph in traced.items()
    }
    pairs = np.stack([asked[:, :-1], asked[:, 1:]], axis=2).reshape(-1, 2, asked.shape[-1])
    rows = sessions["features"].run(["row"], {"ticks": pairs})[0].reshape(5, models.WINDOW, -1)
    np.testing.assert_allclose(rows, families.features_of(model)(tf.constant(asked)), rtol=0.0, atol=1e-5)
    answer = np.asarray(model(tf.constant(asked)))
    close = {"rtol": 0.0, "atol": 1e-5 * float(models.SCALE.mean())}
    np.testing.assert_allclose(sessions["window"].run(["forecast"], {"rows": rows})[0], answer, **close)
    names = [pair.prefix_output for pair in graphs.carry_pairs(model, models.card(name, settings))]
    carry = dict(zip(names, sessions["prefix"].run(names, {"rows": rows[:, :-1]}), strict=True))
    forecast, row = sessions["finish"].run(["forecast", "row"], {"ticks": asked[:, -2:], **carry})
    np.testing.assert_allclose(forecast, answer, **close)
    np.testing.assert_allclose(row, rows[:, -1], rtol=0.0, atol=1e-5)
    attention = families.attention_of(model)
    if attention is not None:
        weights = sessions["window"].run(["attention"], {"rows": rows})[0]
        np.testing.assert_allclose(weights, attention(tf.constant(rows)), rtol=0.0, atol=1e-6)


def _goes_on_from_row_to_row(model: keras.Model, name: str, settings: FamilySettings) -> None:
    """Anchored once and stepped over more than two windows, as traced: at each step what Keras's cells give."""
    asked, window = models.ticks(4, 3 * models.WINDOW + 3, seed=6), models.WINDOW
    traced = carried.trace(model, models.card(name, settings))
    assert not {node.op_type for graph in traced.values() for node in graph.graph.node} & set(CONTROL_FLOW)
    sessions = {
        role: onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        for role, graph in traced.items()
    }
    rows = families.features_of(model)(tf.constant(asked))
    forecast, state, *ring = sessions["anchor"].run(None, {"rows": np.asarray(rows[:, :window])})
    forecasts = [forecast]
    for newest in range(window + 1, asked.shape[1]):
        leaving = (newest - window - 1) % window
        stays = [part[:, [leaving]] if "fold" in traced else np.delete(part, leaving, axis=1) for part in ring]
        given = {"ticks": asked[:, newest - 1 : newest + 1], "carried_state": state}
        given |= zip(["stays"], stays, strict=False)
        forecast, row, state, *items = sessions["carried"].run(None, given)
        np.testing.assert_allclose(row, rows[:, newest - 1], rtol=0.0, atol=1e-5)
        forecasts.append(forecast)
        for part, item in zip(ring, items, strict=True):
            part[:, leaving] = item
        if "fold" in traced and leaving == window - 1:
            state, ring[0] = sessions["fold"].run(None, {"carried_state": state, "carried_ring": ring[0]})
    wanted = np.asarray(FAMILIES[name].stepwise(families.core_of(model), rows, settings)) * models.SCALE
    close = {"rtol": 0.0, "atol": 1e-5 * float(models.SCALE.mean())}
    np.testing.assert_allclose(np.stack(forecasts, axis=1), wanted, **close)
    np.testing.assert_allclose(wanted[:, 0], model(tf.constant(asked[:, : window + 1])), **close)
    windowed = np.asarray(model(tf.constant(asked[:, -window - 1 :])))
    assert np.abs(wanted[:, -1] - windowed).max() > 1e-3 * models.SCALE.mean(), "the same as the windowed answer"
