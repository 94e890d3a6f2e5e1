"""Whether forecasts mean what they say: what happened, on average, when so much was forecast.

Behind the way of a tick: part of what `tickcast evaluate` reports.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tickcast_export.bootstrap import Array, Columns, Sums

PARTS = 10


def columns(forecast: Array, change: Array) -> Columns:
    """What slope, intercept and bias are sums of: [n] each."""
    return {"forecast": forecast, "forecast_squared": np.square(forecast), "product": forecast * change}


def part_columns(forecast: Array, change: Array) -> Columns:
    """The same by tenths of the forecasts, lowest to highest: how many, what was forecast, what happened."""
    part = parts(forecast)
    made: Columns = {}
    for at in range(PARTS):
        member = part == at
        made |= {f"part_{at}": member, f"part_{at}_forecast": member * forecast, f"part_{at}_change": member * change}
    return made


def parts(forecast: Array) -> NDArray[np.int64]:
    """Which tenth of the forecasts each is in: [n]. Equal forecasts are in one."""
    edges = np.quantile(forecast, np.arange(1, PARTS) / PARTS)
    return np.searchsorted(edges, forecast, "left")


def slope(sums: Sums) -> Array:
    """Of the line through (forecast, change) with the least squares: 1 is right, less is too bold, more too timid."""
    covariance = sums["product"] - sums["forecast"] * sums["change"] / sums["windows"]
    found: Array = covariance / (sums["forecast_squared"] - np.square(sums["forecast"]) / sums["windows"])
    return found


def intercept(sums: Sums) -> Array:
    """Of the same line: what happened where 0 was forecast."""
    found: Array = (sums["change"] - slope(sums) * sums["forecast"]) / sums["windows"]
    return found


def bias(sums: Sums) -> Array:
    """How much more was forecast than happened, on average."""
    found: Array = (sums["forecast"] - sums["change"]) / sums["windows"]
    return found


def part_change(sums: Mapping[str, Array], at: int) -> Array:
    """What happened on average in that tenth."""
    found: Array = sums[f"part_{at}_change"] / sums[f"part_{at}"]
    return found


def part_forecast(sums: Mapping[str, Array], at: int) -> Array:
    """What was forecast on average in that tenth."""
    found: Array = sums[f"part_{at}_forecast"] / sums[f"part_{at}"]
    return found
