"""How far off a model's forecasts are on validation ticks: the half-widths that bands around live ones begin with.

Split conformal prediction: the model has not been fitted to these ticks, so a quantile of its absolute errors there is
a half-width that holds so large a share of what happens, as long as the market stays as it was. It does not; the daemon
adapts it (`tickcast.bands_levels`). Source: Papadopoulos et al., Inductive Confidence Machines for Regression, 2002.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast.manifest import Bands

from tickcast_export.validation_runs import Runs

# What live bands move along; where they lie dense, a small step is a small change of the share that is held.
LEVELS = (
    *(0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.825, 0.85, 0.875, 0.9, 0.91, 0.92, 0.93, 0.94),
    *(0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9975, 0.999),
)
# Errors beyond a quantile: with fewer it says little. Of fewer than so many for `level` itself no bands are made.
BEYOND_MIN = 20
LEVEL = 0.9


def with_bands(draft: Bundle, runs: Runs, level: float = LEVEL) -> Bundle:
    """`draft` with the half-widths of `level` and its neighbours, by runs of raw validation ticks [n, columns].

    Without any where `runs` are too short to tell, or the model forecasts no change of a mid. Raises UsageError.
    """
    if not 0.5 <= level <= 0.99:
        raise UsageError(f"bands: a level of {level:g}; from 0.5 to 0.99 are made")
    manifest = draft.manifest
    if not runs or not manifest.reference_columns:
        return draft
    engine = Engine(draft, InferenceConfig(provider="cpu"))
    found = [_errors(run, engine, manifest.horizons, _mids(run, draft)) for run in runs]
    made = bands([np.sort(np.concatenate(errors)) for errors in zip(*found, strict=True)], level)
    return dataclasses.replace(draft, manifest=manifest.model_copy(update={"bands": made}))


def bands(errors: Sequence[NDArray[np.float64]], level: float) -> Bands | None:
    """The half-widths by absolute errors, ascending, of each horizon; None of too few."""
    cases = min(len(each) for each in errors)
    levels = [each for each in sorted({level, *LEVELS}) if cases * (1 - each) >= BEYOND_MIN]
    if level not in levels:
        return None
    quantiles = [[_quantile(each, share) for each in errors] for share in levels]
    return Bands.model_validate({"level": level, "levels": levels, "half_widths": quantiles, "cases": cases})


def _mids(run: NDArray[np.float64], draft: Bundle) -> NDArray[np.float64]:
    """Of the ticks that full windows of `run` end with: [windows]."""
    manifest = draft.manifest
    places = [manifest.columns.index(column) for column in manifest.reference_columns]
    mids: NDArray[np.float64] = run[manifest.rules.window :, places].mean(axis=1)
    return mids


def _errors(
    run: NDArray[np.float64], engine: Engine, horizons: tuple[int, ...], mids: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Absolute errors per horizon, of the forecasts whose tick is in the run."""
    rows = engine.features(np.stack([run[:-1], run[1:]], axis=1))
    window = engine.bundle.manifest.rules.window
    windows = np.lib.stride_tricks.sliding_window_view(rows, window, axis=0).swapaxes(1, 2)
    forecasts = engine.window(np.ascontiguousarray(windows)).astype(np.float64)
    return [np.abs(mids[h:] - mids[:-h] - forecasts[:-h, at]) for at, h in enumerate(horizons)]


def _quantile(errors: NDArray[np.float64], level: float) -> float:
    """Of errors, ascending: one more counts as beyond it, so that the next one is within it with that probability."""
    return float(errors[min(math.ceil((len(errors) + 1) * level), len(errors)) - 1])
