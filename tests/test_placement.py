"""The way of a GPU from end to end, on a provider that is the CPU's and a device whose memory is the host's."""

import models
import pytest
from check_provider import check_provider
from host_device import HostDevice
from tickcast import numa, placement, providers
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import ProviderError
from tickcast.providers import Provider


@pytest.fixture(scope="module")
def additive():
    return models.draft("additive")


class BusDevice(HostDevice):
    """One that sits somewhere."""

    bus_id = "0000:3b:00.0"

    def __init__(self, index):
        super().__init__()
        self.index = 0


@pytest.fixture
def gpu(monkeypatch):
    """`cuda` is had here: in name, and by way of buffers on a device."""
    stand_in = Provider("CPUExecutionProvider", "cuda", lambda: None, lambda config: {})
    monkeypatch.setitem(providers.PROVIDERS, "cuda", stand_in)
    monkeypatch.setattr(placement, "CudaDevice", BusDevice)
    monkeypatch.setattr(providers.onnxruntime, "preload_dlls", lambda: None)


@pytest.mark.slow
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("family", ["stacked", "additive", "seq2seq"])
def test_the_way_of_a_gpu_fulfils_the_contract_of_providers(family):
    check_provider("cuda", models.draft(family))


@pytest.mark.usefixtures("gpu")
def test_only_a_gpu_is_kept_warm(additive):
    assert Engine(additive, InferenceConfig(provider="cuda", keep_warm_interval_ms=70)).keep_warm_interval_ms == 70
    assert Engine(additive, InferenceConfig(provider="cpu", keep_warm_interval_ms=70)).keep_warm_interval_ms == 0


@pytest.mark.usefixtures("gpu")
def test_graphs_that_are_not_captured_are_named_with_the_reason(additive):
    engine = Engine(additive, InferenceConfig(provider="cuda", cuda_graphs=False))
    roles = ("features", "finish", "prefix", "step", "window", "window")  # the last for its attention, if asked
    assert sorted(engine.uncaptured) == [f"{role}: inference.cuda_graphs is off" for role in roles]
    assert Engine(additive, InferenceConfig(provider="cuda")).uncaptured == []
    assert Engine(additive, InferenceConfig(provider="cpu", cuda_graphs=False)).uncaptured == []


@pytest.mark.usefixtures("gpu")
def test_a_distant_gpu_is_remarked_on(additive, monkeypatch):
    monkeypatch.setattr(numa, "distance", lambda bus_id, processors: f"{bus_id} is far from {bool(processors)}")
    assert Engine(additive, InferenceConfig(provider="cuda")).remark == "0000:3b:00.0 is far from True"
    assert Engine(additive, InferenceConfig(provider="cpu")).remark == ""


@pytest.mark.usefixtures("gpu")
def test_buffers_on_a_device_are_bounded_however_large_a_run_may_be(monkeypatch):
    bundle = models.draft("seq2seq")
    graph = bundle.manifest.graphs["prefix"]
    row_bytes = max(4 * (models.WINDOW - 1) * tensor.shape[-1] for tensor in graph.outputs[1:])
    monkeypatch.setattr(placement, "DEVICE_BUFFER_BYTES_MAX", 5 * row_bytes)
    made = placement.Placement(bundle, InferenceConfig(provider="cuda"))
    names = [pair.prefix_output for pair in bundle.manifest.carry]
    assert made.plain("prefix", names, 1_000).rows_max == 5


def test_a_node_on_another_provider_is_refused_by_name(monkeypatch, additive):
    """As a graph would be that CUDA has no kernel for."""
    monkeypatch.setitem(
        providers.PROVIDERS, "cuda", Provider("CUDAExecutionProvider", "cuda", lambda: None, lambda config: {})
    )
    monkeypatch.setattr(providers.onnxruntime, "preload_dlls", lambda: None)
    real = providers.onnxruntime.InferenceSession

    def fallen_back(graph, options, chosen, **settings):
        return real(graph, options, ["CPUExecutionProvider"], **settings)

    monkeypatch.setattr(providers.onnxruntime, "InferenceSession", fallen_back)
    with pytest.raises(ProviderError, match=r"fell back: .*Tanh \S+ on CPUExecutionProvider"):
        providers.session(additive.graphs["finish"], "cuda", InferenceConfig(provider="cuda"))


def test_a_session_that_cannot_be_made_is_a_provider_s_error():
    with pytest.raises(ProviderError, match="provider cpu cannot be had"):
        providers.session(b"no graph", "cpu", InferenceConfig(provider="cpu"))
