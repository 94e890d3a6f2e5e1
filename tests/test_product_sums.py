"""Products and sums as one operator: the same values, and only where both are there for nothing else."""

from collections import Counter

import models
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tickcast_export import conversion, graphs
from tickcast_export.product_sums import summed

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

RANDOM = np.random.default_rng(3)
KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}


def graph(*nodes, given, weights=(), dtype=np.float32, outputs=("out",)):
    """A graph of these nodes: inputs by name and shape, weights by name and values, outputs of rank 2 or 3."""
    kind = KINDS[np.dtype(dtype)]
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, shape in given.items()]
    rank = max(len(shape) for shape in given.values())
    results = [helper.make_tensor_value_info(name, kind, [None] * rank) for name in outputs]
    constants = [numpy_helper.from_array(values.astype(dtype), name) for name, values in dict(weights).items()]
    body = helper.make_graph(list(nodes), "products", inputs, results, constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", conversion.OPSET)], ir_version=9)


def product(left="rows", right="weights", out="product"):
    return helper.make_node("MatMul", [left, right], [out])


def add(left="product", right="added", out="out"):
    return helper.make_node("Add", [left, right], [out])


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def answers(model, fed):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, fed)


def unchanged(model):
    before = [node.SerializeToString() for node in model.graph.node]
    return [node.SerializeToString() for node in summed(model).graph.node] == before


WEIGHTS = RANDOM.normal(size=(5, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [("product", "added"), ("added", "product")])
@pytest.mark.parametrize("is_constant", [True, False])
def test_a_product_and_its_sum_become_one_operator_of_the_same_values(dtype, order, is_constant):
    given = {"rows": ("batch", 5)} | ({} if is_constant else {"added": ("batch", 4)})
    weights = {"weights": WEIGHTS} | ({"added": RANDOM.normal(size=4)} if is_constant else {})
    model = graph(product(), add(*order), given=given, weights=weights, dtype=dtype)
    fed = {name: RANDOM.normal(size=(3, shape[1])).astype(dtype) for name, shape in given.items()}
    (before,) = answers(model, fed)
    assert operators(summed(model)) == {"Gemm": 1}
    np.testing.assert_allclose(answers(model, fed)[0], before, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)


def test_a_sum_with_what_is_computed_after_the_product_stays_in_order():
    later = helper.make_node("Tanh", ["given"], ["added"])
    given = {"rows": ("batch", 5), "given": ("batch", 4)}
    model = summed(graph(product(), later, add(), given=given, weights={"weights": WEIGHTS}))
    assert [node.op_type for node in model.graph.node] == ["Tanh", "Gemm"]
    fed = {name: RANDOM.normal(size=(2, shape[1])).astype(np.float32) for name, shape in given.items()}
    wanted = fed["rows"] @ WEIGHTS.astype(np.float32) + np.tanh(fed["given"])
    np.testing.assert_allclose(answers(model, fed)[0], wanted, atol=1e-6)


def test_the_sum_of_two_products_takes_one_of_them():
    given = {"rows": ("batch", 5)}
    nodes = (product(), product(right="others", out="added"), add())
    model = graph(*nodes, given=given, weights={"weights": WEIGHTS, "others": WEIGHTS[::-1]})
    fed = {"rows": RANDOM.normal(size=(2, 5)).astype(np.float32)}
    (before,) = answers(model, fed)
    assert operators(summed(model)) == {"MatMul": 1, "Gemm": 1}
    np.testing.assert_allclose(answers(model, fed)[0], before, atol=1e-6)


def test_a_product_that_is_read_elsewhere_stays():
    given, weights = {"rows": ("batch", 5)}, {"weights": WEIGHTS, "added": np.ones(4)}
    assert unchanged(graph(product(), add(), given=given, weights=weights, outputs=("out", "product")))
    twice = helper.make_node("Add", ["product", "product"], ["out"])
    assert unchanged(graph(product(), twice, given=given, weights=weights))


@pytest.mark.parametrize(
    ("rows", "added"), [(("batch", 2, 5), (4,)), (("batch", 5), (1,)), ((1, 5), (3, 4)), (("batch", 5), (1, 4))]
)
def test_a_sum_that_is_no_gemm_s_stays(rows, added):
    """Products of three dimensions, and constants that Gemm reads otherwise or that make the sum larger."""
    weights = {"weights": WEIGHTS, "added": np.ones(added)}
    assert unchanged(graph(product(), add(), given={"rows": rows}, weights=weights))


@pytest.mark.parametrize(("family", "gemms"), [("additive", 6), ("stacked", 6), ("seq2seq", 7)])
def test_a_finish_graph_has_no_sums_after_its_products_but_in_attention(family, gemms):
    traced = graphs.trace(models.trained(family), models.card(family))
    assert operators(traced["features"])["Gemm"] == 1
    assert operators(traced["finish"])["Gemm"] == gemms
    assert len(traced["finish"].graph.node) < len(traced["step"].graph.node)
