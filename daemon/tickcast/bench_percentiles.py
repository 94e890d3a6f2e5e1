"""Percentiles of measured times, as every bench reports them.

Beside the way of a tick: what the benches say about it.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Percentiles:
    """What `count` times come to, in seconds; all zero where there are none."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    def texts(self) -> list[str]:
        """The five times for people, in order."""
        times = (self.p50, self.p90, self.p99, self.p999, self.max)
        return [duration(seconds) if self.count else "-" for seconds in times]

    def microseconds(self) -> dict[str, float | int]:
        """For a report that programs read: the count, and `p50_us`, `p90_us`, ..."""
        times = {f"{name}_us": round(seconds * 1e6, 3) for name, seconds in asdict(self).items() if name != "count"}
        return {"count": self.count, **times}


# What stands above `Percentiles.texts()`.
HEADER = ("p50", "p90", "p99", "p99.9", "max")
PER_MILLE = (500, 900, 990, 999, 1_000)


def percentiles(seconds: NDArray[np.float64]) -> Percentiles:
    """Percentiles of `seconds` [times], each one that was measured (nearest rank): none is made up between two."""
    if not len(seconds):
        return Percentiles(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    ranks = [-(-len(seconds) * each // 1_000) - 1 for each in PER_MILLE]  # whole numbers: 99.9 % of 1,000 is the 999th
    return Percentiles(len(seconds), *map(float, np.sort(seconds)[ranks]))


def duration(seconds: float) -> str:
    """Three digits and the unit that suits them: `31.4 us`, `1.20 ms`."""
    if not seconds:
        return "0"
    for limit, unit, scale in ((1e-6, "ns", 1e9), (1e-3, "us", 1e6), (1.0, "ms", 1e3)):
        if abs(seconds) < limit * 0.9995:
            return f"{_three_digits(seconds * scale)} {unit}"
    return f"{_three_digits(seconds)} s"


def _three_digits(value: float) -> str:
    rounded = float(f"{value:.3g}")  # 999.7 has the digits of 1000
    return f"{rounded:.{max(0, 2 - int(np.floor(np.log10(abs(rounded)))))}f}"
