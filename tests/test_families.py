"""Every registered model family against the contract, and what is special to each."""

import check_family
import models
import numpy as np
import pytest
import tensorflow as tf
from tickcast_export import families
from tickcast_export.families import FAMILIES, FamilySettings
from tickcast_export.features import TickFeatures

pytestmark = pytest.mark.slow  # TensorFlow trains or exports


@pytest.mark.parametrize("name", FAMILIES)
def test_the_family_fulfils_the_contract(name, tmp_path):
    check_family.check_family(name, models.SMALL, tmp_path)


def test_seq2seq_with_a_decoder_that_is_told_nothing_fulfils_the_contract(tmp_path):
    settings = FamilySettings(units=6, attention_units=4, decoder_start="zero", decoder_input="zeros")
    check_family.check_family("seq2seq", settings, tmp_path)


def test_seq2seq_decoder_settings_are_different_functions():
    answers = []
    for start, given in (("encoder", "newest"), ("zero", "newest"), ("encoder", "zeros")):
        model = models.trained("seq2seq", FamilySettings(units=6, decoder_start=start, decoder_input=given))
        answers.append(np.asarray(model(tf.constant(models.ticks(2)))))
    assert all(np.abs(answers[0] - other).max() > 1e-6 for other in answers[1:])


def test_additive_is_the_seed_network_written_out():
    """Scores, softmax and context in plain numpy from the hidden states."""
    model = models.trained("additive")
    core, rows = families.core_of(model), families.features_of(model)(tf.constant(models.ticks(3)))
    hidden = np.asarray(core.get_layer("lstm")(rows), np.float64)
    w1, b1, w2, b2, v = (np.asarray(weight, np.float64) for weight in core.get_layer("attention").get_weights())
    scores = np.tanh(hidden @ w1 + b1 + hidden @ w2 + b2) @ v
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    kernel, bias = core.get_layer("output").get_weights()
    forecast = ((weights * hidden).sum(axis=1) @ kernel + bias) * models.SCALE
    np.testing.assert_allclose(model(tf.constant(models.ticks(3))), forecast, atol=1e-7)


def test_forecast_of_a_fresh_model_is_in_price_units():
    """Ten times the scale, ten times the forecast."""
    for factor in (1.0, 10.0):
        model = models.trained("stacked")
        small = np.asarray(model(tf.constant(models.ticks(2))))
        model.get_layer("forecast").scale = np.float32(factor * models.SCALE)
        np.testing.assert_allclose(model(tf.constant(models.ticks(2))), factor * small, rtol=1e-6)


@pytest.mark.parametrize(("window", "scale", "message"), [(1, (1.0,), "at least 2"), (4, (1.0, 2.0), "scale has")])
def test_a_model_that_cannot_be_is_refused(window, scale, message):
    with pytest.raises(ValueError, match=message):
        families.build("stacked", window, TickFeatures(), 1, np.array(scale), models.SMALL)
