"""Statistics with intervals, from sums over blocks of windows: each is a function of sums and of nothing else.

Behind the way of a tick: what `tickcast evaluate` reports. The blocks and how they are drawn are
`tickcast.block_bootstrap`'s. All sums of a block are drawn together, so that two models are compared on the same ticks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tickcast import block_bootstrap
from tickcast.block_bootstrap import Interval

Array = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]  # name -> [n], a number or a yes for each window
Sums = Mapping[str, Array]  # name -> [1 + draws]: the sum itself, then the resampled ones
Statistic = Callable[[Sums], Array]  # -> [1 + draws]


@dataclass(frozen=True)
class Tally:
    """Named sums over the blocks of some windows."""

    names: tuple[str, ...]
    sums: Array  # [blocks, names]

    @classmethod
    def over(cls, columns: Columns, block: int, runs: NDArray[np.int64]) -> Self:
        """Of columns [n], each a number per window; `block` windows are drawn together, none of two runs."""
        starts = block_bootstrap.block_starts(len(runs), block, runs)
        sums = [np.add.reduceat(column.astype(np.float64), starts) for column in columns.values()]
        return cls(tuple(columns), np.stack(sums, axis=1))

    @classmethod
    def joined(cls, tallies: Sequence[Self]) -> Self:
        """Of all these windows together; the tallies' names are the same."""
        return cls(tallies[0].names, np.concatenate([tally.sums for tally in tallies]))

    def resampled(self, draws: int, seed: int) -> "Resampled":
        """The sums over all blocks, and `draws` times over as many drawn with replacement."""
        totals = np.concatenate([self.sums.sum(axis=0)[None], block_bootstrap.resampled(self.sums, draws, seed)])
        return Resampled(dict(zip(self.names, totals.T, strict=True)), len(self.sums))


@dataclass(frozen=True)
class Resampled:
    """What statistics are computed from."""

    sums: Sums
    blocks: int

    def interval(self, statistic: Statistic, level: float) -> Interval:
        """The statistic with its interval; all NaN where it has no value."""
        with np.errstate(divide="ignore", invalid="ignore"):
            values = statistic(self.sums)
        return block_bootstrap.interval(float(values[0]), values[1:], level, self.blocks)
