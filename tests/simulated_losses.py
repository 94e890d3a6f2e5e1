"""Paired losses of two forecasters of one market, invented: heavy tails, moods that last, horizons that overlap.

Each run is a market whose volatility wanders (its logarithm an AR(1), half forgotten after 69 ticks), whose moves over
the next ten ticks are a predictable fifth of the variance and a sum of ten shocks of Student's t with three degrees of
freedom. Both forecast the predictable part, each with an error of its own that lasts (AR(1), half forgotten after seven
ticks). The one that answers saves 14 % of persistence's squared error; the shadow's is lower by the share `better`.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MOOD_STAYS, MOOD_SPREAD = 0.99, 0.5
ERROR_STAYS = 0.9
HORIZON = 10
FREEDOM = 3
UNPREDICTABLE = 0.8
ANSWERING_LOSS = 0.86


def differences(seed: int, runs: int, ticks: int, better: float = 0.0) -> NDArray[np.float64]:
    """Loss of the one that answers minus the shadow's [runs, ticks], in units of the variance of what is forecast."""
    random = np.random.default_rng(seed)
    mood = np.exp(2 * MOOD_SPREAD * _lasting(random, runs, ticks, MOOD_STAYS))  # a variance
    errors = [
        np.sqrt(loss - UNPREDICTABLE) * _lasting(random, runs, ticks, ERROR_STAYS)
        for loss in (ANSWERING_LOSS, ANSWERING_LOSS * (1 - better))
    ]
    shocks = random.standard_t(FREEDOM, (runs, ticks + HORIZON)) / np.sqrt(FREEDOM / (FREEDOM - 2))
    sums = np.cumsum(shocks, axis=1)
    surprise = np.sqrt(UNPREDICTABLE / HORIZON) * (sums[:, HORIZON:] - sums[:, :-HORIZON])
    lost: NDArray[np.float64] = mood * (np.square(errors[0] - surprise) - np.square(errors[1] - surprise))
    return lost


def _lasting(random: np.random.Generator, runs: int, ticks: int, stays: float) -> NDArray[np.float64]:
    """Gaussian, variance 1, correlated by `stays` from one tick to the next."""
    made = random.standard_normal((ticks, runs))
    made[1:] *= np.sqrt(1 - stays**2)
    for before, now in pairwise(made):
        now += stays * before
    return np.ascontiguousarray(made.T)
