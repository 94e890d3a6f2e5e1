"""The mode `carried` of a bundle: certified against Keras step by step, its distance to the window measured."""

import dataclasses

import models
import numpy as np
import pytest
import tensorflow as tf
import typer
from tickcast import bundle, carried_parity
from tickcast.bundle import Bundle, Golden
from tickcast.carried_engine import CarriedEngine
from tickcast.commands.verify import verify
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import BundleError
from tickcast_export import bundle_writer, carried_certificate, extremes, model_card
from tickcast_export.commands.export import export
from tickcast_export.families import FAMILIES
from typer.testing import CliRunner

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

CPU = InferenceConfig(provider="cpu")


@pytest.fixture(scope="module")
def draft() -> Bundle:
    return models.carried_draft("additive")


def _with_forecast(draft: Bundle, forecast: np.ndarray) -> Bundle:
    golden = draft.carried_golden
    assert golden is not None
    return dataclasses.replace(draft, carried_golden=Golden(golden.ticks, forecast, golden.kind))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_of_each_family_comes_back_certified_for_the_mode(family, tmp_path):
    written = bundle_writer.write(models.carried_draft(family), tmp_path / family)
    manifest = written.manifest
    assert manifest.carried is not None
    assert {"anchor", "carried"} <= manifest.graphs.keys()
    assert written.carried_golden is not None
    assert manifest.carried.case_kinds == {"real": 4, **dict.fromkeys(extremes.BOOKS, extremes.WINDOWS_OF_A_KIND)}
    assert manifest.carried.steps > models.WINDOW, "no golden run goes once around the ring"
    assert 0 < manifest.carried.error_max <= 1e-5
    results = carried_parity.check(CarriedEngine(written, CPU), Engine(written, CPU).features)
    assert [result.batch for result in results] == [1, manifest.carried.cases]
    assert all(result.holds for result in results)


def test_the_distance_is_that_of_keras_answers_over_the_runs(draft):
    """Carried and windowed, both by Keras, over every tick after each run's first window."""
    model, runs, card = models.trained("additive"), models.ticks(4, 60, seed=8), models.card("additive")
    carried = carried_certificate.stepwise(model, card)(runs)[:, 1:]
    length = models.WINDOW + 1
    ends = range(length + 1, runs.shape[1] + 1)
    windowed = np.stack([np.asarray(model(tf.constant(runs[:, end - length : end]))) for end in ends], axis=1)
    apart = np.abs(carried - windowed).max(axis=2).ravel()
    given = draft.manifest.carried
    assert given is not None
    assert (given.runs, given.ticks) == (4, apart.size)
    scale = draft.manifest.target_scale
    for found, unit in ((given.distance, scale), (given.distance_absolute, 1.0)):
        wanted = [np.median(apart) / unit, np.quantile(apart, 0.99) / unit, apart.max() / unit]
        np.testing.assert_allclose([found.median, found.p99, found.maximum], wanted, rtol=1e-3)
    np.testing.assert_allclose(given.windowed_spread, np.sqrt(np.square(windowed).mean()) / scale, rtol=1e-4)
    assert given.distance.median > 1e-3, "nothing to measure"


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_step_that_keras_answers_otherwise_is_refused(draft, value):
    forecast = draft.carried_golden.forecast.copy()
    forecast[0, -1, 0] += np.float32(value)
    with pytest.raises(BundleError, match=r"carried path, 1 at once: .* FAILS"):
        carried_parity.warm(CarriedEngine(_with_forecast(draft, forecast), CPU), Engine(draft, CPU).features)


def test_a_bundle_made_without_runs_is_refused_by_name():
    with pytest.raises(BundleError, match=r"not certified for inference\.mode = carried"):
        CarriedEngine(models.draft("stacked"), CPU)


def test_golden_runs_that_were_changed_are_refused(draft, tmp_path):
    bundle_writer.write(draft, tmp_path / "bundle")
    golden = draft.carried_golden
    (tmp_path / "bundle" / "carried.npz").write_bytes(Golden(golden.ticks, golden.forecast * 2, golden.kind).packed())
    with pytest.raises(BundleError, match=r"carried.npz: sha256"):
        bundle.load(tmp_path / "bundle")


def test_a_model_file_keeps_its_runs(tmp_path):
    model, card = models.trained("stacked"), models.card("stacked")
    runs = [models.ticks(1, rows, seed=rows)[0] for rows in (20, 35)]
    model_card.save(model, card, models.ticks(3), tmp_path / "with.keras", runs)
    model_card.save(model, card, models.ticks(3), tmp_path / "without.keras")
    assert model_card.load_runs(tmp_path / "without.keras", card) == []
    for found, run in zip(model_card.load_runs(tmp_path / "with.keras", card), runs, strict=True):
        np.testing.assert_array_equal(found, run)


def test_runs_that_are_too_short_are_refused(tmp_path):
    model, card = models.trained("stacked"), models.card("stacked")
    model_card.save(model, card, models.ticks(3), tmp_path / "short.keras", [models.ticks(1)[0]])
    with pytest.raises(BundleError, match="a run is float64"):
        model_card.load_runs(tmp_path / "short.keras", card)


def test_a_model_file_with_runs_is_exported_and_verified_for_the_mode(tmp_path):
    runs = list(models.ticks(2, 40, seed=12))
    model_card.save(models.trained("stacked"), models.card("stacked"), models.ticks(5), tmp_path / "m.keras", runs)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("export")(export)
    app.command("verify")(verify)
    folder = tmp_path / "bundle"
    for arguments in (["export", str(tmp_path / "m.keras"), "--out", str(folder)], ["verify", str(folder)]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "carried.npz" in result.output
        assert "Distance of the mode carried" in result.output
        assert "FAILS" not in result.output
