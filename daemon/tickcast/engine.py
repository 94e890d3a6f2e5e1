"""The graphs of one bundle, on one execution provider: numpy in, numpy out.

Stage `features`, `engine.run` and `engine.prefix` of the way of a tick. Raises ProviderError where the provider asked
for cannot be had; `warm` runs every graph over the golden windows and refuses a bundle that is off here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickcast import parity, providers
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.errors import BundleError

FLOAT32_MAX = float(np.finfo(np.float32).max)

Rows = NDArray[np.float32]
Carry = list[NDArray[np.float32]]  # one array [batch, ...] per carry pair of the manifest, in its order


class Engine:
    """Sessions over a bundle's graphs. Not thread-safe."""

    def __init__(self, bundle: Bundle, config: InferenceConfig) -> None:
        choice = providers.choose(config.provider)
        self.provider = choice.name
        self.provider_reason = choice.reason
        self.bundle = bundle
        self.batch_max = config.batch_max
        manifest = bundle.manifest
        self._sessions: dict[str, Any] = {
            role: providers.session(graph, choice.name, config) for role, graph in bundle.graphs.items()
        }
        self.splits = "finish" in self._sessions and config.finish_path
        self._carry_outputs = [pair.prefix_output for pair in manifest.carry]
        self._carry_inputs = [pair.finish_input for pair in manifest.carry]

    def features(self, pairs: NDArray[np.float64]) -> Rows:
        """Feature rows [n, features] of raw pairs [n, 2, columns] (previous tick, tick).

        A foreign bundle has no feature graph: its rows are the current tick's raw columns, kept within float32.
        """
        session = self._sessions.get("features")
        if session is None:
            return np.clip(pairs[:, 1], -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
        rows: Rows = session.run(["row"], {"ticks": pairs})[0]
        return rows

    def window(self, rows: Rows) -> Rows:
        """Forecasts [n, horizons] of windows [n, window, features], in runs of at most `batch_max`."""
        run = self._sessions["window"].run
        parts = [
            run(["forecast"], {"rows": rows[start : start + self.batch_max]})[0]
            for start in range(0, len(rows), self.batch_max)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def prefix(self, rows: Rows) -> Carry:
        """Carries after all but the newest row: rows [n, window - 1, features]."""
        carry: Carry = self._sessions["prefix"].run(self._carry_outputs, {"rows": rows})
        return carry

    def finish(self, ticks: NDArray[np.float64], carry: Carry) -> tuple[Rows, Rows]:
        """Forecasts [n, horizons] and feature rows [n, features] of raw pairs [n, 2, columns], each with its carry."""
        feeds = dict(zip(self._carry_inputs, carry, strict=True))
        forecast, row = self._sessions["finish"].run(["forecast", "row"], {"ticks": ticks, **feeds})
        return forecast, row

    def warm(self) -> None:
        """Run the golden windows through every graph. Raises BundleError where an answer is off or not finite."""
        failures = [path for path in parity.check(self.bundle, self) if not path.holds]
        if failures:
            raise BundleError("\n".join(f"{self.bundle.folder}: {path.describe()}" for path in failures))
