"""The graphs of one bundle, on one execution provider: numpy in, numpy out.

Stage `features`, `engine.run` and `engine.prefix` of the way of a tick. Raises ProviderError where the provider asked
for cannot be had; `warm` runs every graph over the golden windows and refuses a bundle that is off here.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tickcast import costs, parity
from tickcast.bindings import Array, Graph, grows
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.costs import Costs
from tickcast.errors import BundleError
from tickcast.manifest import GraphRole
from tickcast.parity import PathParity
from tickcast.placement import Placement

FLOAT32_MAX = float(np.finfo(np.float32).max)
# Feature pairs in one run: they are small, so that a whole poll goes at once.
PAIRS_MAX = 512

Pairs = NDArray[np.float64]
Rows = NDArray[np.float32]
Carry = list[NDArray[np.float32]]  # one array [batch, ...] per carry pair of the manifest, in its order


class Engine:
    """Sessions over a bundle's graphs. Every array it returns is the caller's own.

    `window` and `attended` may be asked by several threads at once; all else by one.
    """

    batch_max: int  # windows in one run
    splits: bool  # whether a window may be answered by `prefix` and `finish`
    carry_grows: bool  # whether a carry is the longer the more rows it is after
    costs: Costs  # there once it is warm, and
    parity: list[PathParity]  # how far the golden windows came out from their reference here

    def __init__(self, bundle: Bundle, config: InferenceConfig) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.batch_max = config.batch_max
        self.splits = "finish" in bundle.graphs and config.finish_path
        self.carry_grows = "finish" in bundle.graphs and any(map(grows, manifest.graphs["finish"].inputs))
        self._finish_inputs = ("ticks", *(pair.finish_input for pair in manifest.carry))
        place = self._placement = Placement(bundle, config)
        self.provider, self.provider_reason = place.provider, place.provider_reason
        self._window = place.plain("window", ["forecast"], config.batch_max)
        if manifest.attention:
            self._attended = place.plain("window", ["forecast", "attention"], config.batch_max)
        if "features" in bundle.graphs:
            self._features = place.bound("features", ["row"], PAIRS_MAX)
        if "finish" in bundle.graphs:
            stepped = ["forecast", "row", *(pair.finish_output for pair in manifest.carry)]
            self._prefix = place.plain("prefix", [pair.prefix_output for pair in manifest.carry], config.batch_max)
            self._finish = place.bound("finish", ["forecast", "row"], config.batch_max)
            stepping: GraphRole = "step" if "step" in bundle.graphs else "finish"
            self._step = (place.plain if self.carry_grows else place.bound)(stepping, stepped, config.batch_max)

    def features(self, pairs: Pairs) -> Rows:
        """Feature rows [n, features] of raw pairs [n, 2, columns] (previous tick, tick).

        A foreign bundle has no feature graph: its rows are the current tick's raw columns, kept within float32.
        """
        if "features" not in self.bundle.graphs:
            return np.clip(pairs[:, 1], -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
        rows: Rows = _run(self._features, len(pairs), {"ticks": pairs})[0]
        return rows

    def window(self, rows: Rows) -> Rows:
        """Forecasts [n, horizons] of windows [n, window, features], in runs of at most `batch_max`."""
        forecasts: Rows = _run(self._window, len(rows), {"rows": rows})[0]
        return forecasts

    def attended(self, rows: Rows) -> tuple[Rows, Rows]:
        """Forecasts [n, horizons] and attention weights [n, window] of windows [n, window, features].

        Only of a bundle whose manifest has attention.
        """
        forecasts, weights = _run(self._attended, len(rows), {"rows": rows})
        return forecasts, weights

    def attention(self, rows: Rows) -> Rows:
        """The weights alone."""
        return self.attended(rows)[1]

    def prefix(self, rows: Rows) -> Carry:
        """Carries [n, ...] after rows [n, any number, features]: for `finish` all of a window but the newest."""
        return _run(self._prefix, len(rows), {"rows": rows})

    def finish(self, ticks: Pairs, carry: Carry) -> tuple[Rows, Rows]:
        """Forecasts [n, horizons] and feature rows [n, features] of raw pairs [n, 2, columns], each with its carry."""
        forecasts, rows = _run(self._finish, len(ticks), self._given(ticks, carry))
        return forecasts, rows

    def step(self, ticks: Pairs, carry: Carry) -> tuple[Rows, Rows, Carry]:
        """As `finish`, and the carries after these ticks."""
        forecasts, rows, *after = _run(self._step, len(ticks), self._given(ticks, carry))
        return forecasts, rows, after

    def warm(self) -> None:
        """Run every graph in every size, the golden windows through every path, then measure `costs`.

        Raises BundleError where an answer is off or not finite.
        """
        self._placement.warm()
        self.parity = parity.check(self.bundle, self)
        failures = [path for path in self.parity if not path.holds]
        if failures:
            raise BundleError("\n".join(f"{self.bundle.folder}: {path.describe()}" for path in failures))
        self.costs = self._measured()

    @property
    def uncaptured(self) -> list[str]:
        """Graphs on a GPU that run without CUDA graphs, and why; complete once it is warm."""
        return self._placement.uncaptured

    @property
    def remark(self) -> str:
        """What whoever set this machine up should know of it; empty: nothing."""
        return self._placement.remark

    @property
    def keep_warm_interval_ms(self) -> int:
        """How long it may idle before `stay_warm` is due; 0: never."""
        return self._placement.keep_warm_interval_ms

    def stay_warm(self) -> None:
        """A run of one row for nobody."""
        if self.splits:
            self.finish(*self._idle)
        else:
            self.window(self._idle_window)

    def _given(self, ticks: Pairs, carry: Carry) -> dict[str, Array]:
        return dict(zip(self._finish_inputs, (ticks, *carry), strict=True))

    def _measured(self) -> Costs:
        """What the graphs cost, over rows of zeros and golden ticks: time does not depend on the values."""
        counts = [count for count in costs.COUNTS if count <= self.batch_max]
        manifest, most = self.bundle.manifest, counts[-1]
        rows = np.zeros((most, manifest.rules.window, manifest.features), np.float32)
        self._idle_window = rows[:1]
        measured = {"window": costs.measure(lambda count: self.window(rows[:count]), counts)}
        if "finish" in self.bundle.graphs:
            before = np.ascontiguousarray(rows[:, 1:])
            self._idle = self.bundle.golden.ticks[:1, -2:], self.prefix(before[:1])
            ticks = np.repeat(self._idle[0], most, axis=0)
            carry = [np.repeat(part, most, axis=0) for part in self._idle[1]]
            measured["prefix"] = costs.measure(lambda count: self.prefix(before[:count]), counts)
            measured["finish"] = costs.measure(
                lambda count: self.finish(ticks[:count], [part[:count] for part in carry]), counts
            )
        return Costs(measured, self.batch_max)


def _run(graph: Graph, count: int, given: Mapping[str, Array]) -> list[Array]:
    """The graph over arrays [count, ...], in runs of at most as many rows as it takes."""
    if count <= graph.rows_max:
        return graph.run(count, given)
    parts = []
    for start in range(0, count, graph.rows_max):
        part = {name: array[start : start + graph.rows_max] for name, array in given.items()}
        parts.append(graph.run(min(graph.rows_max, count - start), part))
    return [np.concatenate(each) for each in zip(*parts, strict=True)]
