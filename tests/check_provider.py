"""What every execution provider must do: run on each entry of `PROVIDERS` by `test_providers.py`.

Where a provider is hindered it must say by what, and refuse; what needs the device itself is then skipped.
"""

import numpy as np
import pytest
from tickcast import parity, providers
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import ProviderError
from tickcast.providers import PROVIDERS


def check_provider(name: str, bundle: Bundle) -> None:
    """Raises AssertionError where provider `name` breaks the contract; `bundle` has all four graphs."""
    hindrance = PROVIDERS[name].hindrance()
    if hindrance is not None:
        _refuses_with_the_reason(name, hindrance)
        pytest.skip(f"{name}: {hindrance}")
    config = InferenceConfig.model_validate({"provider": name})
    _runs_every_node_itself(name, bundle, config)
    engine = Engine(bundle, config)
    assert (engine.provider, engine.provider_reason) == (name, "")
    engine.warm()
    _computes_what_was_certified(bundle, engine)
    _answers_each_window_by_itself(bundle, engine)
    if bundle.manifest.attention:
        _says_what_answers_lean_on(bundle, engine)
    _hands_carries_on(bundle, engine)
    engine.stay_warm()


def _refuses_with_the_reason(name: str, hindrance: str) -> None:
    assert hindrance.strip()
    with pytest.raises(ProviderError) as refused:
        providers.choose(name)
    assert hindrance in str(refused.value)
    assert providers.choose("auto").name != name


def _runs_every_node_itself(name: str, bundle: Bundle, config: InferenceConfig) -> None:
    for graph in bundle.graphs.values():
        nodes = providers.nodes(providers.session(graph, name, config))
        assert nodes
        assert [(node, where) for node, where in nodes if where != PROVIDERS[name].ort_name] == []


def _computes_what_was_certified(bundle: Bundle, engine: Engine) -> None:
    results = parity.check(bundle, engine)
    assert {(result.path, result.batch > 1) for result in results} == {
        (path, many) for path in ("window", "finish") for many in (False, True)
    }
    assert [result.describe() for result in results if not result.holds] == []


def _answers_each_window_by_itself(bundle: Bundle, engine: Engine) -> None:
    """Neither a window's neighbours in a run nor its place among them matter, beyond rounding."""
    manifest = bundle.manifest
    windows = np.random.default_rng(5).normal(size=(engine.batch_max + 3, manifest.rules.window, manifest.features))
    rows = windows.astype(np.float32)
    together, backwards = engine.window(rows), engine.window(rows[::-1].copy())[::-1]
    alone = np.concatenate([engine.window(row[None]) for row in rows])
    for other in (backwards, alone):
        assert parity.errors(other, together, manifest.target_scale).max() <= manifest.certificate.tolerance


def _says_what_answers_lean_on(bundle: Bundle, engine: Engine) -> None:
    """The same forecasts with weights as without, more of them than fit into a run; and the weights sum to 1."""
    manifest = bundle.manifest
    windows = np.random.default_rng(6).normal(size=(engine.batch_max + 3, manifest.rules.window, manifest.features))
    rows = windows.astype(np.float32)
    forecasts, weights = engine.attended(rows)
    assert parity.errors(forecasts, engine.window(rows), manifest.target_scale).max() <= manifest.certificate.tolerance
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(engine.attention(rows[:1]), weights[:1], atol=1e-6)


def _hands_carries_on(bundle: Bundle, engine: Engine) -> None:
    """A carry over fewer rows, taken on by a step, answers as one over all but the newest."""
    manifest, golden = bundle.manifest, bundle.golden
    pairs = np.stack([golden.ticks[:, :-1], golden.ticks[:, 1:]], axis=2)
    rows = engine.features(pairs.reshape(-1, *pairs.shape[2:])).reshape(*pairs.shape[:2], -1)
    _, _, carry = engine.step(golden.ticks[:, -3:-1], engine.prefix(np.ascontiguousarray(rows[:, :-2])))
    forecasts, _ = engine.finish(golden.ticks[:, -2:], carry)
    assert parity.errors(forecasts, golden.forecast, manifest.target_scale).max() <= manifest.certificate.tolerance
