"""The mode `carried` added to a drafted bundle: its graphs, golden runs, parity with Keras, distance to the window.

A carried state knows what came before the window, so its answers are others. How far apart they are is measured on runs
of validation ticks, each anchored once, at its first window, and never again: nearer to an anchor they are nearer.
"""

import dataclasses
import hashlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tickcast import carried_parity
from tickcast.bundle import Bundle, Golden
from tickcast.carried_engine import CarriedEngine
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import BundleError
from tickcast.manifest import CarriedCertificate, Distance

from tickcast_export import carried, extremes, families
from tickcast_export.bundle_writer import graph_entry
from tickcast_export.dataset import evenly
from tickcast_export.model_card import ModelCard
from tickcast_export.validation_runs import Runs

# A symbol's state starts anew from its window once in so many partition offsets. A restart reads up to so many more
# ticks back, a second or two; with 1,000 symbols on a partition anchors cost 1 to 4 us a tick.
INTERVAL_OFFSETS = 50_000
# A ring is folded after every `window` steps: a golden run goes beyond that.
STEPS_BEYOND_WINDOW = 3
REAL_RUNS_MAX = 16
GOLDEN_TICKS_MAX = 100_000


def with_carried(draft: Bundle, model: keras.Model, card: ModelCard, runs: Runs) -> Bundle:
    """`draft` with the mode certified. `runs` are of validation ticks, as they travel with a model.

    Raises BundleError, naming what fails, where the graphs do not compute what Keras computes step by step.
    """
    window = card.rules.window
    graphs = carried.trace(model, card)
    contents = {role: graph.SerializeToString(deterministic=True) for role, graph in graphs.items()}
    golden = _golden(_golden_windows(runs, window), model, card)
    entries = {role: graph_entry(role, graphs[role], contents[role]) for role in graphs}
    manifest = draft.manifest.model_copy(
        update={"graphs": {**draft.manifest.graphs, **entries}, "carried": _uncertified(golden, window)}
    )
    unmeasured = dataclasses.replace(
        draft, manifest=manifest, graphs={**draft.graphs, **contents}, carried_golden=golden
    )
    return dataclasses.replace(
        unmeasured, manifest=manifest.model_copy(update={"carried": _certified(unmeasured, runs)})
    )


def stepwise(model: keras.Model, card: ModelCard) -> Callable[[NDArray[np.float64]], NDArray[np.float32]]:
    """The reference: raw runs [n, 1 + window + steps, columns] -> [n, 1 + steps, horizons], by Keras's own layers."""
    family, core = families.FAMILIES[card.family], families.core_of(model)

    def answer(ticks: NDArray[np.float64]) -> NDArray[np.float32]:
        rows = families.features_of(model)(tf.constant(ticks))
        return np.asarray(family.stepwise(core, rows, card.settings) * model.get_layer("forecast").scale)

    return answer


def _golden_windows(runs: Runs, window: int) -> dict[str, NDArray[np.float64]]:
    """Kind -> raw runs of one length; real ones are left out where none is long enough."""
    length = 2 * window + STEPS_BEYOND_WINDOW + 1
    cases_max = max(1, GOLDEN_TICKS_MAX // length)
    long_enough = [run[:length] for run in runs if len(run) >= length]
    chosen = evenly(np.arange(len(long_enough)), min(REAL_RUNS_MAX, cases_max))
    kinds = {"real": np.stack([long_enough[i] for i in chosen])} if len(chosen) else {}
    return kinds | {kind: ticks[:cases_max] for kind, ticks in extremes.book_windows(length).items()}


def _golden(windows: dict[str, NDArray[np.float64]], model: keras.Model, card: ModelCard) -> Golden:
    ticks = np.concatenate(list(windows.values()))
    kinds = np.repeat(list(windows), [len(part) for part in windows.values()])
    forecast = stepwise(model, card)(ticks)
    bad = sorted({str(kind) for kind in kinds[~np.isfinite(forecast).all(axis=(1, 2))]})
    if bad:
        raise BundleError(f"the model's own carried answer is not finite for golden runs of kind {', '.join(bad)}")
    return Golden(ticks, forecast, kinds)


def _uncertified(golden: Golden, window: int) -> CarriedCertificate:
    """What will be checked and measured, before it is."""
    nothing = Distance(median=0.0, p99=0.0, maximum=0.0)
    return CarriedCertificate(
        interval_offsets=INTERVAL_OFFSETS,
        cases=len(golden.ticks),
        steps=window + STEPS_BEYOND_WINDOW,
        case_kinds=golden.kinds(),
        error_max=0.0,
        error_p99=0.0,
        golden_sha256=hashlib.sha256(golden.packed()).hexdigest(),
        ticks=1,
        runs=1,
        distance=nothing,
        distance_absolute=nothing,
        windowed_spread=0.0,
    )


def _certified(draft: Bundle, runs: Runs) -> CarriedCertificate:
    config = InferenceConfig(provider="cpu")
    engine, carried_engine = Engine(draft, config), CarriedEngine(draft, config)
    results = carried_parity.check(carried_engine, engine.features)
    failures = [result.describe() for result in results if not result.holds]
    if failures:
        raise BundleError("\n".join(["the carried graphs do not compute what the model computes:", *failures]))
    found = [_both(run, engine, carried_engine) for run in runs]
    scale = draft.manifest.target_scale
    windowed = np.concatenate([windowed for windowed, _ in found]) / scale  # [ticks, horizons]
    apart = np.concatenate([np.abs(went_on - windowed).max(axis=1) for windowed, went_on in found]) / scale
    given = draft.manifest.carried
    assert given is not None
    return given.model_copy(
        update={
            "error_max": max(result.error_max for result in results),
            "error_p99": max(result.error_p99 for result in results),
            "ticks": len(apart),
            "runs": len(runs),
            "distance": _distance(apart),
            "distance_absolute": _distance(apart * scale),
            "windowed_spread": float(np.sqrt(np.square(windowed).mean())),
        }
    )


def _both(
    run: NDArray[np.float64], engine: Engine, carried_engine: CarriedEngine
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Windowed and carried forecasts [ticks, horizons] of every tick after the run's first window."""
    went_on = carried_parity.run(carried_engine, engine.features, run[np.newaxis])[0]
    rows = engine.features(np.stack([run[:-1], run[1:]], axis=1))
    windows = np.lib.stride_tricks.sliding_window_view(rows, carried_engine.window, axis=0).swapaxes(1, 2)
    windowed = engine.window(np.ascontiguousarray(windows[1:]))
    return windowed.astype(np.float64), went_on[1:].astype(np.float64)


def _distance(apart: NDArray[np.float64]) -> Distance:
    """Over distances [ticks]."""
    return Distance(median=float(np.median(apart)), p99=float(np.quantile(apart, 0.99)), maximum=float(apart.max()))
