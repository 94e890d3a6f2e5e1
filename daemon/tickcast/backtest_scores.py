"""How good a backtest's forecasts turned out, per horizon, against the guess that nothing would change.

Behind the way of a tick. As in `scores.py` a forecast for h sampled ticks ahead is scored when that tick comes, within
one run of its symbol: no target reaches over a cut. Sums only, and each symbol's newest ticks: memory does not grow.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from tickcast.backtest_answers import Answered
from tickcast.manifest import Manifest
from tickcast.scores import CHANGE_MAX

# Scored together: so many ticks cost little more than one, and are some MB.
TOGETHER_TICKS = 65_536
# Kept for the ticks to come, of all symbols: 100 MB with ten horizons. Beyond it the oldest go unscored.
KEPT_TICKS_MAX = 1_000_000


class Score(NamedTuple):
    """Of one horizon; errors in the bundle's unit. NaN where nothing was scored, or nothing moved."""

    horizon: int
    scored: int
    error: float  # root mean square
    below_persistence: float  # share of persistence's squared error that is saved
    bias: float  # mean of forecast - change
    hit_rate: float  # of the changes, those whose direction was forecast


class _Sums(NamedTuple):
    """By horizon [horizons], errors in units of `target_scale`."""

    scored: NDArray[np.float64]
    squared: NDArray[np.float64]
    persistence: NDArray[np.float64]
    error: NDArray[np.float64]
    moves: NDArray[np.float64]
    hits: NDArray[np.float64]


class BacktestScores:
    """Takes in answered ticks in the file's order, those without a forecast, too."""

    def __init__(
        self, manifest: Manifest, together_ticks: int = TOGETHER_TICKS, kept_ticks_max: int = KEPT_TICKS_MAX
    ) -> None:
        self._horizons = manifest.horizons
        self._scale = manifest.target_scale
        self._together_ticks = together_ticks
        self._kept_ticks_max = kept_ticks_max
        self._sums = _Sums._make(np.zeros((len(_Sums._fields), len(self._horizons))))
        self._ids: dict[str, int] = {}  # of symbols: numbers sort quickly
        self._kept: Answered | None = None
        self._new: list[Answered] = []

    def add(self, answered: Answered) -> None:
        """The next ticks."""
        self._new.append(answered._replace(attention=np.empty((answered.size, 0), np.float32)))
        kept = 0 if self._kept is None else self._kept.size
        if sum(each.size for each in self._new) >= max(self._together_ticks, kept):
            self._score()

    def scores(self) -> list[Score]:
        """Of all ticks so far."""
        if self._new:
            self._score()
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = self._sums
            columns = (
                np.sqrt(sums.squared / sums.scored) * self._scale,
                1 - sums.squared / sums.persistence,
                sums.error / sums.scored * self._scale,
                sums.hits / sums.moves,
            )
        counts = sums.scored.astype(np.int64).tolist()
        values = zip(*(column.tolist() for column in columns), strict=True)
        return [Score(h, n, *each) for h, n, each in zip(self._horizons, counts, values, strict=True)]

    def _score(self) -> None:
        before = [] if self._kept is None else [self._kept]
        joined = Answered._make(map(np.concatenate, zip(*before, *self._new, strict=True)))
        is_new = np.arange(joined.size) >= sum(each.size for each in before)
        self._new = []
        known = self._ids
        ids = np.array([known.setdefault(symbol, len(known)) for symbol in joined.symbols], np.int64)
        order = np.argsort(ids, kind="stable")  # each symbol's ticks beside each other
        joined, ids, is_new = joined.part(order), ids[order], is_new[order]
        goes_on = (ids[1:] == ids[:-1]) & (joined.positions[1:] == joined.positions[:-1] + 1)
        runs = np.concatenate([[0], np.cumsum(~goes_on)])
        for column, ahead in enumerate(self._horizons):
            if ahead < joined.size:
                self._count(column, ahead, joined, runs, is_new)
        ends = np.searchsorted(ids, ids, side="right")
        self._keep(joined.part(ends - np.arange(len(ids)) <= max(self._horizons)))

    def _count(
        self, column: int, ahead: int, ticks: Answered, runs: NDArray[np.int64], is_new: NDArray[np.bool_]
    ) -> None:
        """Each tick of `ticks` against that `ahead` of it, where that is new: else it was counted before."""
        change_max = CHANGE_MAX * self._scale
        with np.errstate(over="ignore", invalid="ignore"):
            happened = ticks.mids[ahead:] - ticks.mids[:-ahead]
        made = ticks.forecasts[:-ahead, column].astype(np.float64)
        means = (np.abs(happened) <= change_max) & (np.abs(made) <= change_max)  # neither is NaN, either
        scored = means & (runs[ahead:] == runs[:-ahead]) & is_new[ahead:]
        happened, made = happened[scored] / self._scale, made[scored] / self._scale
        moves = happened != 0
        values = (
            len(made),
            np.square(made - happened).sum(),
            np.square(happened).sum(),
            (made - happened).sum(),
            moves.sum(),
            (moves & (np.sign(made) == np.sign(happened))).sum(),
        )
        for total, value in zip(self._sums, values, strict=True):
            total[column] += value

    def _keep(self, ticks: Answered) -> None:
        if ticks.size > self._kept_ticks_max:
            newest = np.sort(np.argpartition(ticks.offsets, -self._kept_ticks_max)[-self._kept_ticks_max :])
            ticks = ticks.part(newest)  # a symbol's stay in order
        self._kept = ticks


def table(scores: list[Score], unit: str) -> Table:
    """For a terminal."""
    made = Table(title="how the forecasts turned out")
    for heading in ("ticks ahead", "scored", f"error, {unit}", "below persistence", f"bias, {unit}", "direction right"):
        made.add_column(heading, justify="right")
    for each in scores:
        made.add_row(
            str(each.horizon),
            f"{each.scored:,}",
            f"{each.error:.4g}",
            f"{each.below_persistence:.1%}",
            f"{each.bias:+.2g}",
            f"{each.hit_rate:.1%}",
        )
    return made
