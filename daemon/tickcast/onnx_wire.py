"""An ONNX file looked through before onnxruntime sees it, as the bytes it is: the daemon has no onnx package.

Before every stage of the way of a tick. It reads protobuf's wire format (protobuf.dev, "Encoding") as far as onnx.proto
says that graphs, nodes and tensors lie in it, and refuses what reaches out of the file or is out of all proportion.
Whether the rest is a graph that can be run is onnxruntime's to say.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tickcast.errors import BundleError

# Operators whose code is onnxruntime's own and touches nothing but tensors. Not `com.microsoft`: its EPContext names
# files to load.
DOMAINS = (b"", b"ai.onnx", b"ai.onnx.ml")

# A model of a few MB has some thousand fields and hundreds of nodes; a million fields take two seconds to walk. The
# branches of If and the bodies of Loop and Scan are graphs within graphs.
LIMITS: Mapping[str, int] = {"fields": 1_000_000, "nodes": 50_000, "graphs within graphs": 8}
DIMENSIONS_MAX = 32
# The densest element type of a tensor puts four of them into a byte.
ELEMENTS_A_BYTE_MAX = 4
NAME_BYTES_SHOWN = 60

# What onnxruntime takes for its own format, whatever else the bytes say, has these from the fifth byte on.
ORT_FORMAT = b"ORTM"

# Wire types.
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
# Above it protobuf's own readers drop bits, and would see another field than we do.
TAG_MAX = 0xFFFFFFFF
VARINT_BYTES_MAX = 10

# Message of onnx.proto -> number of a field -> what lies there, of those that lead to something.
PARTS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 8: "operator set", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "operator set": {1: "domain"},
    "tensor": {1: "dimension", 13: "external", 14: "location"},
}
REFUSED: Mapping[str, str] = {
    "external": "keeps weights in another file",
    "function": "defines operators of its own: put their nodes in their place (onnx.inliner) before exporting it",
    "training": "holds instructions for training",
}
NUMBERS = ("dimension", "location")


class _Field(NamedTuple):
    """One field of a message."""

    number: int
    wire_type: int
    value: int  # of a varint
    content: memoryview  # of what has a length


def check(content: bytes) -> None:
    """Raise BundleError, and never anything else, where `content` is no ONNX file or one that must not be loaded."""
    if content[4:8] == ORT_FORMAT:
        raise BundleError("is in onnxruntime's own format, not ONNX")
    count = dict.fromkeys(LIMITS, 0)
    graphs = 0
    waiting = [("model", memoryview(content), 0)]  # message, its bytes, graphs around it
    while waiting:
        message, inside, count["graphs within graphs"] = waiting.pop()
        dimensions = []
        for field in _fields(inside):
            part = PARTS[message].get(field.number, "")
            count["fields"] += 1
            count["nodes"] += part == "node"
            _check_limits(count)
            if part:
                _check_field(part, field)
            if part == "dimension":
                dimensions.append(field.value)
            elif part in PARTS:
                graphs += part == "graph"
                waiting.append((part, field.content, count["graphs within graphs"] + (part == "graph")))
        _check_tensor(dimensions, len(inside))
    if not graphs:
        raise BundleError("is no ONNX file: there is no graph in it")


def _check_field(part: str, field: _Field) -> None:
    """Raise BundleError where `part` must not be in a file, or not so."""
    if part in REFUSED:
        raise BundleError(REFUSED[part])
    if field.wire_type != (VARINT if part in NUMBERS else LENGTH):
        raise BundleError(f"is no ONNX file: a {part} of wire type {field.wire_type}")
    if part == "location" and field.value != 0:
        raise BundleError(REFUSED["external"])
    if part == "domain" and bytes(field.content) not in DOMAINS:
        name = bytes(field.content[:NAME_BYTES_SHOWN]).decode("utf-8", "replace")
        allowed = ", ".join(domain.decode() for domain in DOMAINS if domain)
        raise BundleError(f"uses operators of the domain {name!a}; allowed: {allowed}")


def _check_tensor(dimensions: Sequence[int], size_bytes: int) -> None:
    """Raise BundleError where a tensor says that it holds more than its bytes can."""
    if len(dimensions) > DIMENSIONS_MAX:
        raise BundleError(f"has a tensor of {len(dimensions)} dimensions")
    if dimensions and math.prod(dimensions) > ELEMENTS_A_BYTE_MAX * size_bytes:
        raise BundleError(f"has a tensor that says it holds more elements than {size_bytes} bytes can")


def _check_limits(count: Mapping[str, int]) -> None:
    for what, most in LIMITS.items():
        if count[what] > most:
            raise BundleError(f"is too large: more than {most} {what}")


def _fields(message: memoryview) -> Iterator[_Field]:
    """The fields of one message, in order. Raises BundleError where it is none."""
    at, end = 0, len(message)
    none = message[:0]
    while at < end:
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if not number or tag > TAG_MAX:
            raise BundleError("is no ONNX file: a field without a number")
        if wire_type == VARINT:
            value, at = _varint(message, at)
            yield _Field(number, wire_type, value, none)
            continue
        if wire_type == LENGTH:
            length, at = _varint(message, at)
        elif wire_type in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if wire_type == EIGHT_BYTES else 4
        else:
            raise BundleError(f"is no ONNX file: wire type {wire_type}")
        if length > end - at:
            raise BundleError("is no ONNX file, or a part of one: it ends within a field")
        yield _Field(number, wire_type, 0, message[at : at + length])
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing begins."""
    value = 0
    for place, byte in enumerate(message[at : at + VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise BundleError("is no ONNX file: a number without an end")
