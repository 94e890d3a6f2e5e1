"""Providers: the one asked for, or an error that says why not; never another one in silence."""

import models
import pytest
from check_provider import check_provider
from tickcast import providers
from tickcast.errors import ProviderError
from tickcast.providers import PROVIDERS, Provider


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_provider_fulfils_the_contract(name):
    check_provider(name, models.draft("additive"))


def _provider(name, hindrance):
    return Provider(name, lambda: hindrance, lambda config: {})


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
