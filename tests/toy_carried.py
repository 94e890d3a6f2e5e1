"""The graphs of the mode `carried` of a model that is arithmetic: exact, and different for every other anchor."""

import numpy as np
from numpy.typing import NDArray
from tickcast.carried_engine import Anchored, Stepped
from tickcast.manifest import CarriedCertificate, Distance
from toy_engine import ToyEngine

Rows = NDArray[np.float32]


def certificate(interval_offsets: int) -> CarriedCertificate:
    """A certificate of the mode that holds."""
    nothing = Distance(median=0.0, p99=0.0, maximum=0.0)
    return CarriedCertificate(
        interval_offsets=interval_offsets,
        cases=1,
        steps=1,
        case_kinds={"real": 1},
        error_max=0.0,
        error_p99=0.0,
        golden_sha256="0" * 64,
        ticks=1,
        runs=1,
        distance=nothing,
        distance_absolute=nothing,
        windowed_spread=0.0,
    )


class ToyCarried:
    """Forecast = twice the sum since the window at the anchor began and the row's own, sum over the window.

    The first is the state, the second the ring's: items are rows' first columns, whose sums are exact in any order,
    folded or whole. Fulfils what `CarriedStates` asks of an engine.
    """

    state_width = 2  # sum since the anchor's window began, sum of what came since the last fold
    item_width = 1

    def __init__(self, engine: ToyEngine, folds: bool) -> None:
        self.window = engine.bundle.manifest.rules.window
        self.folds = folds
        self._engine = engine

    def anchor(self, rows: Rows) -> Anchored:
        items = rows[:, :, :1]
        total = items.sum(axis=1)
        states = np.concatenate([total, np.zeros_like(total)], axis=1)
        return Anchored(_forecasts(total, items[:, -1], total), states, self._folded(items) if self.folds else items)

    def step(self, ticks: NDArray[np.float64], states: Rows, stays: Rows | None) -> Stepped:
        assert stays is not None
        rows = self._engine.features(ticks)
        item = rows[:, :1]
        total, newer = states[:, :1] + item, states[:, 1:] + item
        over_window = stays.sum(axis=1) + (newer if self.folds else item)
        return Stepped(_forecasts(total, item, over_window), rows, np.concatenate([total, newer], axis=1), item)

    def fold(self, states: Rows, rings: Rows) -> tuple[Rows, Rows]:
        return states * np.array([1, 0], np.float32), self._folded(rings)

    def _folded(self, rings: Rows) -> Rows:
        """Item i: the sum over all later ones."""
        return np.flip(np.flip(rings, 1).cumsum(axis=1), 1) - rings


def _forecasts(total: Rows, newest: Rows, over_window: Rows) -> Rows:
    return np.concatenate([2 * total + newest, over_window], axis=1).astype(np.float32)
