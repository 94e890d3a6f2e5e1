"""When ticks come, for `tickcast bench fleet`: Poisson, in bursts that hit all symbols at once, or as recorded.

Beside the way of a tick: where markets would be. All seeded; times are in seconds from 0, in order.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.bench_load import GAP_MAX_S
from tickcast.errors import UsageError

Times = NDArray[np.float64]

# Fewer gaps say nothing of bursts.
GAPS_MIN = 100


class Bursts(NamedTuple):
    """A market that is on or off: for `share` of the time ticks come `factor` times as fast as on average."""

    factor: float = 1.0
    share: float = 0.05
    length_s: float = 0.05  # of a burst, on average

    def check(self) -> None:
        """Raises UsageError where bursts alone would bring more ticks than there are."""
        if self.factor < 1 or not 0 < self.share < 1 or self.length_s <= 0 or self.factor * self.share > 1:
            raise UsageError(
                f"bursts of {self.factor:g} times the rate for {self.share:g} of the time: the factor is 1 or more, the"
                " share between 0 and 1, the length above 0, and factor times share at most 1"
            )


class Market:
    """On and off times that all daemons share, so that bursts hit them together."""

    def __init__(self, bursts: Bursts, duration_s: float, seed: int) -> None:
        bursts.check()
        self.duration_s = duration_s
        random = np.random.default_rng([seed, 0])
        if bursts.factor == 1:
            self._begins, self._lengths, self._factors = np.zeros(1), np.array([duration_s]), np.ones(1)
            return
        quiet_s = bursts.length_s * (1 - bursts.share) / bursts.share
        pairs = int(2 * duration_s / (quiet_s + bursts.length_s)) + 16
        lengths = random.exponential(1.0, (pairs, 2)) * (quiet_s, bursts.length_s)
        ends = np.minimum(np.cumsum(lengths.ravel()), duration_s)
        ends[-1] = duration_s
        self._begins = np.concatenate([[0.0], ends[:-1]])
        self._lengths = ends - self._begins
        quiet = (1 - bursts.factor * bursts.share) / (1 - bursts.share)
        factors = np.tile([quiet, bursts.factor], pairs)
        self._factors = factors / float((factors * self._lengths).sum() / duration_s)  # the mean is what was asked for

    def arrivals(self, rate: float, seed: list[int]) -> Times:
        """Ticks at `rate` a second on average."""
        random = np.random.default_rng(seed)
        counts = random.poisson(rate * self._factors * self._lengths)
        times: Times = np.repeat(self._begins, counts) + random.random(counts.sum()) * np.repeat(self._lengths, counts)
        times.sort()
        return times


class Recorded:
    """Gaps of a recording, scaled to a rate; each daemon begins at another place."""

    def __init__(self, times_ns: NDArray[np.int64], duration_s: float) -> None:
        """Raises UsageError where there are too few."""
        gaps_s = np.clip(np.diff(times_ns) / 1e9, 0.0, GAP_MAX_S)
        if len(gaps_s) < GAPS_MIN or not gaps_s.sum():
            raise UsageError(f"a recording of {len(gaps_s)} gaps: at least {GAPS_MIN}, and some time between them")
        self.duration_s = duration_s
        self._gaps = gaps_s / gaps_s.mean()

    def arrivals(self, rate: float, seed: list[int]) -> Times:
        """Ticks at `rate` a second on average."""
        begin = int(np.random.default_rng(seed).integers(len(self._gaps)))
        wanted = int(rate * self.duration_s) + 1
        gaps = np.take(self._gaps, np.arange(begin, begin + wanted), mode="wrap")
        times: Times = np.cumsum(gaps) / rate
        return times[times < self.duration_s]


Arrivals = Market | Recorded
