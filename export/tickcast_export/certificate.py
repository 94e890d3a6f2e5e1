"""Golden windows with the reference's answers, and the certificate that says how far the graphs are from them."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tickcast import parity
from tickcast.bundle import TOLERANCE_MAX, Bundle, Golden
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import BundleError
from tickcast.manifest import Certificate, GraphCertificate

# Real windows kept, and ticks in all golden windows of a bundle: they are re-run at every start of the daemon.
REAL_WINDOWS_MAX = 256
GOLDEN_TICKS_MAX = 100_000

Reference = Callable[[NDArray[np.float64]], NDArray[np.float32]]


def keras_reference(model: keras.Model) -> Reference:
    """The model's own answers: raw windows [n, ticks, columns] -> forecasts [n, horizons].

    As float64 tensors: `model.predict` would cast them to float32 first.
    """

    def answer(ticks: NDArray[np.float64]) -> NDArray[np.float32]:
        dtype = model.inputs[0].dtype
        parts = [ticks[start : start + parity.BATCH] for start in range(0, len(ticks), parity.BATCH)]
        return np.concatenate([np.asarray(model(tf.constant(part.astype(dtype)), training=False)) for part in parts])

    return answer


def golden(windows: Mapping[str, NDArray[np.float64]], reference: Reference) -> Golden:
    """The reference's answers to windows [n, ticks, columns] of each kind. Raises BundleError for one not finite."""
    kept = {kind: _spread(ticks) for kind, ticks in windows.items() if len(ticks)}
    ticks = np.concatenate(list(kept.values()))
    kinds = np.repeat(list(kept), [len(part) for part in kept.values()])
    forecast = reference(ticks)
    bad = sorted({str(kind) for kind in kinds[~np.isfinite(forecast).all(axis=1)]})
    if bad:
        raise BundleError(f"the model's own answer is not finite for golden windows of kind {', '.join(bad)}")
    return Golden(ticks, forecast.astype(np.float32), kinds)


def uncertified(golden: Golden, reference: str) -> Certificate:
    """What will be checked, before it is."""
    return Certificate.model_validate(
        {
            "reference": reference,
            "cases": len(golden.ticks),
            "case_kinds": golden.kinds(),
            "tolerance": TOLERANCE_MAX,
            "graphs": [{"path": "window", "error_max": 0.0, "error_p99": 0.0}],
        }
    )


def certify(draft: Bundle) -> Certificate:
    """Run the golden windows through the daemon's own engine on the CPU. Raises BundleError naming what fails."""
    results = parity.check(draft, Engine(draft, InferenceConfig(provider="cpu")))
    failures = [result.describe() for result in results if not result.holds]
    if failures:
        raise BundleError("\n".join(["the graphs do not compute what the model computes:", *failures]))
    graphs = tuple(
        GraphCertificate(
            path=path,
            error_max=max(result.error_max for result in results if result.path == path),
            error_p99=max(result.error_p99 for result in results if result.path == path),
        )
        for path in dict.fromkeys(result.path for result in results)
    )
    return draft.manifest.certificate.model_copy(update={"graphs": graphs})


def _spread(ticks: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `REAL_WINDOWS_MAX` windows and `GOLDEN_TICKS_MAX` ticks (but one window), evenly over all."""
    windows = min(REAL_WINDOWS_MAX, max(1, GOLDEN_TICKS_MAX // ticks.shape[1]), len(ticks))
    return np.asarray(ticks[np.linspace(0, len(ticks) - 1, windows).round().astype(int)])
