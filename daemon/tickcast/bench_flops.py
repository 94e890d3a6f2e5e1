"""Floating-point work of a bundle's graphs, from the shapes of what onnxruntime really runs.

Beside stage `engine.run` of the way of a tick. A graph runs once under onnxruntime's profiler, which names every
operator after its optimisations with the shapes it met. Products are counted (two operations for each multiplication
and addition); activations, sums and what moves data are not: a product of matrices is what they are compared with.
"""

import json
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

from tickcast.bundle import Bundle
from tickcast.manifest import Graph

# Gates of each recurrent operator, by what its name ends in.
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}

Shape = list[int]


def work(bundle: Bundle) -> dict[str, int]:
    """Role -> floating-point operations of one run over one window, tick or carry."""
    sizes = {"rows": bundle.manifest.rules.window - 1}
    return {role: _work(content, bundle.manifest.graphs[role], sizes) for role, content in bundle.graphs.items()}


def operations(name: str, inputs: list[Shape], outputs: list[Shape]) -> int:
    """Of one operator. Weights that onnxruntime keeps packed are missing from `inputs`."""
    for suffix, gates in GATES.items():
        if name.endswith(suffix):
            steps, batch, width = inputs[0]
            directions, _, units = outputs[0][-3:]  # of every step's state, or of the last one's alone
            return 2 * directions * steps * batch * gates * units * (width + units)
    if "MatMul" in name or "Gemm" in name:
        return 2 * prod(outputs[0]) * _summed(inputs[0], outputs[0])
    if "Conv" in name:
        return 2 * prod(outputs[0]) * prod(inputs[1][1:])
    return 0


def _summed(left: Shape, out: Shape) -> int:
    """How many terms each element of a product is the sum of; `left` may be transposed."""
    rows = out[-2] if len(out) > 1 else 1
    return left[-2] if len(left) > 1 and left[-2] != rows else left[-1]


def _work(content: bytes, graph: Graph, sizes: Mapping[str, int]) -> int:
    feeds = {
        tensor.name: np.zeros([sizes.get(n, 1) if isinstance(n, str) else n for n in tensor.shape], tensor.dtype)
        for tensor in graph.inputs
    }
    return sum(operations(*each) for each in _operators(_profile(content, feeds)))


def _profile(content: bytes, feeds: Mapping[str, Any]) -> Any:
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        session.run(None, feeds)
        return json.loads(Path(session.end_profiling()).read_text("utf-8"))


def _operators(events: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, list[Shape], list[Shape]]]:
    for event in events:
        details = event.get("args", {})
        if "input_type_shape" in details and "op_name" in details:
            yield details["op_name"], _shapes(details["input_type_shape"]), _shapes(details["output_type_shape"])


def _shapes(typed: Iterable[Mapping[str, Shape]]) -> list[Shape]:
    return [shape for each in typed for shape in each.values()]
