"""Whether a shadow's error is lower than that of the bundle that answers: asked again and again, and no oftener wrong
than if it were asked once.

Beside the way of a tick, for `tickcast promote`. What is judged is the difference of both bundles' losses on the same
tick. With forecasts f and g of what became y it is (f - y)^2 - (g - y)^2 = (f - g)(f + g - 2 y): of first degree in y,
so its tails are those of the market's moves and not of their squares.

Whoever looks at a growing series until it pleases finds something sooner or later. So looks are at fixed numbers of
ticks, each twice the one before, and each may err with a share of the 5 % only; the shares of all looks that can ever
be taken add up to less (Bonferroni). A look is a function of the first so many differences: when and how often anybody
asks changes nothing.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.block_bootstrap import block_length, block_sums

# How often a shadow that is no better may be promoted, over all looks together: of the 5 % a fifth is kept for what the
# looks do not know of, such as dependence over more than a block.
ALPHA = 0.04
# Fewer scored ticks say too little of a day.
FIRST_LOOK_TICKS = 5_000
# The last one is at ten million ticks.
LOOKS_MAX = 12
# Dependence may reach over a whole day's mood: blocks grow with the series instead of staying what they were.
BLOCKS_MAX = 32
# Draws beyond the tail that is asked for, on the average: enough for its edge to stand still.
DRAWS_IN_TAIL = 20
SEED = 5_000

Array = NDArray[np.float64]


class Look(NamedTuple):
    """What was seen of the first `ticks` differences; above zero the shadow is better."""

    number: int  # from 1
    ticks: int
    alpha: float  # the share of errors that this look may spend
    low: float  # one-sided ends, each with confidence 1 - alpha
    mean: float
    high: float

    @property
    def is_better(self) -> bool:
        """Whether the shadow's error is lower, as far as this look may say so."""
        return self.low > 0


class Verdict(NamedTuple):
    """All looks that the ticks sufficed for, up to the first that held."""

    looks: tuple[Look, ...]
    ticks: int
    mean: float  # over all ticks
    is_better: bool
    reason: str


def verdict(differences: Array) -> Verdict:
    """Whether the shadow is to answer. `differences` [n]: loss of the bundle that answers minus the shadow's, in the
    order of their ticks, all finite.

    The first look that holds decides, unless the shadow is no better over all that has come since the start.
    """
    count = len(differences)
    mean = float(differences.mean()) if count else math.nan
    looks: list[Look] = []
    for number in range(1, LOOKS_MAX + 1):
        if count < ticks_of(number):
            wanted = f"the next look is at {ticks_of(number):,} scored ticks, there are {count:,}"
            return Verdict(tuple(looks), count, mean, False, wanted)
        looks.append(look(differences, number))
        if looks[-1].is_better:
            still = mean > 0
            reason = f"look {number} holds" if still else f"look {number} held, but over all ticks it is no better"
            return Verdict(tuple(looks), count, mean, still, reason)
    return Verdict(tuple(looks), count, mean, False, f"none of {LOOKS_MAX} looks held, and there is no other")


def ticks_of(number: int) -> int:
    """How many scored ticks look `number` is over."""
    return FIRST_LOOK_TICKS << (number - 1)


def alpha_of(number: int) -> float:
    """The share of errors that look `number` may spend: 1/2, 1/6, 1/12 ... of all, which adds up to 1."""
    return ALPHA / (number * (number + 1))


def look(differences: Array, number: int) -> Look:
    """Look `number` at `differences`, of which there are enough.

    A block bootstrap: what the mean might have been is the mean over a random half of the blocks, each in it or not by
    the toss of a coin. Where blocks do not depend on each other and are as likely above as below what is true, these
    means are below it exactly as often as their quantiles say, however heavy the tails and whatever each block's
    spread (Hartigan, "Using subsample values as typical values", 1969; of blocks: Canay, Romano and Shaikh,
    "Randomization tests under an approximate symmetry assumption", 2017).
    """
    ticks, alpha = ticks_of(number), alpha_of(number)
    judged = differences[:ticks]
    block = block_length(judged, least=math.ceil(ticks / BLOCKS_MAX))
    sums = block_sums(np.stack([judged, np.ones(ticks)], axis=1), block)  # [blocks, 2]
    random = np.random.default_rng(SEED)
    drawn = random.integers(0, 2, (math.ceil(DRAWS_IN_TAIL / alpha), len(sums))).astype(np.float64) @ sums
    means = drawn[drawn[:, 1] > 0, 0] / drawn[drawn[:, 1] > 0, 1]
    low, high = np.quantile(means, [alpha, 1 - alpha]).tolist()
    return Look(number, ticks, alpha, low, float(judged.mean()), high)
