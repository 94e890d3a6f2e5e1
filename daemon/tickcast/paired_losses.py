"""How far off two bundles were on the same ticks: what `tickcast promote` rests on.

Beside the way of a tick. What then happened is taken from the ticks themselves, by the windows module; the forecasts
from both topics, by the source that their records name. So it depends on no daemon's counters, and whoever reads the
same topics comes to the same numbers.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.clients import Partition
from tickcast.scores import CHANGE_MAX
from tickcast.windows import SymbolWindow

# The two sides of a comparison.
OLD, NEW = 0, 1

Array = NDArray[np.float64]


class Losses(NamedTuple):
    """Of each tick that both forecast and whose outcome is known: the mean over horizons of the squared errors.

    In the order in which the outcomes came: of what was known once, more ticks change nothing.
    """

    old: Array  # [scored], in squares of the target_scale
    new: Array


class PairedLosses:
    """Every row of the partitions compared, in order; forecasts of both bundles in any order; then `losses`.

    Takes some 40 bytes a row and 4 for each forecast value.
    """

    def __init__(self, horizons: Sequence[int], target_scale: float) -> None:
        """`horizons` are those compared, each shorter than the window, so that no outcome lies beyond a cut."""
        self._horizons = tuple(horizons)
        self._scale = target_scale
        self._numbers: dict[SymbolWindow, int] = {}
        self._partitions: dict[Partition, _Partition] = {}

    def row(
        self,
        partition: Partition,
        offset: int,
        timestamp_ms: int,
        window: SymbolWindow,
        position: int,
        mid: float | None,
    ) -> None:
        """A tick that filled its window, and the mid there."""
        found = self._partition(partition)
        found.offsets.append(offset)
        found.timestamps_ms.append(timestamp_ms)
        found.windows.append(self._numbers.setdefault(window, len(self._numbers)))
        found.positions.append(position)
        found.mids.append(np.nan if mid is None else mid)

    def forecast(self, side: int, partition: Partition, offset: int, values: Sequence[float]) -> None:
        """A forecast of that side's bundle, one value for each of the horizons compared."""
        found = self._partition(partition)
        found.forecast_offsets[side].append(offset)
        found.forecasts[side].extend(values)

    def losses(self) -> Losses:
        """What both came to, over all partitions."""
        numbered = sorted(self._partitions.items())
        parts = [self._of(each, number) for number, (_, each) in enumerate(numbered)]
        if not parts:
            return Losses(np.empty(0), np.empty(0))
        old, new = (np.concatenate([each.losses[side] for each in parts]) for side in (OLD, NEW))
        order = np.lexsort([np.concatenate([each.came[key] for each in parts]) for key in range(3)])
        return Losses(old[order], new[order])

    def _partition(self, partition: Partition) -> "_Partition":
        found = self._partitions.get(partition)
        if found is None:
            found = self._partitions[partition] = _Partition()
        return found

    def _of(self, partition: "_Partition", number: int) -> "_Known":
        """The ticks that both forecast and whose outcome is known."""
        offsets, windows, positions, timestamps_ms = (
            np.frombuffer(each, np.int64)
            for each in (partition.offsets, partition.windows, partition.positions, partition.timestamps_ms)
        )
        order = np.lexsort((positions, windows))  # each symbol's rows beside each other
        mids = np.frombuffer(partition.mids, np.float64)[order]
        windows, positions = windows[order], positions[order]
        changes = np.full((len(mids), len(self._horizons)), np.nan)  # [rows, horizons]
        for column, ahead in enumerate(self._horizons):
            there = np.flatnonzero(
                (windows[ahead:] == windows[:-ahead]) & (positions[ahead:] == positions[:-ahead] + ahead)
            )
            changes[there, column] = mids[there + ahead] - mids[there]
        losses = [self._loss(partition, side, offsets, order, changes) for side in (OLD, NEW)]
        known = np.flatnonzero(np.isfinite(losses[OLD]) & np.isfinite(losses[NEW]))
        last = order[known + max(self._horizons)]  # the row that completes the outcome
        came = offsets[last], np.full(len(known), number, np.int64), timestamps_ms[last]
        return _Known(came, (losses[OLD][known], losses[NEW][known]))

    def _loss(
        self,
        partition: "_Partition",
        side: int,
        offsets: NDArray[np.int64],
        order: NDArray[np.intp],
        changes: Array,
    ) -> Array:
        """Of each row in `order`; NaN where there is no forecast, or an outcome that no market could make."""
        made = np.full(changes.shape, np.nan)
        given = np.frombuffer(partition.forecasts[side], np.float32).reshape(-1, len(self._horizons))
        wanted = np.frombuffer(partition.forecast_offsets[side], np.int64)
        if len(wanted) and len(offsets):
            places = np.searchsorted(offsets, wanted).clip(max=len(offsets) - 1)
            is_there = offsets[places] == wanted
            made[places[is_there]] = given[is_there]
        change_max = CHANGE_MAX * self._scale
        made[~(np.abs(made) <= change_max)] = np.nan
        changes = np.where(np.abs(changes) <= change_max, changes, np.nan)
        loss: Array = np.square((made[order] - changes) / self._scale).mean(axis=1)
        return loss


class _Known(NamedTuple):
    """Of one partition."""

    came: tuple[NDArray[np.int64], ...]  # with the outcome: offset, partition and time, the last counting first
    losses: tuple[Array, Array]  # of both sides


class _Partition:
    """What is known of one partition, a value for each row, and of each side for each forecast."""

    def __init__(self) -> None:
        self.offsets = array("q")
        self.timestamps_ms = array("q")
        self.windows = array("q")
        self.positions = array("q")
        self.mids = array("d")
        self.forecast_offsets = (array("q"), array("q"))
        self.forecasts = (array("f"), array("f"))
