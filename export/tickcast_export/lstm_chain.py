"""An LSTM operator over many rows as a chain of LSTM operators over a few rows each: the same sums in less memory.

onnxruntime's LSTM on a CPU multiplies all its rows with the input weights before its first step, and keeps the products
of every row, window and gate until its last. For a batch of windows those are megabytes, out to memory and back; over a
few rows they stay in the core's cache. Each operator hands its states to the next, and no value changes.
"""

from collections.abc import Iterator, Sequence
from math import ceil

import onnx
from onnx import NodeProto, helper

# 16 rows of an LSTM(64). More leave the cache from 64 windows on; fewer cost small batches, 3 us for each operator.
ROWS_TIMES_UNITS_MAX = 1_024

# An LSTM operator's inputs, some optional: rows, three of weights, lengths, first hidden and cell state, peepholes.
INPUTS, LENGTHS, FIRST_STATES = 8, 4, slice(5, 7)
OUTPUTS = 3  # all hidden states, the last, the last cell state


def chained(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, changed: every forward LSTM over a known, large number of rows is a chain. For opset 18 on."""
    graph = model.graph
    rows_of = _first_dimensions(model)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    nodes = [link for node in graph.node for link in _links(node, rows_of, read)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model


def length(rows: int, units: int) -> int:
    """How many operators an LSTM of so many units over so many rows becomes, each with about as many rows."""
    enough = ceil(rows / max(1, ROWS_TIMES_UNITS_MAX // units))
    return ceil(rows / ceil(rows / enough))  # as ONNX's Split does it: all parts as long as the first, but the last


def _links(node: NodeProto, rows_of: dict[str, int], read: set[str]) -> Iterator[NodeProto]:
    """What `node` becomes: itself, or where it is an LSTM over many rows, a chain of them."""
    count = _length(node, rows_of)
    if count == 1:
        yield node
        return
    name = next(filter(None, node.output))
    whole, hidden, cell = (given if given in read else "" for given in _padded(node.output, OUTPUTS))
    inputs = _padded(node.input, INPUTS)
    yield helper.make_node("Split", inputs[:1], [f"{name}_rows_{i}" for i in range(count)], axis=0, num_outputs=count)
    for i in range(count):
        inputs[0] = f"{name}_rows_{i}"
        states = [hidden, cell] if i == count - 1 else [f"{name}_hidden_{i}", f"{name}_cell_{i}"]
        link = helper.make_node("LSTM", inputs, [f"{name}_part_{i}" if whole else "", *states])
        link.attribute.extend(node.attribute)
        yield link
        inputs[FIRST_STATES] = states
    if whole:
        yield helper.make_node("Concat", [f"{name}_part_{i}" for i in range(count)], [whole], axis=0)


def _length(node: NodeProto, rows_of: dict[str, int]) -> int:
    """Operators that `node` becomes: one where it is no LSTM, reads backward, or takes windows of different lengths."""
    if node.op_type != "LSTM" or _padded(node.input, INPUTS)[LENGTHS] or node.input[0] not in rows_of:
        return 1
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if attributes.get("direction", b"forward") != b"forward" or attributes.get("layout", 0) != 0:
        return 1
    return length(rows_of[node.input[0]], attributes["hidden_size"])


def _first_dimensions(model: onnx.ModelProto) -> dict[str, int]:
    """Of every tensor where it is known: for an LSTM's input, the number of rows."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
    return {name: dims[0].dim_value for name, dims in shapes.items() if dims and dims[0].HasField("dim_value")}


def _padded(names: Sequence[str], count: int) -> list[str]:
    """With an empty name for each optional one left out."""
    return [*names, *[""] * count][:count]
