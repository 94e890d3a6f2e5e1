"""The figures of one horizon: what is summed per window, and what statistics with intervals are made of the sums.

Behind the way of a tick: part of `tickcast evaluate`. Errors are squared and in price units, as training minimises them
and as the daemon scores itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tickcast import block_bootstrap
from tickcast.block_bootstrap import Interval

from tickcast_export import calibration, direction, evaluation_cost
from tickcast_export.bootstrap import Array, Columns, Resampled, Statistic, Sums, Tally
from tickcast_export.direction import Thresholds

MODEL = "model"
SHARED = ("windows", "moved", "change", "persistence")

# Name -> statistic of one forecaster's sums.
STATISTICS: dict[str, Statistic] = {
    "below_persistence": lambda sums: 1 - sums["squared"] / sums["persistence"],
    "kappa": direction.kappa_of,
    "slope": calibration.slope,
    "intercept": calibration.intercept,
    "bias": calibration.bias,
}
COST_STATISTICS: dict[str, Statistic] = {
    "exceeds_half_spread": evaluation_cost.share,
    "net_mean": evaluation_cost.mean,
    "net_total": evaluation_cost.total,
    "hit_rate": evaluation_cost.hit_rate,
}


@dataclass(frozen=True)
class Drawing:
    """How intervals are drawn."""

    level: float = 0.95
    draws: int = 1_000
    seed: int = 1


@dataclass(frozen=True)
class Part:
    """A tenth of the bundle's forecasts: on average so much was forecast, so much happened."""

    forecast: float
    happened: Interval


@dataclass(frozen=True)
class HorizonScores:
    """Everything said of one horizon over some windows."""

    horizon: int
    windows: int
    moved: float  # share of windows whose mid changed
    block: float  # windows drawn together, on average
    blocks: int
    by: Mapping[str, Mapping[str, Interval]]  # forecaster -> statistic -> its value
    against: Mapping[str, Interval]  # baseline -> share of its squared error that the bundle saves
    parts: tuple[Part, ...]


def tally(
    horizon: int,
    forecasts: Mapping[str, Array],
    thresholds: Mapping[str, Thresholds],
    change: Array,
    spread: Array | None,
    half_width: float | None,
    runs: NDArray[np.int64],
) -> Tally:
    """The sums of one horizon; all arrays [n], in the order of the ticks of each symbol.

    `spread`: at each window's newest tick, None without bid and ask. `half_width`: of the band that the bundle begins
    with, None where it has none.
    """
    shared = np.ones(len(change)), change != 0, change, np.square(change)
    columns: Columns = dict(zip(SHARED, shared, strict=True))
    for name, forecast in forecasts.items():
        own: Columns = {"squared": np.square(forecast - change)}
        own |= direction.columns(thresholds[name], forecast, change, spread)
        own |= calibration.columns(forecast, change)
        own |= evaluation_cost.columns(forecast, change, spread) if spread is not None else {}
        if name == MODEL:
            own |= calibration.part_columns(forecast, change)
            own |= {"held": np.abs(change - forecast) <= half_width} if half_width is not None else {}
        columns |= {f"{name}.{key}": column for key, column in own.items()}
    return Tally.over(columns, block_length(columns, horizon), runs)


def block_length(columns: Columns, horizon: int) -> int:
    """By the dependence of what the bundle's error is made of; targets that overlap depend on each other for sure."""
    squared = columns[f"{MODEL}.squared"].astype(np.float64)
    persistence = columns["persistence"].astype(np.float64)
    ratio = squared.sum() / (persistence.sum() or 1.0)
    return block_bootstrap.block_length(squared - ratio * persistence, least=2 * horizon)


def scores(horizon: int, tallies: Sequence[Tally], drawing: Drawing) -> HorizonScores:
    """The statistics over the windows of all `tallies`, days drawn from together."""
    joined = Tally.joined(tallies)
    resampled = joined.resampled(drawing.draws, drawing.seed)
    windows, moved = (float(resampled.sums[name][0]) for name in ("windows", "moved"))
    names = list(dict.fromkeys(name.partition(".")[0] for name in joined.names if "." in name))
    return HorizonScores(
        horizon=horizon,
        windows=int(windows),
        moved=moved / windows,
        block=windows / resampled.blocks,
        blocks=resampled.blocks,
        by={name: _statistics(_of(resampled, name), drawing.level) for name in names},
        against={name: resampled.interval(_saved(name), drawing.level) for name in names if name != MODEL},
        parts=_parts(_of(resampled, MODEL), drawing.level),
    )


def _of(resampled: Resampled, forecaster: str) -> Resampled:
    """The shared sums and this forecaster's own, by their bare names."""
    own = {key.removeprefix(f"{forecaster}."): sums for key, sums in resampled.sums.items() if "." in key}
    shared = {name: resampled.sums[name] for name in SHARED}
    return Resampled(own | shared, resampled.blocks)


def _statistics(resampled: Resampled, level: float) -> dict[str, Interval]:
    wanted = STATISTICS | (COST_STATISTICS if "exceeds" in resampled.sums else {})
    wanted |= {"coverage": _coverage} if "held" in resampled.sums else {}
    return {name: resampled.interval(statistic, level) for name, statistic in wanted.items()}


def _saved(baseline: str) -> Statistic:
    def saved(sums: Sums) -> Array:
        return 1 - sums[f"{MODEL}.squared"] / sums[f"{baseline}.squared"]

    return saved


def _parts(resampled: Resampled, level: float) -> tuple[Part, ...]:
    made = []
    for at in range(calibration.PARTS):
        if resampled.sums[f"part_{at}"][0] > 0:
            forecast = float(calibration.part_forecast(resampled.sums, at)[0])
            made.append(Part(forecast, resampled.interval(_part_change(at), level)))
    return tuple(made)


def _coverage(sums: Sums) -> Array:
    """Share of what happened that lay within the bands."""
    found: Array = sums["held"] / sums["windows"]
    return found


def _part_change(at: int) -> Statistic:
    return lambda sums: calibration.part_change(sums, at)
