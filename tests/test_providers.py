"""Providers: the one asked for, or an error that says why not; never another one in silence."""

import models
import pytest
from check_provider import check_provider
from tickcast import providers
from tickcast.config import InferenceConfig
from tickcast.errors import ProviderError
from tickcast.providers import PROVIDERS, Provider


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_provider_fulfils_the_contract(name):
    check_provider(name, models.draft("additive"))


def _provider(name, hindrance):
    return Provider(name, "cuda", lambda: hindrance, lambda config: {})


def test_the_provider_asked_for_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setitem(providers.PROVIDERS, "cuda", _provider("CUDAExecutionProvider", "no driver"))
    with pytest.raises(ProviderError, match="cuda cannot be had: cuda: no driver"):
        providers.choose("cuda")


def test_auto_takes_the_cpu_and_says_why_it_is_not_the_gpu(monkeypatch):
    monkeypatch.setitem(providers.PROVIDERS, "cuda", _provider("CUDAExecutionProvider", "no driver"))
    assert providers.choose("auto") == ("cpu", "cuda: no driver")


def test_auto_takes_the_gpu_where_nothing_hinders_it(monkeypatch):
    monkeypatch.setitem(providers.PROVIDERS, "cuda", _provider("CUDAExecutionProvider", None))
    assert providers.choose("auto") == ("cuda", "")


def test_every_provider_of_the_auto_order_is_registered():
    assert set(providers.AUTO_ORDER) <= set(providers.PROVIDERS)


def test_every_node_of_a_session_is_listed_with_its_provider():
    graph = models.draft("additive").graphs["finish"]
    nodes = providers.nodes(providers.session(graph, "cpu", InferenceConfig(provider="cpu")))
    assert {where for _, where in nodes} == {"CPUExecutionProvider"}
    assert {"Log", "Gemm", "Tanh"} <= {name.split()[0] for name, _ in nodes}


def test_cuda_keeps_to_full_precision_and_to_the_memory_it_is_given():
    config = InferenceConfig(device_id=2, gpu_memory_limit_mb=800)
    options = providers.PROVIDERS["cuda"].options(config)
    assert (options["device_id"], options["use_tf32"]) == ("2", "0")
    assert int(options["gpu_mem_limit"]) * providers.SESSIONS_MAX == 800 * providers.MEBIBYTE


def test_without_a_limit_cuda_takes_what_memory_there_is():
    assert "gpu_mem_limit" not in providers.PROVIDERS["cuda"].options(InferenceConfig())


@pytest.mark.parametrize(("graph_id", "entry"), [(None, "-1"), (0, "0"), (7, "7")])
def test_a_run_names_the_cuda_graph_it_is_of(graph_id, entry):
    assert providers.run_options(graph_id).get_run_config_entry(providers.GRAPH_ID_KEY) == entry
