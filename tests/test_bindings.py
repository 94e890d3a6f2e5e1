"""Bound runs answer as plain ones do, whatever was run before, and what they return stays as it was."""

import models
import numpy as np
import pytest
from tickcast import providers
from tickcast.bindings import LARGE_ROW_BYTES, HostGraph, PlainGraph, Slot, grows, slot
from tickcast.config import InferenceConfig
from tickcast.manifest import Tensor

ROWS_MAX = 70  # more than bindings are kept for
OUTPUTS = ("forecast", "row")


@pytest.fixture(scope="module")
def bundle():
    return models.draft("seq2seq")


@pytest.fixture(scope="module")
def session(bundle):
    return providers.session(bundle.graphs["finish"], "cpu", InferenceConfig(provider="cpu"))


@pytest.fixture(scope="module")
def given(bundle):
    """Inputs of the finish graph, ROWS_MAX of them; the carries' rows vary, so that they are never buffered."""
    random = np.random.default_rng(3)
    arrays = {"ticks": models.ticks(ROWS_MAX, 1)}
    for tensor in bundle.manifest.graphs["finish"].inputs[1:]:
        shape = [models.WINDOW - 1 if each == "rows" else each for each in tensor.shape[1:]]
        arrays[tensor.name] = random.normal(size=(ROWS_MAX, *shape)).astype(np.float32)
    return arrays


@pytest.fixture
def graph(bundle, session):
    tensors = bundle.manifest.graphs["finish"]
    outputs = [slot(tensor) for tensor in tensors.outputs if tensor.name in OUTPUTS]
    inputs = [slot(tensor) for tensor in tensors.inputs if not grows(tensor)]
    return HostGraph(session, inputs, outputs, ROWS_MAX)


def _part(given, begin, end):
    return {name: array[begin:end] for name, array in given.items()}


def test_runs_of_changing_size_answer_as_plain_ones_do(session, graph, given):
    plain = PlainGraph(session, OUTPUTS, ROWS_MAX)
    for begin, end in ((0, 1), (1, 4), (4, 5), (0, ROWS_MAX), (9, 12), (3, ROWS_MAX), (0, 1)):
        part = _part(given, begin, end)
        wanted = plain.run(end - begin, part)
        found = graph.run(end - begin, part)
        assert [array.tolist() for array in found] == [array.tolist() for array in wanted]


def test_what_a_run_returned_is_not_overwritten_by_the_next(graph, given):
    first = graph.run(2, _part(given, 0, 2))
    kept = [array.copy() for array in first]
    second = graph.run(2, _part(given, 2, 4))
    assert not np.array_equal(first[0], second[0])
    assert [array.tolist() for array in first] == [array.tolist() for array in kept]


def test_a_carry_is_left_as_it_was(graph, given):
    part = _part(given, 0, 3)
    kept = {name: array.copy() for name, array in part.items()}
    graph.run(3, part)
    assert all(np.array_equal(part[name], kept[name]) for name in part)


def test_arrays_of_another_length_are_refused_not_repeated(graph, given):
    with pytest.raises(AssertionError, match="ticks is"):
        graph.run(3, _part(given, 0, 3) | {"ticks": given["ticks"][:1]})


def test_a_run_longer_than_the_buffers_is_refused(graph, given):
    with pytest.raises(AssertionError, match="71 rows, at most 70"):
        graph.run(ROWS_MAX + 1, given)


def test_a_slot_is_a_row_of_a_tensor():
    fixed = Tensor(name="a", dtype="float64", shape=("batch", 2, 5))
    growing = Tensor(name="a", dtype="float32", shape=("batch", "rows", 5))
    assert (grows(fixed), grows(growing)) == (False, True)
    assert slot(fixed) == Slot("a", (2, 5), np.dtype(np.float64))
    assert slot(growing, {"rows": 3}) == Slot("a", (3, 5), np.dtype(np.float32))


@pytest.mark.parametrize(("values", "large"), [(LARGE_ROW_BYTES // 4 - 1, False), (LARGE_ROW_BYTES // 4, True)])
def test_a_row_is_large_from_so_many_bytes_on(values, large):
    assert Slot("a", (values,), np.dtype(np.float32)).is_large is large
