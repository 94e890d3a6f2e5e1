"""Calibration: the line and the tenths are what ordinary least squares and a sort give."""

import numpy as np
import pytest
from tickcast_export import calibration


def _sums(forecast: np.ndarray, change: np.ndarray) -> dict[str, np.ndarray]:
    columns = calibration.columns(forecast, change) | calibration.part_columns(forecast, change)
    columns |= {"windows": np.ones(len(change)), "change": change}
    return {name: np.array([column.sum()]) for name, column in columns.items()}


def test_slope_and_intercept_are_those_of_least_squares() -> None:
    random = np.random.default_rng(1)
    forecast = random.normal(2, 1, 400)
    change = 0.5 * forecast + 3 + random.normal(size=400)
    slope, intercept = np.polyfit(forecast, change, 1)
    sums = _sums(forecast, change)
    assert calibration.slope(sums)[0] == pytest.approx(slope)
    assert calibration.intercept(sums)[0] == pytest.approx(intercept)
    assert calibration.bias(sums)[0] == pytest.approx((forecast - change).mean())


def test_tenths_are_equal_parts_lowest_to_highest() -> None:
    forecast = np.random.default_rng(2).permutation(100).astype(float)
    sums = _sums(forecast, 2 * forecast)
    assert [sums[f"part_{at}"][0] for at in range(calibration.PARTS)] == [10] * 10
    assert [calibration.part_forecast(sums, at)[0] for at in range(10)] == pytest.approx(np.arange(4.5, 100, 10))
    assert [calibration.part_change(sums, at)[0] for at in range(10)] == pytest.approx(2 * np.arange(4.5, 100, 10))


def test_equal_forecasts_lie_in_one_tenth() -> None:
    parts = calibration.parts(np.array([0.0] * 50 + [1.0] * 50))
    assert len(set(parts[:50])) == len(set(parts[50:])) == 1
    assert parts[0] < parts[-1]
