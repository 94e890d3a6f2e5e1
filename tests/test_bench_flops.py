"""Floating-point operations of operators and small graphs whose work is known."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from factories import manifest_with
from onnx import TensorProto, helper, numpy_helper
from tickcast import bench_flops
from tickcast.bundle import Bundle, Golden

WINDOW, FEATURES, UNITS, HORIZONS = 4, 2, 3, 2


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "flops"),
    [
        ("MatMul", [[1, 64, 64], [64, 10]], [[1, 64, 10]], 2 * 64 * 64 * 10),
        ("MatMul", [[1, 64, 64]], [[1, 64, 10]], 2 * 64 * 64 * 10),  # weights packed away
        ("FusedMatMul", [[1, 1, 63], [63, 1, 64]], [[1, 1, 64]], 2 * 63 * 64),
        ("FusedMatMul", [[1, 63, 2], [1, 63, 64]], [[1, 2, 64]], 2 * 2 * 63 * 64),  # left one transposed
        ("FusedGemm", [[1, 72], [256]], [[1, 256]], 2 * 72 * 256),
        ("LSTM", [[64, 1, 8], [1, 512]], [[64, 1, 1, 64], [1, 1, 64]], 2 * 64 * 256 * (8 + 64)),
        ("LSTM", [[64, 1, 8], [1, 512]], [[1, 1, 64]], 2 * 64 * 256 * (8 + 64)),  # the last state alone
        ("GRU", [[5, 2, 8]], [[5, 1, 2, 6]], 2 * 5 * 2 * 18 * (8 + 6)),
        ("Conv", [[1, 8, 64], [16, 8, 3]], [[1, 16, 62]], 2 * 16 * 62 * 8 * 3),
        ("Tanh", [[1, 64]], [[1, 64]], 0),
    ],
)
def test_the_work_of_an_operator_is_that_of_its_products(name, inputs, outputs, flops):
    assert bench_flops.operations(name, inputs, outputs) == flops


def _graph() -> bytes:
    """rows [batch, WINDOW, FEATURES] -> LSTM(UNITS), last state -> MatMul -> forecast [batch, HORIZONS]."""
    random = np.random.default_rng(1)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Transpose", ["rows"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=UNITS),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]),
        helper.make_node("MatMul", ["state", "v"], ["forecast"]),
    ]
    stored = [
        weights("w", 1, 4 * UNITS, FEATURES),
        weights("r", 1, 4 * UNITS, UNITS),
        weights("v", UNITS, HORIZONS),
        numpy_helper.from_array(np.array([0], np.int64), "axis"),
    ]
    graph = helper.make_graph(
        nodes,
        "window",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", WINDOW, FEATURES])],
        [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", HORIZONS])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def test_the_work_of_a_small_graph_is_what_its_shapes_say():
    golden = Golden(np.zeros((1, WINDOW, FEATURES)), np.zeros((1, HORIZONS), np.float32), np.array(["real"]))
    bundle = Bundle(Path("small"), manifest_with(), "", {"window": _graph()}, golden)
    lstm = 2 * WINDOW * 4 * UNITS * (FEATURES + UNITS)
    assert bench_flops.work(bundle) == {"window": lstm + 2 * UNITS * HORIZONS}


@pytest.mark.slow
def test_the_finish_graph_does_a_small_part_of_a_window_s_work(exported):
    from tickcast import bundle

    work = bench_flops.work(bundle.load(exported("stacked").bundle))
    assert work["window"] > work["prefix"] > 0
    assert 0 < work["finish"] < work["window"] / 8
