"""What is refused before onnxruntime sees it; and whatever the bytes, the answer is a BundleError or none."""

import time

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tickcast import onnx_wire
from tickcast.errors import BundleError

FLOAT = TensorProto.FLOAT


def tensor(name="weights", size=4):
    return helper.make_tensor(name, FLOAT, [size], bytes(4 * size), raw=True)


def external(name="weights"):
    made = tensor(name)
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value="/etc/passwd")
    return made


def graph(*nodes, initializer=(), name="g"):
    values = [helper.make_tensor_value_info(each, FLOAT, [4]) for each in ("x", "y")]
    return helper.make_graph(list(nodes), name, values[:1], values[1:], list(initializer))


def model(*nodes, initializer=(), **more):
    return helper.make_model(graph(*nodes, initializer=initializer), **more)


def add(domain=""):
    return helper.make_node("Add", ["x", "weights"], ["y"], domain=domain)


def branching(inner):
    """A graph in an attribute of a node."""
    return helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)


def nested(depth):
    inner = graph(add(), initializer=[tensor()])
    for _ in range(depth):
        inner = graph(branching(inner))
    return helper.make_model(inner)


def refusal(made):
    content = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(BundleError) as raised:
        onnx_wire.check(content)
    return str(raised.value)


def sparse():
    made = onnx.SparseTensorProto(dims=[4])
    made.values.CopyFrom(external())
    return made


def trained():
    made = model(add(), initializer=[tensor()])
    made.training_info.add()
    return made


def located_far_away():
    """External by its location alone, in a number that a reader of 32 bits cuts off to it."""
    made = tensor()
    made.data_location = TensorProto.EXTERNAL
    content = model(add(), initializer=[made]).SerializeToString()
    assert content.count(b"\x70\x01") == 1
    return content


def with_sparse():
    made = model(add())
    made.graph.sparse_initializer.append(sparse())
    return made


def test_an_ordinary_model_passes():
    onnx_wire.check(model(add(), initializer=[tensor()]).SerializeToString())
    onnx_wire.check(nested(3).SerializeToString())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: model(add(), initializer=[external()]), "keeps weights in another file"),
        (lambda: model(helper.make_node("Constant", [], ["y"], value=external())), "keeps weights in another file"),
        (lambda: model(branching(graph(add(), initializer=[external()]))), "keeps weights in another file"),
        (with_sparse, "keeps weights in another file"),
        (located_far_away, "keeps weights in another file"),
        (lambda: model(add("com.microsoft")), "operators of the domain 'com.microsoft'; allowed: ai.onnx, ai.onnx.ml"),
        (lambda: model(branching(graph(add("evil")))), "operators of the domain 'evil'"),
        (
            lambda: model(add(), opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]),
            "operators of the domain 'evil'",
        ),
        (lambda: model(add("\n\x1b[2J")), r"domain '\n\x1b[2J'"),
        (trained, "instructions for training"),
        (
            lambda: model(
                add(), functions=[helper.make_function("own", "f", ["a"], ["b"], [], [helper.make_opsetid("", 17)])]
            ),
            "defines operators of its own",
        ),
        (lambda: nested(9), "too large: more than 8 graphs within graphs"),
        (lambda: model(*[onnx.NodeProto()] * 50_001), "too large: more than 50000 nodes"),
    ],
)
def test_what_reaches_out_of_the_file_or_is_out_of_proportion_is_refused(made, message):
    assert message in refusal(made())


def test_a_tensor_larger_than_its_bytes_is_refused():
    made = tensor()
    made.dims[0] = 2**40
    assert "holds more elements than" in refusal(model(add(), initializer=[made]))
    made.dims[:] = [2] * 2_000
    assert "2000 dimensions" in refusal(model(add(), initializer=[made]))
    made.dims[:] = [-1]
    assert "holds more elements than" in refusal(model(add(), initializer=[made]))


def test_what_onnxruntime_would_take_for_its_own_format_is_refused():
    """These bytes are an ONNX file too: a producer's name of four letters or more."""
    made = model(add(), initializer=[tensor()])
    content = onnx.ModelProto(producer_name="xxORTM").SerializeToString()[:8] + made.SerializeToString()
    assert content[4:8] == b"ORTM"
    assert onnx.load_from_string(content).graph.node
    assert "own format" in refusal(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is no graph in it"),
        (b"\x08\x07", "there is no graph in it"),
        (b"\x3a\x05\x00", "ends within a field"),
        (b"\x3a\xff\xff\xff\xff\x7f", "ends within a field"),
        (b"\x38\x01", "a graph of wire type 0"),
        (b"\x3b\x3c", "wire type 3"),
        (b"\x00\x00", "a field without a number"),
        (b"\xff" * 20, "a number without an end"),
        (b"\xba\x80\x80\x80\x10\x00", "a field without a number"),  # other readers drop its upper bits: a graph
    ],
)
def test_bytes_that_are_no_onnx_file_are_refused(content, message):
    assert message in refusal(content)


def test_a_file_of_nothing_but_fields_does_not_take_long(monkeypatch):
    """However long it is, no more is looked at than the limit; here a fifth of the real one."""
    monkeypatch.setitem(onnx_wire.LIMITS, "fields", onnx_wire.LIMITS["fields"] // 5)
    started_s = time.process_time()
    assert "more than 200000 fields" in refusal(b"\x08\x01" * 5_000_000)
    assert "more than 200000 fields" in refusal(b"\x3a\x00" * 5_000_000)
    assert time.process_time() - started_s < 6.0


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(content):
    try:
        onnx_wire.check(content)
    except BundleError:
        return
    onnx.ModelProto.FromString(content)  # else there was a graph


RICH = model(
    add(),
    branching(graph(add("ai.onnx"), initializer=[tensor("inner")])),
    helper.make_node("Constant", [], ["c"], value=tensor("constant")),
    initializer=[tensor()],
    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)],
).SerializeToString()


@given(
    st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(RICH)),
    st.binary(max_size=12),
)
def test_what_passes_holds_nothing_that_was_to_be_refused_as_protobuf_reads_it(changes, place, inserted):
    """The reader and protobuf's own must not see two different files in the same bytes."""
    content = bytearray(RICH)
    for at, byte in changes:
        content[at] = byte
    content[place:place] = inserted
    try:
        onnx_wire.check(bytes(content))
        read = onnx.ModelProto.FromString(bytes(content))
    except (BundleError, DecodeError):
        return
    assert not read.functions
    assert not read.training_info
    assert {each.domain for each in read.opset_import} <= {"", "ai.onnx", "ai.onnx.ml"}
    assert_harmless(read.graph)


def assert_harmless(found):
    tensors = list(found.initializer)
    for each in found.sparse_initializer:
        tensors += [each.values, each.indices]
    for node in found.node:
        assert node.domain in ("", "ai.onnx", "ai.onnx.ml")
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors, attribute.sparse_tensor.values]
            for inner in (attribute.g, *attribute.graphs):
                assert_harmless(inner)
    for each in tensors:
        assert not each.external_data
        assert each.data_location == TensorProto.DEFAULT
