"""One function of tensors -> one ONNX graph that is what it says: names, shapes, dtypes, operators all checked.

tf2onnx logs what it cannot convert and still returns a graph, casts a float64 Log to float32 and back, computes the
shape of an LSTM's first state although it is zero, and turns an LSTM it does not recognise into a Loop: each of these
is repaired or refused here.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnx import TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as state
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import Tensor

# The newest that tf2onnx writes. From 21 on onnxruntime would run some operators on the CPU, with copies to and fro.
OPSET = 18

CONTROL_FLOW = ("Loop", "Scan", "If")
STANDARD_DOMAINS = ("", "ai.onnx")

# What may follow a feature row's cast to float32.
AFTER_LAST_CAST = ("Clip", "Identity")

DTYPES: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}

# onnxruntime's own exceptions, which share no base class.
LOAD_ERRORS: tuple[type[Exception], ...] = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)


@dataclass(frozen=True)
class Shape:
    """What a graph must look like: its inputs and outputs in order, and what is expected inside."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    lstm_nodes: int = 0  # LSTM operators; a traced loop in their place would be many times slower
    float64_until: str = ""  # the output that is computed in float64 up to its last step; none: no float64 at all
    foreign: bool = False  # any operators that onnxruntime runs; the two expectations above do not matter


def hide_gpu() -> None:
    """Keep TensorFlow off the GPU, where it traces LSTMs that cannot be exported. UsageError where it is late."""
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise UsageError("TensorFlow uses the GPU in this process already: export in a process of its own") from error


def convert(function: Callable[..., Sequence[tf.Tensor]], shape: Shape) -> onnx.ModelProto:
    """Trace `function` of the inputs, which returns the outputs in order. Raises BundleError where it does not fit."""
    model: onnx.ModelProto
    signature = [
        tf.TensorSpec([None if isinstance(n, str) else n for n in tensor.shape], tensor.dtype, name=tensor.name)
        for tensor in shape.inputs
    ]
    traced = tf.function(lambda *tensors: tuple(function(*tensors)), input_signature=signature)
    with _quiet():
        model, external = tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)
    if external:
        raise BundleError("graph: weights outside of the ONNX file")
    log_in_float64(model.graph)
    start_from_zero(model.graph)
    _name(model.graph, shape)
    _describe(model.graph, shape)
    check(model, shape)
    return model


def log_in_float64(graph: onnx.GraphProto) -> None:
    """Undo tf2onnx's float64 -> float32 -> Log -> float64: onnxruntime has a float64 Log."""
    producer = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for log in [node for node in graph.node if node.op_type == "Log"]:
        before, after = producer.get(log.input[0]), readers.get(log.output[0], [])
        if before is None or not _casts(before, TensorProto.FLOAT):
            continue
        if len(after) != 1 or not _casts(after[0], TensorProto.DOUBLE):
            continue
        log.input[0] = before.input[0]
        log.output[0] = after[0].output[0]
        graph.node.remove(after[0])
        if len(readers[before.output[0]]) == 1:
            graph.node.remove(before)
    del graph.value_info[:]


def start_from_zero(graph: onnx.GraphProto) -> None:
    """Leave out an LSTM's first states that are zeros of a computed shape: zero is the operator's default.

    The nodes that computed the shape go too; with them a graph could not be captured on a GPU.
    """
    producer = {name: node for node in graph.node for name in node.output}
    zeros = {tensor.name for tensor in graph.initializer if not onnx.numpy_helper.to_array(tensor).any()}
    for lstm in [node for node in graph.node if node.op_type == "LSTM"]:
        for position in (5, 6):  # initial_h, initial_c
            if position < len(lstm.input) and _is_zero(lstm.input[position], producer, zeros):
                lstm.input[position] = ""
    _drop_unread(graph)


def check(model: onnx.ModelProto, shape: Shape) -> None:
    """Raise BundleError, naming every problem, where `model` is not what `shape` says or onnxruntime cannot load it."""
    problems = [*_interface_problems(model.graph, shape), *_checker_problems(model)]
    if not problems and not shape.foreign:
        problems = _operator_problems(model, shape)
    if not problems:
        problems = _load_problems(model)
    if problems:
        raise BundleError("\n".join(f"graph {model.graph.name}: {problem}" for problem in problems))


def interface(values: Sequence[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
    """Names, dtypes and shapes of inputs or outputs. Raises BundleError for a dtype that no graph here may have."""
    return tuple(_tensor(value) for value in values)


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    if kind.elem_type not in DTYPES:
        raise BundleError(f"{value.name}: neither float32 nor float64")
    dims = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or f"{value.name}_{i}")
        for i, d in enumerate(kind.shape.dim)
    )
    return Tensor.model_validate({"name": value.name, "dtype": DTYPES[kind.elem_type], "shape": dims})


def _is_zero(name: str, producer: dict[str, onnx.NodeProto], zeros: set[str]) -> bool:
    """Whether a tensor is a zero constant, or one of another shape."""
    while name not in zeros:
        node = producer.get(name)
        if node is None or node.op_type not in ("Unsqueeze", "Expand", "Reshape"):
            return False
        name = node.input[0]
    return True


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove nodes and constants that no output needs."""
    read = {value.name for value in graph.output}
    for node in reversed(graph.node):  # in topological order, so every reader of a node comes before it here
        if not read.isdisjoint(node.output):
            read.update(_read_by(node))
    for nodes in (graph.node, graph.initializer):
        kept = [n for n in nodes if not read.isdisjoint(n.output if isinstance(n, onnx.NodeProto) else (n.name,))]
        del nodes[:]
        nodes.extend(kept)


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Names a node reads, those that a Loop's or an If's body takes from outside included."""
    bodies = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return set(node.input).union(*(_read_by(inner) for body in bodies for inner in body.node))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without tf2onnx's warnings: what they warn of is checked."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _casts(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == to for a in node.attribute)


def _name(graph: onnx.GraphProto, shape: Shape) -> None:
    """Our names for inputs and outputs: tf2onnx's are not stable between runs."""
    if len(graph.input) != len(shape.inputs) or len(graph.output) != len(shape.outputs):
        return  # `check` says so
    wanted = {value.name: tensor.name for value, tensor in zip(graph.input, shape.inputs, strict=True)}
    wanted |= {value.name: tensor.name for value, tensor in zip(graph.output, shape.outputs, strict=True)}
    for node in graph.node:
        node.input[:] = [wanted.get(name, name) for name in node.input]
        node.output[:] = [wanted.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = wanted[value.name]


def _describe(graph: onnx.GraphProto, shape: Shape) -> None:
    """Our names for the dimensions that vary, where the rank agrees; `check` refuses any other difference."""
    for value, tensor in zip((*graph.input, *graph.output), (*shape.inputs, *shape.outputs), strict=False):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == len(tensor.shape):
            for dim, wanted in zip(dims, tensor.shape, strict=True):
                if isinstance(wanted, str) and not dim.HasField("dim_value"):
                    dim.dim_param = wanted


def _interface_problems(graph: onnx.GraphProto, shape: Shape) -> list[str]:
    problems = []
    for kind, values, tensors in (("input", graph.input, shape.inputs), ("output", graph.output, shape.outputs)):
        found = interface(values)
        if found != tensors:
            problems.append(f"{kind}s are {_text(found)}, expected {_text(tensors)}")
    return problems


def _text(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in tensors) or "none"


def _checker_problems(model: onnx.ModelProto) -> list[str]:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return [f"the ONNX checker refuses it: {error}"]
    return []


def _operator_problems(model: onnx.ModelProto, shape: Shape) -> list[str]:
    nodes = model.graph.node
    problems = [f"unknown operator domain {d}" for d in sorted({n.domain for n in nodes} - set(STANDARD_DOMAINS))]
    problems += [f"control flow: {op}" for op in CONTROL_FLOW if any(node.op_type == op for node in nodes)]
    lstm_nodes = sum(node.op_type == "LSTM" for node in nodes)
    if lstm_nodes != shape.lstm_nodes:
        problems.append(f"{lstm_nodes} LSTM operators, expected {shape.lstm_nodes}")
    return problems + _precision_problems(model, shape.float64_until)


def _precision_problems(model: onnx.ModelProto, output: str) -> list[str]:
    """What float64 there is goes down to float32 once, right before `output`: nothing was computed in less."""
    casts = [node.output[0] for node in _casts_from_float64(model)]
    if len(casts) != bool(output):
        return [f"{len(casts)} casts from float64 to float32, expected {int(bool(output))}"]
    if not output:
        return []
    producer = {name: node for node in model.graph.node for name in node.output}
    name = output
    while producer[name].op_type in AFTER_LAST_CAST:
        name = producer[name].input[0]
    return [] if name in casts else [f"{output} is not cast to float32 by its last step"]


def _casts_from_float64(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    doubles = {v.name for v in (*graph.input, *graph.value_info) if v.type.tensor_type.elem_type == TensorProto.DOUBLE}
    doubles |= {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.DOUBLE}
    return [node for node in graph.node if _casts(node, TensorProto.FLOAT) and node.input[0] in doubles]


def _load_problems(model: onnx.ModelProto) -> list[str]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except LOAD_ERRORS as error:
        return [f"onnxruntime cannot load it: {error}"]
    return []
