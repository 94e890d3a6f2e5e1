"""Promotion by evidence: rarely wrong on equal models, however often looked at, and soon enough on better ones."""

import numpy as np
import pytest
import simulated_losses
from numpy.typing import NDArray
from tickcast import promotion_looks
from tickcast.promotion_looks import ALPHA, FIRST_LOOK_TICKS, LOOKS_MAX, alpha_of, look, ticks_of, verdict

RUNS = 200
TICKS = 20_000  # three looks
AT_ONCE = 100  # runs in memory


def simulated(runs: int, better: float = 0.0, ticks: int = TICKS) -> list[NDArray[np.float64]]:
    """So many runs, the same each time."""
    batches = [simulated_losses.differences(seed, AT_ONCE, ticks, better) for seed in range(runs // AT_ONCE)]
    return [run for batch in batches for run in batch]


@pytest.fixture(scope="module")
def equal() -> list[NDArray[np.float64]]:
    """Markets in which the shadow is neither better nor worse."""
    return simulated(RUNS)


@pytest.mark.slow
def test_of_equal_models_at_most_one_in_twenty_is_promoted_over_all_looks(equal):
    verdicts = [verdict(run) for run in equal]
    assert sum(each.is_better for each in verdicts) <= 0.05 * RUNS
    assert max(len(each.looks) for each in verdicts) == 3


def test_looking_naively_and_often_would_have_promoted_far_more_of_them(equal):
    def naively(run: NDArray[np.float64]) -> bool:
        for ticks in range(FIRST_LOOK_TICKS, TICKS + 1, 1_000):
            seen = run[:ticks]
            if seen.mean() > 1.645 * seen.std() / np.sqrt(ticks):  # as if ticks knew nothing of each other
                return True
        return False

    assert sum(map(naively, equal)) > 3 * 0.05 * RUNS


def test_a_shadow_five_percent_better_is_mostly_promoted_within_twenty_thousand_ticks():
    verdicts = [verdict(run) for run in simulated(AT_ONCE, better=0.05)]
    promoted = [each for each in verdicts if each.is_better]
    assert len(promoted) >= 0.6 * AT_ONCE
    assert all(each.looks[-1].low > 0 and each.mean > 0 for each in promoted)


def test_a_worse_shadow_is_not_promoted():
    assert not any(verdict(run).is_better for run in simulated(AT_ONCE, better=-0.1, ticks=FIRST_LOOK_TICKS))


def test_the_looks_errors_add_up_to_less_than_all_that_may_be_spent():
    shares = [alpha_of(number) for number in range(1, LOOKS_MAX + 1)]
    assert sum(shares) < ALPHA
    assert shares == sorted(shares, reverse=True)
    assert [ticks_of(number) for number in (1, 2, 3)] == [5_000, 10_000, 20_000]


def test_before_five_thousand_scored_ticks_nothing_is_decided():
    found = verdict(np.ones(FIRST_LOOK_TICKS - 1))
    assert (found.looks, found.is_better) == ((), False)
    assert found.reason == "the next look is at 5,000 scored ticks, there are 4,999"
    assert verdict(np.empty(0)).ticks == 0


def test_asking_oftener_changes_nothing(equal):
    run = equal[0]
    one_by_one = [verdict(run[:ticks]) for ticks in range(FIRST_LOOK_TICKS, TICKS + 1, 2_500)]
    at_last = verdict(run)
    for each in one_by_one:
        assert each.looks == at_last.looks[: len(each.looks)]


def test_what_was_better_and_is_so_no_longer_is_not_promoted():
    random = np.random.default_rng(3)
    differences = random.standard_normal(4 * FIRST_LOOK_TICKS)
    differences[:FIRST_LOOK_TICKS] += 1
    differences[FIRST_LOOK_TICKS:] -= 1
    found = verdict(differences)
    assert found.looks[0].is_better
    assert not found.is_better
    assert found.reason == "look 1 held, but over all ticks it is no better"


def test_a_bundle_beside_itself_is_not_promoted_and_a_constant_gain_is():
    assert not verdict(np.zeros(FIRST_LOOK_TICKS)).is_better
    assert verdict(np.full(FIRST_LOOK_TICKS, 1e-9)).is_better


def test_one_monstrous_tick_proves_nothing():
    random = np.random.default_rng(4)
    differences = random.standard_normal(FIRST_LOOK_TICKS) - 0.02
    differences[1_234] = 1e6
    seen = look(differences, 1)
    assert seen.mean > 0
    assert seen.low < 0


def test_after_the_last_look_there_is_no_other(monkeypatch):
    monkeypatch.setattr(promotion_looks, "LOOKS_MAX", 2)
    found = verdict(np.random.default_rng(5).standard_normal(3 * FIRST_LOOK_TICKS) - 0.1)
    assert found.reason == "none of 2 looks held, and there is no other"
    assert len(found.looks) == 2
