"""Statistics over blocks: the estimate is the plain one, and what is compared is drawn together."""

import math

import numpy as np
import pytest
from tickcast_export.bootstrap import Tally


def _tally(random: np.random.Generator, count: int = 2_000) -> Tally:
    common = random.lognormal(size=count)  # what makes two models' errors alike
    columns = {
        "windows": np.ones(count),
        "first": common * random.lognormal(0, 0.1, count),
        "second": 0.9 * common * random.lognormal(0, 0.1, count),
    }
    return Tally.over(columns, 10, np.zeros(count, np.int64))


def test_estimates_are_those_of_all_windows() -> None:
    tally = Tally.over({"yes": np.array([True, False] * 20), "windows": np.ones(40)}, 2, np.zeros(40, np.int64))
    share = tally.resampled(200, seed=1).interval(lambda sums: sums["yes"] / sums["windows"], 0.9)
    assert share.mean == 0.5
    assert share.low == share.high == 0.5  # every block has one of each


def test_a_comparison_is_surer_than_its_parts() -> None:
    resampled = _tally(np.random.default_rng(1)).resampled(500, seed=1)
    ratio = resampled.interval(lambda sums: sums["second"] / sums["first"], 0.95)
    first = resampled.interval(lambda sums: sums["first"] / sums["windows"], 0.95)
    assert ratio.low < 0.9 < ratio.high
    assert (ratio.high - ratio.low) / ratio.mean < 0.3 * (first.high - first.low) / first.mean


def test_days_are_joined_by_their_blocks() -> None:
    random = np.random.default_rng(2)
    days = [_tally(random), _tally(random, 500)]
    joined = Tally.joined(days)
    assert len(joined.sums) == sum(len(day.sums) for day in days)
    assert joined.resampled(100, 1).sums["windows"][0] == 2_500


def test_a_statistic_without_a_value_is_not_a_number() -> None:
    resampled = _tally(np.random.default_rng(3)).resampled(100, seed=1)
    found = resampled.interval(lambda sums: 0 * sums["first"] / (0 * sums["windows"]), 0.95)
    assert all(math.isnan(end) for end in found)


def test_same_seed_same_interval() -> None:
    tally = _tally(np.random.default_rng(4))
    found = [
        tally.resampled(200, seed).interval(lambda sums: sums["first"] / sums["windows"], 0.95) for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    assert found[0].mean == pytest.approx(found[2].mean)
