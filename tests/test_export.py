"""`tickcast export` and `tickcast verify` as they are typed: own models, and models of others."""

import json
import re

import keras
import models
import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper
from tickcast import bundle
from tickcast.commands.verify import verify
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import Manifest, sealed
from tickcast_export import model_card
from tickcast_export.commands.export import export
from typer.testing import CliRunner

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

FOREIGN = ("--columns", "bid,ask,seconds_since_previous", "--target-scale", "0.5")


def run(command, *arguments):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def written(folder, *arguments):
    result = run(export, *arguments, "--out", folder)
    assert result.exit_code == 0, result.output
    return bundle.load(folder)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model_card.save(models.trained("additive"), models.card("additive"), models.ticks(12), path)
    return path


@pytest.fixture
def keras_file(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    model.save(tmp_path / "other.keras")
    return tmp_path / "other.keras"


def save_onnx(path, batch="n", ticks="t", dtype=TensorProto.FLOAT, outputs=1, **storage):
    """forecast = mean over the window, times a matrix [3, 2]."""
    weights = numpy_helper.from_array(np.arange(1500.0).reshape(3, 500)[:, :2].astype(np.float32) / 1000, "weights")
    large = numpy_helper.from_array(np.zeros((3, 500), np.float32), "large")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["rows"]),
            helper.make_node("MatMul", ["mean", "large"], ["nothing"]),
            helper.make_node("ReduceSum", ["nothing"], ["zero"], keepdims=1),
            helper.make_node("Add", ["rows", "zero"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", dtype, [batch, ticks, 3])],
        [helper.make_tensor_value_info("y", dtype, [batch, 2])] * outputs,
        [weights, large],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, **storage)
    return path


def test_own_model_is_exported_and_verified(model_file, tmp_path):
    loaded = written(tmp_path / "bundle", model_file, "--name", "es", "--version", "7")
    manifest = loaded.manifest
    assert (manifest.name, manifest.version, manifest.family) == ("es", "7", "additive")
    assert manifest.graphs.keys() == {"features", "window", "prefix", "finish", "step"}
    assert manifest.attention
    result = run(verify, tmp_path / "bundle")
    assert result.exit_code == 0
    assert result.output.count("holds") == 7 + 4  # files, and two paths with one and with many at once
    assert "FAILS" not in result.output


def test_an_answer_that_is_off_fails_verification_with_status_1(model_file, tmp_path):
    loaded = written(tmp_path / "bundle", model_file)
    golden = bundle.Golden(loaded.golden.ticks, loaded.golden.forecast * np.float32(1.01), loaded.golden.kind)
    (tmp_path / "bundle" / "golden.npz").write_bytes(golden.packed())
    path = tmp_path / "bundle" / "manifest.json"
    tree = json.loads(path.read_text())
    tree["golden_sha256"] = bundle.hashlib.sha256(golden.packed()).hexdigest()
    path.write_text(sealed(Manifest.model_validate(tree)).model_dump_json())
    result = run(verify, tmp_path / "bundle")
    assert result.exit_code == 1
    assert "FAILS" in result.output


def test_an_unusable_bundle_ends_verification_with_status_78(tmp_path):
    result = run(verify, tmp_path)
    assert isinstance(result.exception, BundleError)
    assert result.exception.exit_status == 78


def test_own_model_knows_its_columns_itself(model_file, tmp_path):
    result = run(export, model_file, "--out", tmp_path / "bundle", *FOREIGN)
    assert isinstance(result.exception, UsageError)
    assert list(tmp_path.iterdir()) == []


def test_foreign_keras_model_gets_a_window_graph_of_raw_columns(keras_file, tmp_path):
    loaded = written(tmp_path / "bundle", keras_file, *FOREIGN, "--horizons", "1,10", "--unit", "tick")
    manifest = loaded.manifest
    assert (manifest.name, manifest.family, manifest.unit) == ("other", "foreign", "tick")
    assert (manifest.rules.window, manifest.horizons, manifest.features) == (6, (1, 10), 3)
    assert manifest.reference_columns == ("bid", "ask")
    assert manifest.graphs.keys() == {"window"}
    assert manifest.certificate.reference == "keras"
    assert loaded.golden.ticks.shape[1:] == (6, 3)
    assert run(verify, tmp_path / "bundle").exit_code == 0


@pytest.mark.parametrize("ticks", ["t", 5])
def test_foreign_onnx_file_is_its_own_reference(tmp_path, ticks):
    """Its tensors bear our names, one of them in another place, and its weights lie in another file."""
    save_onnx(tmp_path / "other.onnx", ticks=ticks, save_as_external_data=True, location="weights", size_threshold=0)
    loaded = written(tmp_path / "bundle", tmp_path / "other.onnx", *FOREIGN, "--window", "5")
    assert loaded.manifest.certificate.reference == "onnxruntime-cpu"
    assert loaded.manifest.opset == 17
    wanted = loaded.golden.ticks.mean(axis=1) @ (np.arange(1500.0).reshape(3, 500)[:, :2] / 1000)
    np.testing.assert_allclose(loaded.golden.forecast, wanted, rtol=1e-5, atol=1e-4)
    assert run(verify, tmp_path / "bundle").exit_code == 0


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ({}, (), "leaves the window open; say --window"),
        ({"ticks": 5}, ("--window", "6"), "not .batch, 6, 3."),
        ({"batch": 1}, ("--window", "5"), "batch open"),
        ({"ticks": 5, "dtype": TensorProto.DOUBLE}, (), "must be float32|no valid ONNX file"),
        ({"ticks": 5}, ("--columns", "bid,ask"), "not .batch, 5, 2."),
        ({"ticks": 5}, ("--columns", "bid,bid,ask"), "each once"),
        ({"ticks": 5}, ("--columns", "bid,seconds_since_previous,ask"), "seconds_since_previous last"),
        ({"ticks": 5}, ("--horizons", "1,2,3"), "gives 2 values, --horizons names 3"),
        ({"ticks": 5}, ("--horizons", "soon,later"), "horizons"),
        ({"ticks": 5}, ("--target-scale", "-1"), "target_scale"),
        ({"ticks": 5}, ("--name", "a b"), "name"),
    ],
)
def test_foreign_model_that_does_not_fit_is_refused(tmp_path, shape, arguments, message):
    save_onnx(tmp_path / "other.onnx", **shape)
    result = run(export, tmp_path / "other.onnx", "--out", tmp_path / "bundle", *FOREIGN, *arguments)
    assert isinstance(result.exception, UsageError)
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "bundle").exists()


def test_foreign_model_without_columns_is_told_what_is_missing(keras_file, tmp_path):
    result = run(export, keras_file, "--out", tmp_path / "bundle")
    assert "needs --columns and --target-scale" in str(result.exception)


@pytest.mark.parametrize("name", ["model.keras", "model.onnx", "model.h5"])
def test_a_file_that_is_no_model_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a model")
    result = run(export, tmp_path / name, "--out", tmp_path / "bundle", *FOREIGN, "--window", "5")
    assert isinstance(result.exception, UsageError)
    assert name in str(result.exception)
