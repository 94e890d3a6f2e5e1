"""The block bootstrap: its intervals hold what they promise on series whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import block_bootstrap
from tickcast.block_bootstrap import BLOCKS_MAX, BLOCKS_MIN

SERIES, VALUES = 200, 2_000


def _autoregressive(count: int, weight: float, random: np.random.Generator) -> np.ndarray:
    """Each value is `weight` times the one before plus noise; the mean is 0."""
    noise = random.normal(size=count)
    values = np.empty(count)
    values[0] = noise[0] / math.sqrt(1 - weight**2)
    for i in range(1, count):
        values[i] = weight * values[i - 1] + noise[i]
    return values


@pytest.fixture(scope="module")
def dependent() -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [_autoregressive(VALUES, 0.7, random) for _ in range(SERIES)]


def test_intervals_of_dependent_values_hold_the_truth_as_often_as_they_say(dependent: list[np.ndarray]) -> None:
    found = [
        block_bootstrap.mean_interval(values, block_bootstrap.block_length(values), 0.9, draws=400, seed=i)
        for i, values in enumerate(dependent)
    ]
    held = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.84 <= held <= 0.96  # 0.9, and two standard errors of 200 series


def test_single_values_drawn_alone_would_promise_far_too_much(dependent: list[np.ndarray]) -> None:
    found = [block_bootstrap.mean_interval(values, 1, 0.9, draws=200, seed=1) for values in dependent[:40]]
    assert np.mean([one.low <= 0 <= one.high for one in found]) < 0.7


def test_blocks_are_as_long_as_dependence_reaches() -> None:
    random = np.random.default_rng(1)
    lengths = [
        block_bootstrap.block_length(_autoregressive(20_000, weight, random)) for weight in (0.0, 0.5, 0.9, 0.98)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] <= 20
    assert lengths[-1] > 300


def test_block_length_keeps_within_its_bounds() -> None:
    values = np.cumsum(np.random.default_rng(2).normal(size=1_000))  # depends on itself without end
    assert block_bootstrap.block_length(values) == 1_000 // block_bootstrap.BLOCKS_WANTED
    assert block_bootstrap.block_length(values, least=200) == 200
    assert block_bootstrap.block_length(np.zeros(50)) <= 2
    assert block_bootstrap.block_length(np.zeros(0)) == 1
    assert block_bootstrap.block_length(np.random.default_rng(3).normal(size=300_000)) >= 300_000 / BLOCKS_MAX


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    block=st.integers(1, 25),
)
def test_no_block_reaches_over_the_border_of_a_run_and_none_is_lost(lengths: list[int], block: int) -> None:
    runs = np.repeat(np.arange(len(lengths)), lengths)
    members = np.eye(len(lengths))[runs]  # each row says its run
    sums = block_bootstrap.block_sums(members, block, runs)
    assert (np.count_nonzero(sums, axis=1) == 1).all()
    assert sums.sum(axis=0).tolist() == lengths
    sizes = sums.sum(axis=1)
    assert sizes.max() < 2 * block
    for run in range(len(lengths)):
        of_run = sizes[sums[:, run] > 0]
        assert of_run.max() - of_run.min() <= 1


def test_a_ratio_is_of_sums_drawn_together() -> None:
    random = np.random.default_rng(4)
    weights = random.lognormal(size=5_000)
    found = block_bootstrap.ratio_interval(0.25 * weights, weights, 10)
    assert found == pytest.approx((0.25, 0.25, 0.25))
    noisy = block_bootstrap.ratio_interval(weights * random.normal(0.25, 0.5, 5_000), weights, 10)
    assert noisy.low < noisy.mean < noisy.high
    assert noisy.low < 0.25 < noisy.high
    with pytest.raises(ValueError, match="no ratio"):
        block_bootstrap.ratio_interval(weights, np.zeros(5_000), 10)


def test_interval_shrinks_with_the_root_of_the_number_of_values() -> None:
    values = np.random.default_rng(5).normal(size=10_000)
    few, many = (block_bootstrap.mean_interval(values[:count], 5) for count in (2_500, 10_000))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2, rel=0.15)
    assert many.high - many.low == pytest.approx(2 * 1.96 / 100, rel=0.1)


def test_same_seed_same_interval_another_seed_another() -> None:
    values = np.random.default_rng(6).normal(size=1_000)
    first, again = (block_bootstrap.mean_interval(values, 4, seed=1) for _ in range(2))
    assert first == again
    assert block_bootstrap.mean_interval(values, 4, seed=2) != first


def test_many_draws_are_made_in_parts_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(8).normal(size=(50, 3))
    monkeypatch.setattr(block_bootstrap, "DRAWN_AT_ONCE", 120)  # two draws at once
    drawn = block_bootstrap.resampled(sums, 3_001, seed=1)
    assert drawn.shape == (3_001, 3)
    assert drawn.mean(axis=0) == pytest.approx(sums.sum(axis=0), abs=1)
    assert drawn.std(axis=0) == pytest.approx(math.sqrt(50) * sums.std(axis=0), rel=0.1)


def test_too_few_blocks_are_called_so_instead_of_an_interval() -> None:
    found = block_bootstrap.mean_interval(np.arange(100.0), 100 // (BLOCKS_MIN - 1) + 1)
    assert found.mean == 49.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
