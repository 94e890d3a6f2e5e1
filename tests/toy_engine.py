"""An engine whose model is arithmetic: exact, quick, and different for every different window."""

from typing import Any

import numpy as np
from factories import SHA256, manifest_with
from numpy.typing import NDArray
from tickcast.bundle import Bundle, Golden
from tickcast.costs import Costs
from tickcast.manifest import WindowRules


class ToyEngine:
    """Forecast = rows weighted by age, so that a row out of place shows. Fulfils what `Inference` asks of an engine."""

    def __init__(
        self, rules: WindowRules, columns: tuple[str, ...], splits: bool = True, attention: bool = False
    ) -> None:
        manifest = manifest_with(columns=columns, features=len(columns), rules=rules, attention=attention)
        golden = Golden(np.zeros((1, 1, 1)), np.zeros((1, 2), np.float32), np.array(["real"]))
        self.bundle = Bundle(None, manifest, SHA256, {}, golden)  # type: ignore[arg-type]
        self.batch_max = 32
        self.provider = "cpu"
        self.uncaptured: list[str] = []
        self.splits = splits
        self.carry_grows = False
        linear = {1: 1e-4, 100: 1e-2}  # made-up seconds: twice as many rows, twice the time
        self.costs = Costs({"window": linear, "prefix": linear, "finish": linear}, 100)
        self.finished = 0
        self._weights = np.arange(1.0, rules.window + 1)

    def features(self, pairs: NDArray[np.float64]) -> NDArray[np.float32]:
        return (pairs[:, 1] + 0.5 * pairs[:, 0]).astype(np.float32)

    def window(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._answer(np.einsum("nwf,w->n", rows.astype(np.float64), self._weights))

    def attended(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Leans on each row by its first value, which must not be all zero."""
        weights = np.abs(rows[:, :, 0]) + np.float32(1e-6)
        return self.window(rows), weights / weights.sum(axis=1, keepdims=True)

    def prefix(self, rows: NDArray[np.float32]) -> list[Any]:
        """The sum so far, and of how many rows: any number of them."""
        count = rows.shape[1]
        return [
            np.einsum("nwf,w->n", rows.astype(np.float64), self._weights[:count]),
            np.full(len(rows), count),
        ]

    def finish(self, ticks: NDArray[np.float64], carry: list[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        forecasts, rows, _ = self.step(ticks, carry)
        return forecasts, rows

    def step(
        self, ticks: NDArray[np.float64], carry: list[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Any]]:
        self.finished += len(ticks)
        rows = self.features(ticks)
        before, count = carry
        after = before + self._weights[count] * rows.astype(np.float64).sum(axis=1)
        return self._answer(after), rows, [after, count + 1]

    def _answer(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.stack([values, -values], axis=1).astype(np.float32)
