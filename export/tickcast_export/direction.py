"""The direction of a change (down, none, up) as a forecast says it, by two thresholds; how well it does, as kappa.

Behind the way of a tick: part of what `tickcast evaluate` reports. A forecast is a mean and hardly ever 0, the mid
nearly always stays: what counts as "up" is chosen on earlier ticks, so that kappa there is highest. Where the spread is
wider than usual a mid moves far more often, and by less, so the same mean says more of whether it will: there forecasts
count several times, how often is chosen with the thresholds.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast_export.bootstrap import Array, Columns, Sums

CLASSES = ("down", "none", "up")
# On either side so many thresholds are tried, and all pairs of them.
CANDIDATES = 200
# How often a forecast may count where the spread is wider than usual.
FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)
# Spreads are differences of prices: so much more than usual is rounding.
ROUNDING = 1e-6


class Thresholds(NamedTuple):
    """A forecast of `low` or less says down, of `high` or more up; it counts `factor` times at spreads above `wide`."""

    low: float
    high: float
    wide: float = math.inf
    factor: float = 1.0

    def classes(self, forecast: Array, spread: Array | None = None) -> NDArray[np.int64]:
        """0 down, 1 none, 2 up: [n]; `spread` [n] as each was made, None where there is none to tell by."""
        counted = forecast if spread is None else forecast * np.where(spread > self.wide, self.factor, 1.0)
        return 1 + (counted >= self.high).astype(np.int64) - (counted <= self.low)


def happened(change: Array) -> NDArray[np.int64]:
    """The direction of what happened: 0 down, 1 none, 2 up: [n]"""
    return 1 + np.sign(change).astype(np.int64)


def tuned(forecast: Array, change: Array, spread: Array | None = None) -> Thresholds:
    """The thresholds of the highest kappa over these ticks [n], each on its side of 0; of no moves, ones never met."""
    if len(np.unique(happened(change))) < 2:
        return Thresholds(-math.inf, math.inf)
    wide = math.inf if spread is None else float(np.median(spread)) * (1 + ROUNDING)
    is_wide = np.zeros(len(forecast), np.bool_) if spread is None else spread > wide
    found = []
    for factor in FACTORS if is_wide.any() else FACTORS[:1]:
        agreed, low, high = _best_pair(forecast * np.where(is_wide, factor, 1.0), change)
        found.append((agreed, Thresholds(low, high, wide, factor)))
    return max(found, key=lambda each: each[0])[1]  # of equals the smallest factor


def columns(thresholds: Thresholds, forecast: Array, change: Array, spread: Array | None = None) -> Columns:
    """The nine cells of the table (said, happened), each as a column [n] of whether a window is in it."""
    said, happens = thresholds.classes(forecast, spread), happened(change)
    return {_cell(i, j): (said == i) & (happens == j) for i in range(3) for j in range(3)}


def kappa_of(sums: Sums) -> Array:
    """Kappa of the sums of those columns."""
    cells = [np.stack([sums[_cell(i, j)] for j in range(3)], axis=-1) for i in range(3)]
    return kappa(np.stack(cells, axis=-2))


def kappa(table: Array) -> Array:
    """Cohen's kappa of tables [..., 3, 3] (said, happened): 1 all agree, 0 no more than by chance; NaN of nothing."""
    count = table.sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        agreed = np.trace(table, axis1=-2, axis2=-1) / count
        by_chance = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1) / np.square(count)
        found: Array = (agreed - by_chance) / (1 - by_chance)
    return found


def _best_pair(forecast: Array, change: Array) -> tuple[float, float, float]:
    """The highest kappa of any two thresholds, and these."""
    actual = np.eye(3)[happened(change)]  # [n, 3]
    total = actual.sum(axis=0)
    order = np.argsort(forecast, kind="stable")
    in_order = forecast[order]
    below = np.concatenate([np.zeros((1, 3)), np.cumsum(actual[order], axis=0)])  # [n + 1, 3]: of the k lowest
    lows, highs = _candidates(in_order[in_order < 0]), -_candidates(-in_order[in_order > 0][::-1])
    said_down = below[np.searchsorted(in_order, lows, "right")]  # [lows, 3]
    said_up = total - below[np.searchsorted(in_order, highs, "left")]  # [highs, 3]
    down, up = np.broadcast_arrays(said_down[:, None], said_up[None])  # all pairs
    found = np.nan_to_num(kappa(np.stack([down, total - down - up, up], axis=-2)), nan=-1.0)
    best_low, best_high = np.unravel_index(int(found.argmax()), found.shape)
    return float(found.max()), float(lows[best_low]), float(highs[best_high])


def _cell(said: int, happens: int) -> str:
    return f"said_{CLASSES[said]}_came_{CLASSES[happens]}"


def _candidates(ascending: Array) -> Array:
    """At most `CANDIDATES` of these, the outermost ones densest, and one beyond which there is nothing."""
    ranks = np.unique(np.geomspace(1, max(len(ascending), 1), CANDIDATES).astype(np.int64)) - 1
    return np.concatenate([[-math.inf], ascending[ranks[ranks < len(ascending)]]])
