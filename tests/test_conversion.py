"""What tf2onnx gets wrong is repaired or refused, each by the name of what is wrong."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper
from tickcast.errors import BundleError
from tickcast.manifest import Tensor
from tickcast_export import conversion
from tickcast_export.conversion import Shape, convert

ROWS = Tensor(name="rows", dtype="float32", shape=("batch", 4, 3))
TICKS = Tensor(name="ticks", dtype="float64", shape=("batch", 3))
FORECAST = Tensor(name="forecast", dtype="float32", shape=("batch", 3))


def lstm(units=3):
    layer = tf.keras.layers.LSTM(units, use_cudnn=False)
    layer.build((None, 4, 3))
    return layer


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_logarithm_stays_in_float64():
    """At 60,000 a tick of 0.01 is lost in float32: the difference of logarithms would be 0 or twice itself."""

    def function(ticks):
        return (tf.cast(1e7 * (tf.math.log(ticks) - tf.math.log(tf.reverse(ticks, [1]))), tf.float32),)

    model = convert(function, Shape((TICKS,), (FORECAST,), float64_until="forecast"))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ticks = np.array([[60_000.00, 60_000.05, 60_000.01]])
    (found,) = session.run(None, {"ticks": ticks})[0]
    np.testing.assert_allclose(found, 1e7 * np.log(ticks[0] / ticks[0, ::-1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda ticks: tf.math.log(tf.cast(ticks, tf.float32)), "forecast is not cast to float32 by its last step"),
        (lambda ticks: tf.cast(ticks, tf.float32) * tf.cast(ticks**2, tf.float32), "2 casts from float64 to float32"),
        (lambda ticks: tf.ones_like(ticks, tf.float32), "0 casts from float64 to float32"),
    ],
)
def test_early_cast_to_float32_is_refused(function, message):
    with pytest.raises(BundleError, match=message):
        convert(lambda ticks: (function(ticks),), Shape((TICKS,), (FORECAST,), float64_until="forecast"))


def test_float64_where_none_is_expected_is_refused():
    def function(rows):
        return (tf.cast(tf.reduce_sum(tf.cast(rows, tf.float64), axis=1), tf.float32),)

    with pytest.raises(BundleError, match="1 casts from float64 to float32, expected 0"):
        convert(function, Shape((ROWS,), (FORECAST,)))


def test_lstm_becomes_one_operator_without_shape_arithmetic():
    layer = lstm()
    model = convert(lambda rows: (layer(rows),), Shape((ROWS,), (FORECAST,), lstm_nodes=1))
    assert set(operators(model)) <= {"LSTM", "Slice", "Squeeze", "Transpose"}
    rows = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(["forecast"], {"rows": rows})[0]
    np.testing.assert_allclose(found, layer(tf.constant(rows)), atol=1e-6)


def test_lstm_that_starts_from_a_state_keeps_it():
    layer = lstm()
    ones = np.ones((1, 3), np.float32)

    def function(rows):
        state = tf.constant(ones) * tf.ones_like(rows[:, 0])
        return (layer(rows, initial_state=[state, state]),)

    model = convert(function, Shape((ROWS,), (FORECAST,), lstm_nodes=1))
    rows = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(["forecast"], {"rows": rows})[0]
    np.testing.assert_allclose(found, function(tf.constant(rows))[0], atol=1e-6)
    assert np.abs(found - layer(tf.constant(rows))).max() > 1e-3


def test_lstm_traced_with_one_window_is_refused_as_a_loop():
    layer = lstm()
    one = Tensor(name="rows", dtype="float32", shape=(1, 4, 3))
    with pytest.raises(BundleError, match="control flow: Loop"):
        convert(
            lambda rows: (layer(rows),), Shape((one,), (FORECAST.model_copy(update={"shape": (1, 3)}),), lstm_nodes=1)
        )


def test_operator_that_tf2onnx_only_logs_is_refused():
    with pytest.raises(BundleError, match="Log1p"):
        convert(lambda rows: (tf.math.log1p(tf.reduce_sum(rows, axis=1)),), Shape((ROWS,), (FORECAST,)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"shape": ("batch", 2)}, "outputs are forecast float32"), ({"dtype": "float64"}, "expected forecast float64")],
)
def test_output_of_another_shape_or_dtype_is_refused(changed, message):
    with pytest.raises(BundleError, match=message):
        convert(lambda rows: (tf.reduce_sum(rows, axis=1),), Shape((ROWS,), (FORECAST.model_copy(update=changed),)))


def test_missing_output_is_refused():
    second = FORECAST.model_copy(update={"name": "attention"})
    with pytest.raises(BundleError, match=r"expected forecast .* attention"):
        convert(lambda rows: (tf.reduce_sum(rows, axis=1),), Shape((ROWS,), (FORECAST, second)))


def test_captured_tensor_that_would_become_an_input_is_refused_or_a_constant():
    """Tensors captured from outside, unlike variables, come out of a trace as inputs."""
    captured = tf.reshape(tf.range(3, dtype=tf.float32), [1, 3])
    try:
        model = convert(lambda rows: (tf.reduce_sum(rows, axis=1) + captured,), Shape((ROWS,), (FORECAST,)))
    except BundleError as error:
        assert "inputs are" in str(error)  # noqa: PT017
    else:
        assert [value.name for value in model.graph.input] == ["rows"]


def test_unknown_operator_domain_is_refused():
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 4, 3])
    forecast = helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", 4, 3])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["rows"], ["forecast"], domain="x")], "g", [rows], [forecast]
    )
    opsets = [helper.make_opsetid("", conversion.OPSET), helper.make_opsetid("x", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    output = Tensor(name="forecast", dtype="float32", shape=("batch", 4, 3))
    with pytest.raises(BundleError, match="unknown operator domain x"):
        conversion.check(model, Shape((ROWS,), (output,)))


def test_constant_that_only_a_loop_body_reads_is_kept():
    """Dropping what nobody reads must see what the body of a Loop takes from outside."""
    body_rows = helper.make_node("Add", ["held", "offset"], ["next"])
    body = helper.make_graph(
        [body_rows, helper.make_node("Identity", ["condition"], ["again"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, ["batch", 3]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["batch", 3]),
        ],
    )
    constants = [
        helper.make_tensor("offset", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]),
        helper.make_tensor("times", TensorProto.INT64, [], [2]),
        helper.make_tensor("unread", TensorProto.FLOAT, [1], [0.0]),
    ]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "", "rows"], ["forecast"], body=body)],
        "g",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", 3])],
        constants,
    )
    conversion.start_from_zero(graph)
    assert [tensor.name for tensor in graph.initializer] == ["offset", "times"]
    onnx.checker.check_graph(graph, _context())


def _context():
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 9, {"": conversion.OPSET}
    return context
