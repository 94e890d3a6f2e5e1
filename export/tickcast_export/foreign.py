"""Models that tickcast did not train: any Keras or ONNX file with one input [batch, window, columns].

Their rows are raw columns cast to float32: a window is as many ticks as rows, in golden windows too, and there is a
window graph and no other. (A live run's first tick still only primes: the window rules are the same for every model.)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tickcast.errors import UsageError
from tickcast.manifest import Tensor

from tickcast_export.certificate import Reference, keras_reference
from tickcast_export.conversion import LOAD_ERRORS, Shape, check, convert, interface

KERAS_SUFFIXES = (".keras", ".h5")

PREFIX = "model/"

Sizes = Sequence[int | None]


class Foreign(NamedTuple):
    """A foreign model as a window graph, and who says what its answers are."""

    graph: onnx.ModelProto  # rows [batch, window, columns] float32 -> forecast [batch, horizons] float32
    window: int
    horizons: int
    reference_name: str  # as the manifest has it
    reference: Reference  # raw windows [n, window, columns] float64 -> forecasts [n, horizons]


def read(path: Path, columns: int, window: int | None) -> Foreign:
    """The model in `path`; `window` where the model itself leaves it open. Raises UsageError for what does not fit."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.suffix == ".onnx":
        return _read_onnx(path, columns, window)
    if path.suffix in KERAS_SUFFIXES:
        return _read_keras(path, columns, window)
    raise UsageError(f"{path}: no model file: {', '.join((*KERAS_SUFFIXES, '.onnx'))}")


def _read_keras(path: Path, columns: int, window: int | None) -> Foreign:
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise UsageError(f"{path}: Keras cannot load it: {error}") from error
    shape = _shape(path, [t.shape for t in model.inputs], [t.shape for t in model.outputs], columns, window)
    graph = convert(lambda rows: (tf.cast(model(rows, training=False), tf.float32),), shape)
    return Foreign(graph, *_sizes(shape), "keras", keras_reference(model))


def _read_onnx(path: Path, columns: int, window: int | None) -> Foreign:
    try:
        model = onnx.load(path)  # weights in other files come in, and go out inside
        onnx.checker.check_model(model)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise UsageError(f"{path}: no valid ONNX file: {error}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = interface([value for value in model.graph.input if value.name not in constants])
    outputs = interface(model.graph.output)
    if {tensor.dtype for tensor in (*inputs, *outputs)} != {"float32"}:
        raise UsageError(f"{path}: its input and output must be float32")
    shape = _shape(path, [_open(t) for t in inputs], [_open(t) for t in outputs], columns, window)
    reference = _onnx_reference(path, model, inputs[0].name)
    model = _renamed(model, inputs[0].name, outputs[0].name, shape)
    check(model, shape)
    return Foreign(model, *_sizes(shape), "onnxruntime-cpu", reference)


def _shape(path: Path, inputs: Sequence[Sizes], outputs: Sequence[Sizes], columns: int, window: int | None) -> Shape:
    """What its window graph must look like, from the model's own shapes (None: left open)."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(f"{path}: {len(inputs)} inputs and {len(outputs)} outputs, must be one each")
    (taken,), (given,) = inputs, outputs
    if len(taken) != 3 or taken[0] is not None or len(given) != 2 or given[1] is None:
        text = f"takes {_text(taken)} and gives {_text(given)}"
        raise UsageError(f"{path}: {text}; must take [batch, window, columns] and give [batch, horizons], batch open")
    length = taken[1] or window
    if length is None:
        raise UsageError(f"{path}: leaves the window open; say --window")
    if window not in (None, length) or taken[2] not in (None, columns):
        raise UsageError(f"{path}: takes {_text(taken)}, not [batch, {window or length}, {columns}]")
    rows = Tensor(name="rows", dtype="float32", shape=("batch", length, columns))
    forecast = Tensor(name="forecast", dtype="float32", shape=("batch", given[1]))
    return Shape((rows,), (forecast,), foreign=True)


def _sizes(shape: Shape) -> tuple[int, int]:
    return int(shape.inputs[0].shape[1]), int(shape.outputs[0].shape[1])


def _open(tensor: Tensor) -> Sizes:
    return [None if isinstance(size, str) else size for size in tensor.shape]


def _text(sizes: Sizes) -> str:
    return f"[{', '.join('open' if size is None else str(size) for size in sizes)}]"


def _onnx_reference(path: Path, model: onnx.ModelProto, name: str) -> Reference:
    """The file's own answers on the CPU, one window at a time."""
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except LOAD_ERRORS as error:
        raise UsageError(f"{path}: onnxruntime cannot load it: {error}") from error

    def answer(ticks: NDArray[np.float64]) -> NDArray[np.float32]:
        rows = ticks.astype(np.float32)
        return np.concatenate([session.run(None, {name: rows[i : i + 1]})[0] for i in range(len(rows))])

    return answer


def _renamed(model: onnx.ModelProto, taken: str, given: str, shape: Shape) -> onnx.ModelProto:
    """The model with our names and shapes for its input and output.

    Its own names all get a prefix, so that none is one of ours; Identity nodes, which onnxruntime drops, lead from one
    to the other.
    """
    renamed: onnx.ModelProto = onnx.compose.add_prefix(model, PREFIX)
    graph, rows, forecast = renamed.graph, shape.inputs[0], shape.outputs[0]
    graph.node.insert(0, onnx.helper.make_node("Identity", [rows.name], [PREFIX + taken]))
    graph.node.append(onnx.helper.make_node("Identity", [PREFIX + given], [forecast.name]))
    for values, tensor in ((graph.input, rows), (graph.output, forecast)):
        del values[:]  # constants among the inputs, as before ONNX IR version 4, need no entry
        values.append(onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.shape))
    return renamed
