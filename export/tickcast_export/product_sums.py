"""A product of matrices and the sum after it as one operator, Gemm: one node less for each, and more behind it.

onnxruntime does this itself where the sum is with a float32 constant, and makes a Gemm and a sigmoid or tanh after it
one operator. It leaves alone products in float64, and sums with what is not constant: the features' normalisation, and
the carry of a `finish` graph. There every node counts: it runs for a single tick, right after other work, and what a
node costs then is less its arithmetic than code and memory that have left the cache.
"""

import onnx
from onnx import NodeProto, helper

Dimensions = list[int | None]  # of a tensor; None: not known


def summed(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, changed: MatMul [m, k] x [k, n] and a sum with [n] or [m, n], that nothing else reads, are a Gemm."""
    graph = model.graph
    dimensions = _dimensions(model)
    products = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    read = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    gemms: dict[str, NodeProto] = {}  # by what they compute
    replaced = set()  # products
    for node in graph.node:
        for product, addend in (node.input, reversed(node.input)) if node.op_type == "Add" else ():
            fits = product in products and read.count(product) == 1 and _fits(products[product], addend, dimensions)
            if fits and node.output[0] not in gemms:
                gemms[node.output[0]] = helper.make_node("Gemm", [*products[product].input, addend], node.output)
                replaced.add(product)
    nodes = [gemms.get(node.output[0], node) for node in graph.node if node.output[0] not in replaced]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model


def _fits(product: NodeProto, addend: str, dimensions: dict[str, Dimensions]) -> bool:
    """Whether the sum is no larger than the product. A varying number of rows is the same one on both sides."""
    left, right, added = (dimensions.get(name, []) for name in (*product.input, addend))
    if len(left) != 2 or len(right) != 2 or not added or right[1] is None or added[-1] != right[1]:
        return False
    return len(added) == 1 or (len(added) == 2 and left[0] is None and added[0] is None)


def _dimensions(model: onnx.ModelProto) -> dict[str, Dimensions]:
    """Tensor -> its dimensions, where its rank is known."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [
        value for value in (*graph.input, *graph.output, *graph.value_info) if value.type.tensor_type.HasField("shape")
    ]
    found: dict[str, Dimensions] = {
        value.name: [
            each.dim_value if each.HasField("dim_value") else None for each in value.type.tensor_type.shape.dim
        ]
        for value in values
    }
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}
