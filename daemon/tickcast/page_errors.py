"""How the forecasts turned out, and how far what comes in is from the training, as the page's document has them.

Beside the way of a tick, in the process that serves.
"""

import math
from typing import Any

from tickcast.rates import Interval, Look

# Fewer outcomes than these in the last minutes say little: those since the start are shown then.
SCORED_MIN = 100
# Columns that are told of, those that drifted most.
COLUMNS_MAX = 8

_SUMS = (
    "tickcast_forecasts_scored_total",
    "tickcast_forecast_squared_error_total",
    "tickcast_persistence_squared_error_total",
)
_SIDES = "tickcast_forecast_absolute_error_total"
_DRIFT = "tickcast_feature_drift_psi"


def errors(far: Interval) -> list[dict[str, Any]]:
    """How each horizon's forecasts turned out in the last minutes, or where these are few, since the start.

    `bias` is the mean error as a share of how far the mid moves (root mean square); above 0 forecasts are too high.
    """
    recent = _sums(*(far.increases(name, "horizon") for name in _SUMS), _less(_errors_of(far.after), far.before))
    whole = _sums(*(far.after.by_label(name, "horizon") for name in _SUMS), _errors_of(far.after))
    return [
        {
            "horizon": int(horizon),
            "scored": int(sums[0]),
            "relative": _relative(*chosen[:3]),
            "since_start": _relative(*sums[:3]),
            "bias": _bias(chosen[0], *chosen[2:]),
        }
        for horizon, sums in sorted(whole.items(), key=lambda each: int(each[0]))
        for chosen in [recent[horizon] if recent[horizon][0] >= SCORED_MIN else sums]
    ]


def drift(look: Look) -> list[dict[str, Any]]:
    """The columns whose values the model sees, and their index; the largest first."""
    series = look.series(_DRIFT).items()
    indices = sorted(((values[0], column) for (_, column, kind), values in series if kind == "input"), reverse=True)
    return [{"column": column, "psi": round(index, 6)} for index, column in indices[:COLUMNS_MAX]]


def _errors_of(look: Look) -> dict[str, float]:
    """Horizon -> the sum of errors, those above less those below."""
    sums: dict[str, float] = {}
    for (horizon, side), values in look.series(_SIDES).items():
        sums[horizon] = sums.get(horizon, 0.0) + (values[0] if side == "above" else -values[0])
    return sums


def _less(sums: dict[str, float], before: Look) -> dict[str, float]:
    then = _errors_of(before)
    return {horizon: total - then.get(horizon, 0.0) for horizon, total in sums.items()}


def _sums(*by_horizon: dict[str, float]) -> dict[str, tuple[float, ...]]:
    """Horizon -> scored, squared error, that of no change, error."""
    return {horizon: tuple(sums.get(horizon, 0.0) for sums in by_horizon) for horizon in by_horizon[0]}


def _relative(scored: float, squared: float, persistence: float) -> float | None:
    return round(1 - squared / persistence, 6) if scored and persistence else None


def _bias(scored: float, persistence: float, error: float) -> float | None:
    return round(error / math.sqrt(scored * persistence), 6) if scored and persistence else None
