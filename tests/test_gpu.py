"""What only a GPU can show. Where there is none, all of this is skipped with the reason."""

import gc

import models
import numpy as np
import pytest
from tickcast import parity, placement, providers
from tickcast.config import InferenceConfig
from tickcast.cuda_driver import CudaDevice
from tickcast.engine import Engine
from tickcast.errors import ProviderError
from tickcast.providers import MEBIBYTE, PROVIDERS

HINDRANCE = PROVIDERS["cuda"].hindrance()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(HINDRANCE is not None, reason=f"cuda: {HINDRANCE}")]

FAMILIES = ("stacked", "additive", "seq2seq")
BATCH_MAX = 48  # no power of two
RELOADS = 4
LEAKED_BYTES_MAX = 16 * MEBIBYTE


@pytest.fixture(scope="module", params=FAMILIES)
def bundle(request):
    return models.draft(request.param)


@pytest.fixture(scope="module")
def engine(bundle):
    made = Engine(bundle, InferenceConfig(provider="cuda", batch_max=BATCH_MAX))
    made.warm()
    return made


def test_every_node_of_every_graph_runs_on_the_gpu(bundle):
    for role, graph in bundle.graphs.items():
        nodes = providers.nodes(providers.session(graph, "cuda", InferenceConfig(provider="cuda")))
        assert nodes, role
        assert {where for _, where in nodes} == {"CUDAExecutionProvider"}, role


def test_onnxruntime_itself_finds_nothing_to_leave_to_the_cpu(bundle):
    """The list of nodes is from before the last rewriting of a graph; this is asked after it."""
    providers.onnxruntime.preload_dlls()
    for graph in bundle.graphs.values():
        options = providers.onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        chosen = [("CUDAExecutionProvider", dict(PROVIDERS["cuda"].options(InferenceConfig())))]
        providers.onnxruntime.InferenceSession(graph, options, chosen, enable_fallback=0)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ProviderError):
        Engine(models.draft("stacked"), InferenceConfig(provider="cuda", device_id=99))


def test_auto_takes_the_gpu():
    assert providers.choose("auto") == ("cuda", "")


@pytest.mark.parametrize("count", [1, 2, 3, 31, 33, BATCH_MAX, BATCH_MAX + 1])
def test_runs_of_every_bucket_answer_as_the_cpu_does(bundle, engine, count):
    on_cpu = Engine(bundle, InferenceConfig(provider="cpu", batch_max=BATCH_MAX))
    golden = bundle.golden.ticks
    ticks = golden[np.arange(count) % len(golden)]
    pairs = np.stack([ticks[:, :-1], ticks[:, 1:]], axis=2)
    rows = on_cpu.features(pairs.reshape(-1, *pairs.shape[2:])).reshape(*pairs.shape[:2], -1)
    unit, tolerance = bundle.manifest.target_scale, bundle.manifest.certificate.tolerance
    wanted = on_cpu.window(rows)
    finished, newest = engine.finish(ticks[:, -2:], engine.prefix(np.ascontiguousarray(rows[:, :-1])))
    assert parity.errors(engine.window(rows), wanted, unit).max() <= tolerance
    assert parity.errors(finished, wanted, unit).max() <= tolerance
    assert parity.errors(newest, rows[:, -1], 1.0).max() <= tolerance


def test_replayed_runs_see_new_rows(engine):
    """A captured graph reads from where it was captured: what was copied there last counts."""
    manifest = engine.bundle.manifest
    random = np.random.default_rng(6)
    windows = random.normal(size=(20, manifest.rules.window, manifest.features)).astype(np.float32)
    alone = np.concatenate([engine.window(window[None]) for window in windows])
    assert parity.errors(alone, engine.window(windows), manifest.target_scale).max() <= manifest.certificate.tolerance
    assert len(np.unique(alone[:, 0])) == len(windows)


def test_capturing_or_not_gives_the_same_answers(bundle, engine):
    uncaptured = Engine(bundle, InferenceConfig(provider="cuda", batch_max=BATCH_MAX, cuda_graphs=False))
    uncaptured.warm()
    assert all("cuda_graphs is off" in each for each in uncaptured.uncaptured)
    assert uncaptured.uncaptured
    rows = np.zeros((3, bundle.manifest.rules.window, bundle.manifest.features), np.float32)
    error = parity.errors(engine.window(rows), uncaptured.window(rows), bundle.manifest.target_scale)
    assert error.max() <= bundle.manifest.certificate.tolerance


def test_what_is_not_captured_is_named_with_the_reason(engine):
    """Whether these graphs can be captured is onnxruntime's affair; that it is said where they cannot is ours."""
    reasons = [each.partition(": ")[2] for each in engine.uncaptured]
    assert all(reasons)
    if reasons:
        pytest.xfail("; ".join(engine.uncaptured))


def test_an_engine_that_is_gone_leaves_no_memory_behind(bundle):
    config = InferenceConfig(provider="cuda", batch_max=BATCH_MAX)
    device = CudaDevice(0)
    free_bytes = []
    for _ in range(RELOADS):
        loaded = Engine(bundle, config)
        loaded.warm()
        del loaded
        gc.collect()
        free_bytes.append(device.memory().free_bytes)
    assert free_bytes[0] - free_bytes[-1] <= LEAKED_BYTES_MAX


def test_the_memory_limit_is_kept(bundle):
    limit_mb = 512
    device = CudaDevice(0)
    before = device.memory().free_bytes
    engine = Engine(bundle, InferenceConfig(provider="cuda", batch_max=BATCH_MAX, gpu_memory_limit_mb=limit_mb))
    engine.warm()
    buffers = 5 * placement.DEVICE_BUFFER_BYTES_MAX
    assert before - device.memory().free_bytes <= limit_mb * MEBIBYTE + buffers
