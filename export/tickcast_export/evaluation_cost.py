"""Whether forecasts are large enough to matter: above half the spread, what it costs to cross to the other side once.

Behind the way of a tick: part of `tickcast evaluate`. No trading is simulated: no fees, no queue, no size, and the
stretches overlap. It says whether there is anything left to be traded on, not what a strategy would have earned.
"""

import numpy as np

from tickcast_export.bootstrap import Array, Columns, Sums


def columns(forecast: Array, change: Array, spread: Array) -> Columns:
    """Per window [n]: whether the forecast exceeds half the spread, what the mid then did net of it, if that paid.

    The spread of a crossed book counts as none.
    """
    half = np.maximum(spread, 0.0) / 2
    exceeds = np.abs(forecast) > half
    net = np.where(exceeds, np.sign(forecast) * change - half, 0.0)
    return {"exceeds": exceeds.astype(np.float64), "net": net, "paid": (net > 0).astype(np.float64)}


def share(sums: Sums) -> Array:
    """Of all windows, those whose forecast exceeds half the spread."""
    found: Array = sums["exceeds"] / sums["windows"]
    return found


def mean(sums: Sums) -> Array:
    """Of these, what the mid did in the forecast's direction, less half the spread, on average."""
    found: Array = sums["net"] / sums["exceeds"]
    return found


def total(sums: Sums) -> Array:
    """The same, summed."""
    return sums["net"]


def hit_rate(sums: Sums) -> Array:
    """Of these, those in which the mid then did more than half the spread in the forecast's direction."""
    found: Array = sums["paid"] / sums["exceeds"]
    return found
