"""Bins from quantiles, and the index over them: what did not change must not look as if it had."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tickcast.drift_reference import COLUMNS_MAX, Reference

QUANTILES = np.linspace(0, 1, 21)
TRAINING, NOW = 60_000, 10_000
NO_CHANGE, ANOTHER = 0.1, 0.25

Draw = Callable[[np.random.Generator, int], NDArray[Any]]

# Name -> what draws a column's values.
COLUMNS: dict[str, Draw] = {
    "continuous": lambda random, n: random.normal(size=n),
    "heavy tails": lambda random, n: random.standard_cauchy(n),
    "waiting times": lambda random, n: random.exponential(0.25, n),
    "sizes": lambda random, n: np.ceil(random.lognormal(3, 1, n)),
    "few prices": lambda random, n: random.integers(0, 30, n) * 0.5,
    "very few prices": lambda random, n: random.integers(0, 7, n) * 1.0,
    "mostly one": lambda random, n: np.where(random.random(n) < 0.98, 1.0, random.integers(2, 6, n)),
    "a spike in the midst": lambda random, n: np.where(random.random(n) < 0.4, 0.0, random.normal(size=n)),
    "a floor": lambda random, n: np.maximum(random.normal(size=n), -0.5),
    "a constant": lambda random, n: np.full(n, 7.0),
}
ALL = pytest.mark.parametrize("draw", COLUMNS.values(), ids=COLUMNS)


def _reference(*columns: NDArray[np.float64]) -> Reference:
    names = tuple(f"column_{index}" for index in range(len(columns)))
    quantiles = {name: tuple(np.quantile(values, QUANTILES)) for name, values in zip(names, columns, strict=True)}
    return Reference(manifest_with(columns=names, reference_quantiles=quantiles))


def _psi(reference: Reference, *columns: NDArray[np.float64]) -> list[float]:
    cells = reference.cells_of(np.array(columns))
    return reference.psi(np.bincount(cells[cells >= 0], minlength=reference.cells))


@ALL
def test_the_same_population_has_not_drifted(draw: Draw) -> None:
    random = np.random.default_rng(1)
    assert _psi(_reference(draw(random, TRAINING)), draw(random, NOW))[0] < NO_CHANGE


@ALL
def test_a_population_beside_the_old_one_has_drifted(draw: Draw) -> None:
    random = np.random.default_rng(2)
    training = draw(random, TRAINING)
    spread = float(np.subtract(*np.quantile(training, [0.9, 0.1]))) or 1.0
    assert _psi(_reference(training), draw(random, NOW) + spread)[0] > ANOTHER


@pytest.mark.parametrize("name", ["sizes", "waiting times", "continuous", "few prices"])
def test_a_population_twice_as_wide_has_drifted(name: str) -> None:
    random = np.random.default_rng(3)
    draw = COLUMNS[name]
    assert _psi(_reference(draw(random, TRAINING)), 2 * draw(random, NOW))[0] > ANOTHER / 2


def test_a_value_that_comes_more_often_than_in_training_has_drifted_though_the_rest_has_not() -> None:
    random = np.random.default_rng(4)

    def draw(share: float, count: int) -> NDArray[np.float64]:
        return np.where(random.random(count) < share, 0.0, random.normal(size=count))

    reference = _reference(draw(0.2, TRAINING))
    assert _psi(reference, draw(0.2, NOW))[0] < 0.02
    assert _psi(reference, draw(0.6, NOW))[0] > ANOTHER


def test_the_index_is_the_formula_over_deciles() -> None:
    reference = _reference(np.arange(1_001.0))
    now = np.repeat(np.arange(10) * 100 + 50.0, [60, 150, 90, 100, 100, 100, 100, 100, 100, 100])
    share = (np.array([60, 150, 90, *[100] * 7]) + 0.5) / 1_005
    assert _psi(reference, now)[0] == pytest.approx(((share - 0.1) * np.log(share / 0.1)).sum())


def test_what_equals_an_edge_counts_half_on_either_side() -> None:
    reference = _reference(np.arange(1_001.0))
    at_edge, around = np.full(1_000, 500.0), np.repeat([450.0, 550.0], 500)
    assert _psi(reference, at_edge) == pytest.approx(_psi(reference, around))


def test_columns_do_not_mix() -> None:
    random = np.random.default_rng(5)
    columns = [draw(random, TRAINING) for draw in COLUMNS.values()]
    now = [draw(random, NOW) for draw in COLUMNS.values()]
    together = _psi(_reference(*columns), *now)
    apart = [_psi(_reference(column), some)[0] for column, some in zip(columns, now, strict=True)]
    assert together == pytest.approx(apart)


def test_a_column_of_which_nothing_came_has_no_index() -> None:
    reference = _reference(np.arange(100.0), np.arange(100.0))
    first, second = _psi(reference, np.full(50, np.nan), np.arange(50.0))
    assert np.isnan(first)
    assert np.isfinite(second)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(width=64, allow_nan=False, allow_infinity=False), min_size=3, max_size=40).map(sorted),
    st.lists(st.floats(width=64), min_size=1, max_size=60),
)
def test_any_quantiles_and_any_values_give_an_index_or_none(quantiles: list[float], values: list[float]) -> None:
    reference = Reference(manifest_with(columns=("a",), reference_quantiles={"a": tuple(quantiles)}))
    (index,) = _psi(reference, np.array(values))
    assert np.isnan(index) == np.isnan(values).all()
    assert np.isnan(index) or -1e-9 <= index < 100


@pytest.mark.parametrize("quantiles", [(), (1.0, 2.0), (1.0, 3.0, 2.0), (1.0, 2.0, np.inf), (1.0, np.nan, 2.0)])
def test_quantiles_that_are_none_are_left_out(quantiles: tuple[float, ...]) -> None:
    manifest = manifest_with(columns=("a", "b"), reference_quantiles={"a": quantiles, "b": (1.0, 2.0, 3.0)})
    assert Reference(manifest).names == ("b",)


def test_of_very_many_columns_the_first_are_watched() -> None:
    names = tuple(f"c{index}" for index in range(3 * COLUMNS_MAX))
    reference = Reference(manifest_with(columns=names, reference_quantiles=dict.fromkeys(names, (1.0, 2.0, 3.0))))
    assert reference.names == names[:COLUMNS_MAX]


def test_another_reference_has_another_digest() -> None:
    numbers = np.arange(1_000.0)
    assert _reference(numbers).digest == _reference(numbers).digest
    assert _reference(numbers).digest != _reference(numbers + 1).digest
