"""States that go on: a slot's answers depend on its own ticks only, not on what else was in the run."""

import models
import numpy as np
import pytest
from tickcast import carried_engine, carried_parity
from tickcast.carried_engine import CarriedEngine
from tickcast.carried_states import CarriedStates
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast_export.families import FAMILIES

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

CPU = InferenceConfig(provider="cpu")
# Single rows are rounded a little differently from many at once.
CLOSE = {"rtol": 0.0, "atol": 1e-6 * float(models.SCALE.mean())}
STEPS = 3 * models.WINDOW


@pytest.fixture(scope="module", params=FAMILIES)
def engines(request):
    draft = models.carried_draft(request.param)
    return CarriedEngine(draft, CPU), Engine(draft, CPU)


def _windows(engine: Engine, ticks: np.ndarray) -> np.ndarray:
    pairs = np.stack([ticks[:, : models.WINDOW], ticks[:, 1 : models.WINDOW + 1]], axis=2)
    return engine.features(pairs.reshape(-1, 2, ticks.shape[2])).reshape(len(ticks), models.WINDOW, -1)


def test_slots_at_different_steps_do_not_disturb_each_other(engines):
    """Random slots step; each symbol's answers are those it gets alone."""
    carried, engine = engines
    ticks = models.ticks(6, models.WINDOW + STEPS, seed=9)
    wanted = carried_parity.run(carried, engine.features, ticks)
    states, random = CarriedStates(carried), np.random.default_rng(3)
    slots = np.array([70, 3, 900, 0, 41, 5])  # any order, with room to be made for them
    states.anchor(slots[:3], _windows(engine, ticks[:3]))
    states.anchor(slots[3:], _windows(engine, ticks[3:]))
    done = np.zeros(6, int)
    while (left := np.flatnonzero(done < STEPS)).size:
        chosen = random.permutation(left)[: random.integers(1, left.size + 1)]
        newest = models.WINDOW + 1 + done[chosen]
        pairs = np.stack([ticks[chosen, newest - 1], ticks[chosen, newest]], axis=1)
        forecasts, _ = states.step(slots[chosen], pairs)
        done[chosen] += 1
        np.testing.assert_allclose(forecasts, wanted[chosen, done[chosen]], **CLOSE)


def test_a_slot_that_is_anchored_anew_forgets_what_was_there(engines):
    carried, engine = engines
    first, second = models.ticks(2, models.WINDOW + STEPS, seed=10)[:, None]
    wanted = carried_parity.run(carried, engine.features, second)
    states, slot = CarriedStates(carried), np.array([2])
    states.anchor(slot, _windows(engine, first))
    for newest in range(models.WINDOW + 1, models.WINDOW + 6):
        states.step(slot, first[:, newest - 1 : newest + 1])
    np.testing.assert_allclose(states.anchor(slot, _windows(engine, second)), wanted[:, 0], **CLOSE)
    for step in range(1, STEPS + 1):
        forecasts, _ = states.step(slot, second[:, models.WINDOW + step - 1 : models.WINDOW + step + 1])
        np.testing.assert_allclose(forecasts, wanted[:, step], **CLOSE)


def test_more_symbols_than_one_run_takes(engines, monkeypatch):
    carried, engine = engines
    ticks = models.ticks(9, models.WINDOW + 3, seed=11)
    wanted = carried_parity.run(carried, engine.features, ticks)
    monkeypatch.setattr("tickcast.carried_states.STEP_ROWS_MAX", 4)
    np.testing.assert_allclose(carried_parity.run(carried, engine.features, ticks), wanted, **CLOSE)
    assert carried_engine.STEP_ROWS_MAX > 9
