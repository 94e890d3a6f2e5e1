"""A bundle that was touched is not loaded, and all that is wrong with it is said at once."""

import contextlib
import json
import os

import models
import numpy as np
import onnx
import onnxruntime
import pytest
from pydantic import ValidationError
from tickcast import bundle, bundle_files
from tickcast.bundle import Golden
from tickcast.errors import BundleError
from tickcast.manifest import Manifest, digest


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """File name -> bytes of a whole bundle."""
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    models.written("additive", folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(content, tmp_path):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def rewrite(folder, change):
    """Change the manifest in place, `change(tree)`, and seal it again where it still reads as one."""
    path = folder / "manifest.json"
    tree = json.loads(path.read_text())
    change(tree)
    with contextlib.suppress(ValidationError):
        tree["content_sha256"] = digest(Manifest.model_validate(tree))
    path.write_text(json.dumps(tree))


def put_golden(folder, golden):
    """Replace the golden windows, with a hash that holds."""
    data = golden.packed()
    (folder / "golden.npz").write_bytes(data)
    rewrite(folder, lambda tree: tree.update(golden_sha256=bundle.hashlib.sha256(data).hexdigest()))


def test_a_whole_bundle_loads_with_its_bytes(folder, content):
    loaded = bundle.load(folder)
    assert loaded.graphs == {
        role: content[f"{role}.onnx"] for role in ("features", "window", "prefix", "finish", "step")
    }
    assert loaded.sha256 == bundle.hashlib.sha256(content["manifest.json"]).hexdigest()
    assert len(loaded.golden.ticks) == loaded.manifest.certificate.cases
    assert loaded.golden.kinds()["one_tick_gap"] > 0


@pytest.mark.parametrize("name", ["features.onnx", "window.onnx", "prefix.onnx", "finish.onnx", "golden.npz"])
def test_one_flipped_bit_in_any_file_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}: sha256 is"):
        bundle.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"unit": "bananas"},
        {"columns": ["ask", "bid", "bid_size", "ask_size", "seconds_since_previous"]},
        {"content_sha256": ""},
    ],
)
def test_a_manifest_changed_by_hand_is_refused(folder, change):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError, match="content_sha256 does not hold"):
        bundle.load(folder)


@pytest.mark.parametrize("name", ["manifest.json", "window.onnx", "golden.npz"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: cannot be read: No such file"):
        bundle.load(folder)


@pytest.mark.parametrize("name", ["manifest.json", "window.onnx", "golden.npz"])
def test_a_symbolic_link_is_refused_though_its_target_is_right(folder, name, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / name
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(BundleError, match=f"{name}.*symbolic link"):
        bundle.load(folder)


def test_a_file_that_the_manifest_does_not_name_is_refused(folder):
    (folder / "weights.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"weights\.bin: not in the manifest"):
        bundle.load(folder)


@pytest.mark.parametrize("file", ["../window.onnx", "sub/window.onnx", "/etc/window.onnx"])
def test_a_graph_outside_of_the_folder_is_refused(folder, file):
    rewrite(folder, lambda tree: tree["graphs"]["window"].update(file=file))
    with pytest.raises(BundleError, match=r"graphs\.window\.file"):
        bundle.load(folder)


def put_graph(folder, model):
    """Replace the window graph, with a hash that holds."""
    data = model.SerializeToString()
    (folder / "window.onnx").write_bytes(data)
    sha256 = bundle.hashlib.sha256(data).hexdigest()
    rewrite(folder, lambda tree: tree["graphs"]["window"].update(sha256=sha256))


def test_weights_in_another_file_are_refused(folder):
    model = onnx.load(folder / "window.onnx")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    tensor.ClearField("raw_data")
    put_graph(folder, model)
    with pytest.raises(BundleError, match=r"window\.onnx: keeps weights in another file"):
        bundle.load(folder)


def test_operators_that_are_not_onnx_s_own_are_refused_before_onnxruntime_sees_them(folder, monkeypatch):
    model = onnx.load(folder / "window.onnx")
    model.graph.node[0].domain = "com.microsoft"
    put_graph(folder, model)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(BundleError, match=r"window\.onnx: uses operators of the domain 'com\.microsoft'"):
        bundle.load(folder)


@pytest.mark.parametrize(
    ("limit", "name"),
    [("MANIFEST_BYTES_MAX", "manifest.json"), ("GRAPH_BYTES_MAX", "window.onnx"), ("ARRAYS_BYTES_MAX", "golden.npz")],
)
def test_a_file_longer_than_it_may_be_is_not_read_to_its_end(folder, monkeypatch, limit, name):
    monkeypatch.setattr(bundle_files, limit, (folder / name).stat().st_size - 1)
    with pytest.raises(BundleError, match=f"{name}: longer than"):
        bundle.load(folder)


def test_a_pipe_in_a_file_s_place_is_refused_and_not_waited_for(folder):
    (folder / "window.onnx").unlink()
    os.mkfifo(folder / "window.onnx")
    with pytest.raises(BundleError, match=r"window\.onnx: no regular file"):
        bundle.load(folder)


def test_an_unknown_manifest_key_is_refused(folder):
    rewrite(folder, lambda tree: tree.update(colour="blue"))
    with pytest.raises(BundleError, match="colour"):
        bundle.load(folder)


def test_every_problem_is_said_at_once(folder):
    (folder / "finish.onnx").unlink()
    (folder / "prefix.onnx").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    with pytest.raises(BundleError) as raised:
        bundle.load(folder)
    assert [line.split(": ")[1] for line in str(raised.value).splitlines()] == [
        "notes.txt",
        "prefix.onnx",
        "finish.onnx",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["graphs"]["window"]["inputs"][0].update(name="x"), "graphs.window.inputs: must be rows"),
        (lambda tree: tree["graphs"]["features"]["inputs"][0].update(dtype="float32"), "graphs.features.inputs"),
        (lambda tree: tree["graphs"]["window"]["inputs"][0].update(shape=["batch", 9, 8]), "rows: shape"),
        (lambda tree: tree["graphs"]["window"]["outputs"][0].update(shape=[1, 3]), "forecast: shape"),
        (lambda tree: tree["rules"].update(window=9), "ticks is float64"),
        (lambda tree: tree["carry"][0].update(finish_input="other"), "graphs.finish.inputs: must be"),
        (lambda tree: tree["certificate"].update(tolerance=0.5), "certificate.tolerance: 0.5, at most 1e-05"),
        (lambda tree: tree["certificate"]["case_kinds"].update(real=1), "kinds are not those of the certificate"),
    ],
)
def test_a_manifest_at_odds_with_itself_is_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(BundleError) as raised:
        bundle.load(folder)
    assert message in str(raised.value)


@pytest.mark.parametrize(("array", "value"), [("ticks", np.nan), ("forecast", np.inf)])
def test_golden_windows_that_are_not_finite_are_refused(folder, array, value):
    golden = bundle.load(folder).golden
    arrays = {"ticks": golden.ticks.copy(), "forecast": golden.forecast.copy(), "kind": golden.kind}
    arrays[array].flat[0] = value
    put_golden(folder, Golden(**arrays))
    with pytest.raises(BundleError, match=f"{array} holds values that are not finite"):
        bundle.load(folder)


def test_golden_windows_of_another_dtype_are_refused(folder):
    golden = bundle.load(folder).golden
    put_golden(folder, Golden(golden.ticks.astype(np.float32), golden.forecast, golden.kind))
    with pytest.raises(BundleError, match="ticks is float32"):
        bundle.load(folder)


def test_golden_windows_that_would_run_code_are_refused(folder):
    golden = bundle.load(folder).golden
    put_golden(folder, Golden(golden.ticks, golden.forecast, np.array([print] * len(golden.kind), object)))
    with pytest.raises(BundleError, match=r"golden\.npz: not arrays"):
        bundle.load(folder)
