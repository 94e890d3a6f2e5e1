"""An LSTM over many rows as a chain over a few each: the same bits, and nothing but such LSTMs is changed."""

import copy
from collections import Counter

import models
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper
from tickcast_export import conversion, graphs
from tickcast_export.families import FamilySettings
from tickcast_export.lstm_chain import ROWS_TIMES_UNITS_MAX, chained, length

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

ROWS, FEATURES, UNITS = 35, 3, 64
WEIGHTS = {"W": (1, 4 * UNITS, FEATURES), "R": (1, 4 * UNITS, UNITS), "B": (1, 8 * UNITS)}
STATE = (1, None, UNITS)


def lstm(outputs=("states", "hidden", "cell"), states=("", ""), lengths="", rows=ROWS, **attributes):
    """A graph of one LSTM over rows [rows, batch, features]; a name among `states` or `lengths` is an input."""
    random = np.random.default_rng(5)
    weights = [onnx.numpy_helper.from_array(random.normal(0, 0.3, s).astype(np.float32), n) for n, s in WEIGHTS.items()]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, STATE) for name in states if name]
    given += [helper.make_tensor_value_info(lengths, TensorProto.INT32, (None,))] if lengths else []
    taken = helper.make_tensor_value_info("rows", TensorProto.FLOAT, (rows, None, FEATURES))
    shapes = {"states": (rows, 1, None, UNITS), "hidden": STATE, "cell": STATE}
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs if name]
    node = helper.make_node("LSTM", ["rows", *WEIGHTS, lengths, *states], outputs, hidden_size=UNITS, **attributes)
    graph = helper.make_graph([node], "lstm", [taken, *given], results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", conversion.OPSET)], ir_version=9)


def run(model, batch, states=()):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(6)
    fed = {"rows": random.normal(size=(ROWS, batch, FEATURES)).astype(np.float32)}
    fed |= {name: random.normal(size=(1, batch, UNITS)).astype(np.float32) for name in states}
    return session.run(None, fed)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("outputs", [("states", "hidden", "cell"), ("", "hidden"), ("states",), ("", "", "cell")])
@pytest.mark.parametrize("states", [("", ""), ("first_hidden", "first_cell")])
@pytest.mark.parametrize("batch", [1, 5])
def test_chain_gives_the_same_bits(outputs, states, batch):
    model = lstm(outputs, states)
    chain = chained(copy.deepcopy(model))
    assert operators(chain) == Counter(LSTM=3, Split=1, **({"Concat": 1} if "states" in outputs else {}))
    given = [name for name in states if name]
    for found, wanted in zip(run(chain, batch, given), run(model, batch, given), strict=True):
        assert np.array_equal(found, wanted)
        assert np.ptp(wanted) > 0.1


@pytest.mark.parametrize(
    "model",
    [
        lstm(rows=16),
        lstm(rows=None),
        lstm(lengths="lengths"),
        lstm(("", "hidden"), direction="reverse"),
    ],
    ids=["few rows", "rows unknown", "windows of different lengths", "backward"],
)
def test_other_lstms_stay_as_they_are(model):
    before = model.SerializeToString()
    assert chained(model).SerializeToString() == before


def test_rows_are_shared_out_with_none_too_many_and_none_empty():
    for rows in range(1, 600):
        for units in (1, 3, 32, 64, 100, ROWS_TIMES_UNITS_MAX, 5_000):
            count = length(rows, units)
            longest = -(-rows // count)  # as onnxruntime splits: the last part takes what is left
            assert longest <= max(1, ROWS_TIMES_UNITS_MAX // units)
            assert (count - 1) * longest < rows


@pytest.mark.parametrize(("family", "layers"), [("stacked", 2), ("additive", 1), ("seq2seq", 1)])
def test_window_graph_of_a_wide_family_is_a_chain_that_computes_what_keras_computes(family, layers):
    settings = FamilySettings(units=256, second_units=256, attention_units=8)
    model, card = models.trained(family, settings), models.card(family, settings)
    window = graphs.trace(model, card)["window"]
    assert operators(window)["LSTM"] == layers * length(models.WINDOW, settings.units) == layers * 2
    asked = tf.constant(models.ticks(5, seed=4))
    rows = np.asarray(model.get_layer("features")(asked))
    session = onnxruntime.InferenceSession(window.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(["forecast"], {"rows": rows})[0]
    np.testing.assert_allclose(found, model(asked), rtol=0.0, atol=1e-5 * float(models.SCALE.mean()))
