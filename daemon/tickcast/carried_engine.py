"""The graphs of the mode `carried`, on one execution provider: numpy in, numpy out.

Stage `engine.run` of the way of a tick where the recurrent state goes on from tick to tick: `anchor` starts a state
from an exact window, `step` takes it one tick on. Models that attend to what they have seen keep a ring with an item
per tick. A step replaces the item of the tick that leaves the window. It reads all others; or, where there is a graph
`fold`, that one only: it holds the sum over what stays, and `fold` makes new sums after every `window` steps.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.bindings import Array, Graph, slot
from tickcast.bundle import Bundle, carried_certificate
from tickcast.config import InferenceConfig
from tickcast.manifest import GraphRole, Manifest
from tickcast.placement import Placement

# Symbols in one step run: beyond, a tick gains nothing and the others' answers wait.
STEP_ROWS_MAX = 128

Rows = NDArray[np.float32]


class Anchored(NamedTuple):
    """Forecasts [n, horizons] of exact windows, and the states that begin with them."""

    forecasts: Rows
    states: Rows  # [n, state width]
    rings: Rows | None  # [n, window, item width]


class Stepped(NamedTuple):
    """Forecasts [n, horizons], feature rows [n, features] of the ticks, and what has become of the states."""

    forecasts: Rows
    rows: Rows
    states: Rows  # [n, state width]
    items: Rows | None  # [n, item width]: what takes the place of the ring's oldest item


class CarriedEngine:
    """Sessions over these graphs. Not thread-safe. Every array it returns is the caller's own."""

    def __init__(self, bundle: Bundle, config: InferenceConfig) -> None:
        """Raises BundleError where the bundle is not certified for this mode."""
        manifest = bundle.manifest
        carried_certificate(bundle.folder, manifest)
        self.bundle = bundle
        self.window = manifest.rules.window
        place = self._placement = Placement(bundle, config)
        self._step = place.bound("carried", _outputs(manifest, "carried"), STEP_ROWS_MAX)
        self._anchor = place.plain("anchor", _outputs(manifest, "anchor"), config.batch_max)
        self._fold = None
        if "fold" in bundle.graphs:
            self._fold = place.plain("fold", _outputs(manifest, "fold"), config.batch_max)
        inputs = {tensor.name: slot(tensor) for tensor in manifest.graphs["carried"].inputs}
        self.state_width = inputs["carried_state"].row_shape[0]
        self.item_width = inputs["stays"].row_shape[1] if "stays" in inputs else 0

    @property
    def folds(self) -> bool:
        """Whether rings want `fold` after every `window` steps."""
        return self._fold is not None

    def warm(self) -> None:
        """Run every graph in every size it will have; does nothing on the host."""
        self._placement.warm()

    def anchor(self, rows: Rows) -> Anchored:
        """Start states from exact windows [n, window, features], any number of them."""
        forecasts, states, *rings = _in_parts(self._anchor, {"rows": rows})
        return Anchored(forecasts, states, rings[0] if rings else None)

    def step(self, ticks: NDArray[np.float64], states: Rows, stays: Rows | None) -> Stepped:
        """One step of states [n, state width], n at most `STEP_ROWS_MAX`, by raw pairs [n, 2, columns].

        `stays` [n, items that a step reads, item width] is of their rings.
        """
        given: dict[str, Array] = {"ticks": ticks, "carried_state": states}
        if stays is not None:
            given["stays"] = stays
        forecasts, rows, states, *items = self._step.run(len(ticks), given)
        return Stepped(forecasts, rows, states, items[0] if items else None)

    def fold(self, states: Rows, rings: Rows) -> tuple[Rows, Rows]:
        """States and rings [n, window, item width] after `window` steps, in order for as many more."""
        assert self._fold is not None, "nothing to fold"
        states, rings = _in_parts(self._fold, {"carried_state": states, "carried_ring": rings})
        return states, rings


def _in_parts(graph: Graph, given: dict[str, Array]) -> list[Array]:
    """`graph` over arrays [n, ...], in runs of at most as many rows as it takes."""
    count, rows_max = len(next(iter(given.values()))), graph.rows_max
    parts = []
    for start in range(0, count, rows_max):
        part = {name: np.ascontiguousarray(array[start : start + rows_max]) for name, array in given.items()}
        parts.append(graph.run(min(rows_max, count - start), part))
    return parts[0] if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _outputs(manifest: Manifest, role: GraphRole) -> list[str]:
    return [tensor.name for tensor in manifest.graphs[role].outputs]
