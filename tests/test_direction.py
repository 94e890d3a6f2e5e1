"""Direction: kappa is Cohen's, and thresholds are the ones that serve it best."""

import itertools
import math

import numpy as np
import pytest
from tickcast_export import direction
from tickcast_export.direction import Thresholds


def _table(thresholds: Thresholds, forecast: np.ndarray, change: np.ndarray) -> np.ndarray:
    table = np.zeros((3, 3))
    np.add.at(table, (thresholds.classes(forecast), direction.happened(change)), 1)
    return table


def test_kappa_of_a_table_worked_out_by_hand() -> None:
    table = np.array([[20.0, 5.0, 0.0], [10.0, 40.0, 5.0], [0.0, 5.0, 15.0]])  # agreed 0.75, by chance 0.3950
    by_chance = (25 * 30 + 55 * 50 + 20 * 20) / 100**2
    assert direction.kappa(table) == pytest.approx((0.75 - by_chance) / (1 - by_chance))
    assert direction.kappa(np.diag([1.0, 2.0, 3.0])) == 1
    assert direction.kappa(np.outer([1.0, 2.0, 3.0], [3.0, 1.0, 1.0])) == pytest.approx(0)
    assert math.isnan(direction.kappa(np.zeros((3, 3))))


def test_tuned_thresholds_are_the_best_of_all_pairs() -> None:
    random = np.random.default_rng(1)
    change = random.choice([-1.0, 0.0, 0.0, 0.0, 1.0], 60)
    forecast = np.round(0.3 * change + random.normal(0, 0.3, 60), 1)  # with ties
    lows = [-math.inf, *forecast[forecast < 0]]
    highs = [math.inf, *forecast[forecast > 0]]
    best = max(
        float(direction.kappa(_table(Thresholds(*pair), forecast, change))) for pair in itertools.product(lows, highs)
    )
    tuned = direction.tuned(forecast, change)
    assert tuned.low < 0 < tuned.high
    assert direction.kappa(_table(tuned, forecast, change)) == pytest.approx(best)


def test_where_nothing_moves_no_move_is_said() -> None:
    forecast = np.array([-1.0, 0.0, 2.0])
    assert direction.tuned(forecast, np.zeros(3)).classes(forecast).tolist() == [1, 1, 1]


def test_where_the_spread_says_nothing_forecasts_count_once() -> None:
    change = np.array([-1.0, 0.0, 1.0, 0.0, -1.0, 1.0])
    found = direction.tuned(change, change, np.array([1.0, 1.0, 1.0, 1.0, 2.0, 2.0]))
    assert found.factor == 1
    assert found.classes(change).tolist() == direction.happened(change).tolist()


def test_where_the_spread_is_wide_forecasts_count_as_often_as_serves_kappa_best() -> None:
    random = np.random.default_rng(4)
    spread = np.where(random.random(4_000) < 0.1, 2.0, 1.0)
    says = random.normal(size=4_000)
    # At a wide spread the mid moves half as far on half of the ticks: what is forecast is as large, moves are not rare.
    moves = np.where(spread > 1, np.abs(says) > 0.5, np.abs(says) > 2)
    change = np.where(moves, np.sign(says) / spread, 0.0)
    found = direction.tuned(says, change, spread)
    assert found.wide == pytest.approx(1)
    assert 3 <= found.factor <= 6
    table = np.zeros((3, 3))
    np.add.at(table, (found.classes(says, spread), direction.happened(change)), 1)
    assert direction.kappa(table) > direction.kappa(_table(direction.tuned(says, change), says, change)) + 0.05


def test_a_spread_that_never_changes_tells_nothing() -> None:
    forecast, change = np.array([-2.0, 0.1, 2.0]), np.array([-1.0, 0.0, 1.0])
    assert direction.tuned(forecast, change, np.ones(3)).factor == 1


def test_sums_of_columns_give_the_same_kappa() -> None:
    random = np.random.default_rng(2)
    change = random.choice([-1.0, 0.0, 1.0], 500)
    forecast = change + random.normal(size=500)
    thresholds = Thresholds(-0.6, 0.4)
    sums = {name: np.array([column.sum()]) for name, column in direction.columns(thresholds, forecast, change).items()}
    assert direction.kappa_of(sums)[0] == pytest.approx(direction.kappa(_table(thresholds, forecast, change)))


def test_kappa_is_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="the extra `export` is not installed")
    random = np.random.default_rng(3)
    said, happened = random.integers(0, 3, (2, 300))
    table = np.zeros((3, 3))
    np.add.at(table, (said, happened), 1)
    assert direction.kappa(table) == pytest.approx(metrics.cohen_kappa_score(said, happened))
