"""How sure a mean over dependent values is: the block bootstrap, for live promotion and for the evaluation report.

Behind the way of a tick. Errors of neighbouring ticks depend on each other, so blocks of neighbours are drawn again
with replacement, not single ticks (Carlstein 1986). Whatever is a function of sums (a mean, a ratio, a table of counts)
needs only each block's sums: those of a day are kept in place of its ticks.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Of fewer blocks the bootstrap knows too little: the ends are NaN then, nothing pretends to be an interval.
BLOCKS_MIN = 10
# What the rule leaves of a short series, however far its dependence seems to reach.
BLOCKS_WANTED = 20
# More blocks say nothing more of an interval's width and cost time: the rule lengthens the blocks of a long series.
BLOCKS_MAX = 5_000
# So many insignificant autocorrelations in a row end the dependence: Politis and White's.
QUIET_LAGS = 5
# Numbers drawn at once: 4 Mi are 32 MiB.
DRAWN_AT_ONCE = 4 << 20
# Autocovariances are taken over stretches of so many values: far longer than any block, and bounded in memory.
STRETCH = 1 << 17

Array = NDArray[np.float64]
Runs = NDArray[np.int64] | None  # [n]; a block never reaches over a change of it; None: all are one run


class Interval(NamedTuple):
    """An estimate and the ends of its interval; both NaN where there was too little to say."""

    low: float
    mean: float
    high: float


def mean_interval(
    values: Array, block: int, level: float = 0.95, draws: int = 2_000, seed: int = 0, runs: Runs = None
) -> Interval:
    """The mean of `values` [n] and its two-sided interval: percentiles of `draws` resampled means.

    One-sided with confidence c: `level` = 2 c - 1 and the end on that side.
    """
    return ratio_interval(values, np.ones(len(values)), block, level, draws, seed, runs)


def ratio_interval(
    numerators: Array,
    denominators: Array,
    block: int,
    level: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
    runs: Runs = None,
) -> Interval:
    """Sum of `numerators` [n] over sum of `denominators` [n], both drawn together; as `mean_interval`.

    Squared errors over persistence's, for one. Raises ValueError where the denominators sum to 0.
    """
    sums = block_sums(np.stack([numerators, denominators], axis=1), block, runs)
    top, bottom = sums.sum(axis=0).tolist()
    if bottom == 0:
        raise ValueError("the denominators sum to 0: there is no ratio")
    drawn = resampled(sums, draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(top / bottom, drawn[:, 0] / drawn[:, 1], level, len(sums))


def block_length(values: Array, least: int = 1) -> int:
    """How many neighbours depend on each other, so that they are drawn together: at least `least`.

    Twice what Politis and White's rule for the block bootstrap finds ("Automatic block-length selection for the
    dependent bootstrap", 2004, corrected 2009) from the autocorrelations up to where they stay insignificant: its
    length is best for the variance's error, and a longer one leaves intervals less often too narrow. Never more than a
    twentieth of the series, as far as `least` lets it, and long enough for `BLOCKS_MAX` blocks.
    """
    count = len(values)
    longest = count // BLOCKS_WANTED
    return max(1, least, math.ceil(count / BLOCKS_MAX), min(2 * _politis_white(values), longest))


def block_sums(values: Array, block: int, runs: Runs = None) -> Array:
    """Sums [blocks, k] of `values` [n, k] over blocks of about `block` rows; those of one run are of one length."""
    return np.add.reduceat(values, block_starts(len(values), block, runs), axis=0) if len(values) else values.copy()


def block_starts(count: int, block: int, runs: Runs = None) -> NDArray[np.int64]:
    """First rows of the blocks of `count` > 0 rows: each run in equal parts of about `block` rows, at least one."""
    first = np.flatnonzero(np.diff(runs, prepend=runs[0] - 1)) if runs is not None else np.zeros(1, np.int64)
    lengths = np.diff(first, append=count)
    parts = np.maximum(1, np.round(lengths / block)).astype(np.int64)
    place = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)  # which part of its run
    starts: NDArray[np.int64] = np.repeat(first, parts) + place * np.repeat(lengths, parts) // np.repeat(parts, parts)
    return starts


def resampled(sums: Array, draws: int, seed: int) -> Array:
    """Totals [draws, k] over as many blocks as there are, drawn with replacement from `sums` [blocks, k]."""
    blocks = len(sums)
    if blocks < BLOCKS_MIN:
        return np.full((draws, sums.shape[1]), np.nan)
    random = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // blocks)
    totals = []
    for start in range(0, draws, at_once):
        some = min(at_once, draws - start)
        drawn = random.integers(0, blocks, (some, blocks)) + blocks * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * blocks).reshape(some, blocks)
        totals.append(times.astype(np.float64) @ sums)
    return np.concatenate(totals)


def interval(estimate: float, drawn: Array, level: float, blocks: int) -> Interval:
    """`estimate` between the percentiles of the same statistic of resampled sums, `drawn` [draws].

    Few blocks vary less among each other than what they stand for, so the percentiles lie a little further out than
    `level` (the expanded percentile interval: Hesterberg, "What teachers should know about the bootstrap", 2015).
    Draws in which the statistic has no value (nothing of its kind was drawn) are left out.
    """
    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) / 2 or not len(drawn):
        return Interval(math.nan, estimate, math.nan)
    beyond = 1 - NormalDist().cdf(_student_quantile((1 + level) / 2, blocks - 1) * math.sqrt(blocks / (blocks - 1)))
    low, high = np.quantile(known, [beyond, 1 - beyond]).tolist()
    return Interval(low, estimate, high)


def _student_quantile(share: float, freedom: int) -> float:
    """Student's quantile, by the first terms of its expansion in 1 / freedom: to a hundredth from nine on."""
    z = NormalDist().inv_cdf(share)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _politis_white(values: Array) -> int:
    count = len(values)
    if count < 2 * BLOCKS_MIN or not np.ptp(values) > 0:
        return 1
    covariances = _autocovariances(values, math.isqrt(count) + QUIET_LAGS)
    significant = np.abs(covariances[1:]) > 2 * math.sqrt(math.log10(count) / count) * covariances[0]
    reach = _last_before_quiet(significant)
    lags = np.arange(1, min(2 * max(reach, 1), len(covariances) - 1) + 1)
    weights = np.minimum(1.0, 2 * (1 - lags / lags[-1]))  # flat to one half, then down to 0
    spectrum = covariances[0] + 2 * float(weights @ covariances[lags])
    slope = 2 * float((weights * lags) @ covariances[lags])
    if spectrum <= 0:
        return max(1, reach)
    length: float = (1.5 * (slope / spectrum) ** 2 * count) ** (1 / 3)
    return max(1, math.ceil(length))


def _last_before_quiet(significant: NDArray[np.bool_]) -> int:
    """The lag after which only insignificant ones follow for a while; the last significant one where none do."""
    ends = np.flatnonzero(np.convolve(~significant, np.ones(QUIET_LAGS), "valid") >= QUIET_LAGS)
    if len(ends):
        return int(ends[0])
    places = np.flatnonzero(significant)
    return int(places[-1]) + 1 if len(places) else 0


def _autocovariances(values: Array, lags: int) -> Array:
    """At lags 0 to `lags` [lags + 1]; pairs that lie in different stretches are left out."""
    total = np.zeros(lags + 1)
    mean = values.mean()
    for start in range(0, len(values), STRETCH):
        part = values[start : start + STRETCH] - mean
        size = 1 << (len(part) + lags).bit_length()
        total += np.fft.irfft(np.square(np.abs(np.fft.rfft(part, size))), size)[: lags + 1]
    return total / len(values)
