"""Buckets, padding, capture and its failing: the GPU's way of a run, over a device whose memory is the host's."""

from concurrent.futures import ThreadPoolExecutor

import models
import numpy as np
import pytest
from host_device import HostDevice
from tickcast import device_graphs, providers
from tickcast.bindings import slot
from tickcast.config import InferenceConfig
from tickcast.device_graphs import DeviceGraph

CONFIG = InferenceConfig(provider="cpu")
ROWS_MAX = 6


@pytest.fixture(scope="module")
def bundle():
    return models.draft("additive")


@pytest.fixture(scope="module")
def rows(bundle):
    shape = (ROWS_MAX, models.WINDOW, bundle.manifest.features)
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


class Opener:
    """Opens sessions of the window graph; those for captured runs can be made to fail."""

    def __init__(self, bundle, refuses_rows=None):
        self.captures = []
        self.runs = []
        self._graph = bundle.graphs["window"]
        self._refuses_rows = refuses_rows

    def __call__(self, captures):
        self.captures.append(captures)
        session = providers.session(self._graph, "cpu", CONFIG)
        return _Session(session, self.runs, self._refuses_rows if captures else None)


class _Session:
    def __init__(self, session, runs, refuses_rows):
        self._session, self._runs, self._refuses_rows = session, runs, refuses_rows
        self.run, self.io_binding = session.run, session.io_binding

    def run_with_iobinding(self, io, options):
        self._session.run_with_iobinding(io, options)
        rows = io.get_outputs()[0].shape()[0]
        self._runs.append((rows, int(options.get_run_config_entry(providers.GRAPH_ID_KEY))))
        if rows == self._refuses_rows:
            raise RuntimeError("operation not permitted when stream is capturing")


def _graph(bundle, opener, device=None, captures=True):
    tensors = bundle.manifest.graphs["window"]
    outputs = [slot(tensor) for tensor in tensors.outputs if tensor.name == "forecast"]
    return DeviceGraph(opener, [slot(tensors.inputs[0])], outputs, ROWS_MAX, device or HostDevice(), captures)


@pytest.mark.parametrize(("rows_max", "sizes"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (32, [1, 2, 4, 8, 16, 32])])
def test_buckets_are_powers_of_two_and_the_largest_run(rows_max, sizes):
    assert device_graphs.buckets(rows_max) == sizes


def test_every_count_answers_as_a_plain_run_does(bundle, rows):
    graph = _graph(bundle, Opener(bundle))
    plain = providers.session(bundle.graphs["window"], "cpu", CONFIG)
    for count in (3, 1, ROWS_MAX, 2, 5, 4):
        (found,) = graph.run(count, {"rows": rows[:count]})
        (wanted,) = plain.run(["forecast"], {"rows": rows[:count]})
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 1e-6


def test_a_run_is_padded_to_its_bucket_but_copies_only_its_rows(bundle, rows):
    opener, device = Opener(bundle), HostDevice()
    graph = _graph(bundle, opener, device)
    for count in (1, 2, 3, 5):
        graph.run(count, {"rows": rows[:count]})
    assert [size for size, _ in opener.runs] == [1, 2, 4, 6]
    assert device.rows_copied == [1, 1, 2, 2, 3, 3, 5, 5]


def test_what_pads_a_run_does_not_reach_an_answer(bundle, rows):
    graph = _graph(bundle, Opener(bundle))
    (before,) = graph.run(3, {"rows": rows[:3]})
    graph.run(ROWS_MAX, {"rows": np.full_like(rows, 1e30)})
    (after,) = graph.run(3, {"rows": rows[:3]})
    assert after.tolist() == before.tolist()


def test_what_a_run_returned_is_not_overwritten_by_the_next(bundle, rows):
    graph = _graph(bundle, Opener(bundle))
    (first,) = graph.run(2, {"rows": rows[:2]})
    kept = first.copy()
    graph.run(2, {"rows": rows[2:4]})
    assert first.tolist() == kept.tolist()


def test_host_buffers_are_pinned(bundle, rows):
    device = HostDevice()
    _graph(bundle, Opener(bundle), device)
    assert [array.shape for array in device.pinned] == [rows.shape, (ROWS_MAX, len(models.HORIZONS))]


def test_warming_runs_every_bucket_under_a_number_of_its_own(bundle):
    opener = Opener(bundle)
    graph = _graph(bundle, opener)
    graph.warm()
    assert opener.runs == [(6, 3), (4, 2), (2, 1), (1, 0)]
    assert (opener.captures, graph.uncaptured) == ([True], "")


def test_capturing_can_be_switched_off(bundle):
    opener = Opener(bundle)
    graph = _graph(bundle, opener, captures=False)
    graph.warm()
    assert opener.runs == [(size, providers.NO_GRAPH_ID) for size in (6, 4, 2, 1)]
    assert opener.captures == [False]
    assert "cuda_graphs" in graph.uncaptured


def test_where_capturing_fails_it_goes_on_without_and_says_why(bundle, rows):
    opener = Opener(bundle, refuses_rows=2)
    graph = _graph(bundle, opener)
    graph.warm()
    assert opener.captures == [True, False]
    assert opener.runs[-4:] == [(size, providers.NO_GRAPH_ID) for size in (6, 4, 2, 1)]
    assert graph.uncaptured == "operation not permitted when stream is capturing"
    (found,) = graph.run(2, {"rows": rows[:2]})
    (wanted,) = providers.session(bundle.graphs["window"], "cpu", CONFIG).run(["forecast"], {"rows": rows[:2]})
    assert np.abs(found - wanted).max() <= 1e-6


def test_a_graph_that_fails_without_capturing_too_is_an_error(bundle):
    class Broken(Opener):
        def __call__(self, captures):
            session = super().__call__(captures)
            session._refuses_rows = 4
            return session

    with pytest.raises(RuntimeError, match="not permitted"):
        _graph(bundle, Broken(bundle)).warm()


def test_rows_of_another_shape_go_the_plain_way(bundle):
    """A carry over fewer rows, for a later tick of a burst."""
    tensors = bundle.manifest.graphs["prefix"]
    sizes = {"rows": models.WINDOW - 1}
    device = HostDevice()
    graph = DeviceGraph(
        lambda captures: providers.session(bundle.graphs["prefix"], "cpu", CONFIG),
        [slot(tensors.inputs[0], sizes)],
        [slot(tensor) for tensor in tensors.outputs],
        ROWS_MAX,
        device,
        captures=True,
    )
    shorter = np.zeros((2, models.WINDOW - 3, bundle.manifest.features), np.float32)
    (found,) = graph.run(2, {"rows": shorter})
    session = providers.session(bundle.graphs["prefix"], "cpu", CONFIG)
    assert found.tolist() == session.run([tensors.outputs[0].name], {"rows": shorter})[0].tolist()
    assert device.rows_copied == []


def test_threads_take_turns(bundle, rows):
    graph = _graph(bundle, Opener(bundle))
    wanted = [graph.run(1, {"rows": rows[at : at + 1]})[0].tolist() for at in range(ROWS_MAX)]
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(graph.run, 1, {"rows": rows[at % 6 : at % 6 + 1]}) for at in range(60)]
        assert [each.result()[0].tolist() for each in asked] == [wanted[at % 6] for at in range(60)]


def test_copies_runs_and_captures_of_all_graphs_take_turns(bundle, rows, monkeypatch):
    """As at a reload: one bundle is captured on a thread of its own while another answers."""
    held = []
    run, to_device = _Session.run_with_iobinding, HostDevice.to_device

    def noted_run(session, io, options):
        held.append(device_graphs.TURNS.locked())
        run(session, io, options)

    def noted_copy(device, address, array):
        held.append(device_graphs.TURNS.locked())
        to_device(device, address, array)

    monkeypatch.setattr(_Session, "run_with_iobinding", noted_run)
    monkeypatch.setattr(HostDevice, "to_device", noted_copy)
    graph = _graph(bundle, Opener(bundle))
    graph.warm()
    graph.run(1, {"rows": rows[:1]})
    assert len(held) == len(device_graphs.buckets(ROWS_MAX)) + 2
    assert all(held)
    assert not device_graphs.TURNS.locked()
