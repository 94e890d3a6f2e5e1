"""The engine over real graphs: runs of any length, carries of any age, costs, and several threads."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import models
import numpy as np
import pytest
from factories import manifest_with
from tickcast import parity
from tickcast.bundle import Bundle, Golden
from tickcast.config import InferenceConfig
from tickcast.engine import PAIRS_MAX, Engine
from tickcast.errors import BundleError

FAMILIES = ("stacked", "additive", "seq2seq")
BATCH_MAX = 4


@pytest.fixture(scope="module", params=FAMILIES)
def engine(request):
    return Engine(models.draft(request.param), InferenceConfig(provider="cpu", batch_max=BATCH_MAX))


@pytest.fixture(scope="module")
def rows(engine):
    """Feature rows [cases, window, features] of golden windows."""
    ticks = engine.bundle.golden.ticks
    pairs = np.stack([ticks[:, :-1], ticks[:, 1:]], axis=2)
    return engine.features(pairs.reshape(-1, *pairs.shape[2:])).reshape(*pairs.shape[:2], -1)


def _error(engine, found, wanted):
    return parity.errors(found, wanted, engine.bundle.manifest.target_scale).max()


@pytest.mark.slow
def test_runs_longer_than_a_batch_answer_every_window(engine, rows):
    wanted = engine.bundle.golden.forecast
    assert len(wanted) > 3 * BATCH_MAX
    assert _error(engine, engine.window(rows), wanted) <= 1e-5
    ticks = engine.bundle.golden.ticks[:, -2:]
    forecasts, newest = engine.finish(ticks, engine.prefix(rows[:, :-1]))
    assert _error(engine, forecasts, wanted) <= 1e-5
    assert np.allclose(newest, rows[:, -1], atol=1e-6)


def test_features_do_not_depend_on_how_many_are_asked_at_once(engine):
    pairs = models.ticks(PAIRS_MAX + 3, 1)
    rows = engine.features(pairs)
    assert len(rows) == PAIRS_MAX + 3
    for at in (0, PAIRS_MAX, PAIRS_MAX + 2):
        assert rows[at].tolist() == engine.features(pairs[at : at + 1])[0].tolist()


def test_a_carry_over_fewer_rows_steps_up_to_the_answer(engine, rows):
    """As the ticks of a burst come: each step takes one in, and the last one answers."""
    ticks, height = engine.bundle.golden.ticks, 3
    carry = engine.prefix(np.ascontiguousarray(rows[:, : -1 - height]))
    for back in range(height, 0, -1):
        pair = ticks[:, -2 - back : -back]
        _, newest, carry = engine.step(pair, carry)
        assert np.allclose(newest, rows[:, -1 - back], atol=1e-6)
    forecasts, _ = engine.finish(ticks[:, -2:], carry)
    assert _error(engine, forecasts, engine.bundle.golden.forecast) <= 1e-5


def test_a_step_s_forecast_is_the_finish_s(engine, rows):
    ticks, carry = engine.bundle.golden.ticks[:2, -2:], engine.prefix(rows[:2, :-1])
    finished, stepped = engine.finish(ticks, carry), engine.step(ticks, carry)
    assert [array.tolist() for array in finished] == [array.tolist() for array in stepped[:2]]


def test_finish_takes_the_step_where_there_is_no_graph_for_it(engine, rows):
    """As in bundles made before there was one."""
    bundle = engine.bundle
    files = {role: bundle.manifest.graphs[role] for role in bundle.graphs if role != "step"}
    files["finish"] = bundle.manifest.graphs["step"]
    graphs = {role: bundle.graphs["step" if role == "finish" else role] for role in files}
    older = dataclasses.replace(bundle, graphs=graphs, manifest=bundle.manifest.model_copy(update={"graphs": files}))
    ticks, carry = engine.bundle.golden.ticks[:2, -2:], engine.prefix(rows[:2, :-1])
    again = Engine(older, InferenceConfig(provider="cpu", batch_max=BATCH_MAX))
    assert [array.tolist() for array in again.finish(ticks, carry)] == [
        array.tolist() for array in engine.finish(ticks, carry)
    ]
    wanted, found = engine.step(ticks, carry)[2], again.step(ticks, carry)[2]
    assert [part.tolist() for part in found] == [part.tolist() for part in wanted]


def test_a_carry_that_holds_every_row_grows(engine):
    assert engine.carry_grows == (engine.bundle.manifest.family == "seq2seq")


def test_windows_may_be_asked_by_several_threads_at_once(engine, rows):
    wanted = engine.window(rows).tolist()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: engine.window(rows).tolist(), range(40)))
    assert answers == [wanted] * 40


def test_a_warm_engine_knows_what_runs_cost(engine):
    engine.warm()
    for cost_s in (engine.costs.window_s, engine.costs.prefix_s, engine.costs.finish_s):
        assert 0.0 < cost_s(1) < 1.0
        assert cost_s(10 * BATCH_MAX) >= 2 * cost_s(BATCH_MAX)


def test_a_bundle_that_is_off_here_is_refused():
    draft = models.draft("additive")
    golden = Golden(draft.golden.ticks, draft.golden.forecast + np.float32(1.0), draft.golden.kind)
    off = Bundle(draft.folder, draft.manifest, "", draft.graphs, golden)
    with pytest.raises(BundleError, match=r"window path, 1 at once: largest error .* FAILS"):
        Engine(off, InferenceConfig(provider="cpu")).warm()


def test_a_bundle_without_a_feature_graph_has_raw_columns_for_rows():
    draft = models.draft("additive")
    foreign = Bundle(draft.folder, manifest_with(), "", {"window": draft.graphs["window"]}, draft.golden)
    engine = Engine(foreign, InferenceConfig(provider="cpu"))
    assert not engine.splits
    rows = engine.features(np.array([[[1.0, 2.0], [3.0, 1e300]]]))
    assert rows.tolist() == [[3.0, float(np.finfo(np.float32).max)]]
    assert rows.dtype == np.float32


def test_the_finish_path_can_be_switched_off():
    engine = Engine(models.draft("stacked"), InferenceConfig(provider="cpu", finish_path=False))
    assert not engine.splits
    assert {result.path for result in parity.check(engine.bundle, engine)} == {"window"}
