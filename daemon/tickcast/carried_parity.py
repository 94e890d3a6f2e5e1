"""Golden runs through the graphs of the mode `carried`: does what runs here compute what was certified?

The companion of `parity`, with its errors and its tolerance. Asked by `tickcast export`, by `tickcast verify`, and by
the daemon before it is ready in this mode.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tickcast import parity
from tickcast.bundle import Golden
from tickcast.carried_engine import CarriedEngine
from tickcast.carried_states import CarriedStates
from tickcast.errors import BundleError
from tickcast.parity import PathParity

# Golden runs that are stepped alone as well: a single row is rounded a little differently.
ALONE_MAX = 2

Features = Callable[[NDArray[np.float64]], NDArray[np.float32]]  # raw pairs [n, 2, columns] -> rows [n, features]


def check(engine: CarriedEngine, features: Features) -> list[PathParity]:
    """How far the golden runs of the engine's bundle come out from their reference, alone and all at once."""
    golden = engine.bundle.carried_golden
    assert golden is not None, "a bundle that is certified for this mode has golden runs"
    alone = [
        _errors(engine, features, _part(golden, case, case + 1)) for case in range(min(ALONE_MAX, len(golden.ticks)))
    ]
    together = _errors(engine, features, golden)
    tolerance = engine.bundle.manifest.certificate.tolerance
    return [
        PathParity(
            "carried",
            batch,
            len(error),
            float(error.max()),
            float(np.quantile(error, 0.99, method="higher")),
            tolerance,
        )
        for batch, error in ((1, np.concatenate(alone)), (len(golden.ticks), together))
    ]


def warm(engine: CarriedEngine, features: Features) -> list[PathParity]:
    """Ready the graphs for a daemon, and `check` them. Raises BundleError where an answer is off or not finite."""
    engine.warm()
    paths = check(engine, features)
    failures = [path for path in paths if not path.holds]
    if failures:
        raise BundleError("\n".join(f"{engine.bundle.folder}: {path.describe()}" for path in failures))
    return paths


def run(engine: CarriedEngine, features: Features, ticks: NDArray[np.float64]) -> NDArray[np.float32]:
    """Raw runs [n, 1 + window + steps, columns] -> forecasts [n, 1 + steps, horizons], anchored at the first window."""
    states, slots, window = CarriedStates(engine), np.arange(len(ticks)), engine.window
    pairs = np.stack([ticks[:, :window], ticks[:, 1 : window + 1]], axis=2)  # [n, window, 2, columns]
    rows = features(pairs.reshape(-1, *pairs.shape[2:])).reshape(len(ticks), window, -1)
    forecasts = [states.anchor(slots, rows)]
    for newest in range(window + 1, ticks.shape[1]):
        forecast, _ = states.step(slots, ticks[:, newest - 1 : newest + 1])
        forecasts.append(forecast)
    return np.stack(forecasts, axis=1)


def _errors(engine: CarriedEngine, features: Features, golden: Golden) -> NDArray[np.float64]:
    """The largest error of each golden run, over all its steps: [cases]."""
    return parity.errors(
        run(engine, features, golden.ticks).reshape(len(golden.ticks), -1),
        golden.forecast.reshape(len(golden.ticks), -1),
        engine.bundle.manifest.target_scale,
    )


def _part(golden: Golden, begin: int, end: int) -> Golden:
    return Golden(golden.ticks[begin:end], golden.forecast[begin:end], golden.kind[begin:end])
