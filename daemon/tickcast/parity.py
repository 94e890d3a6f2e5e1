"""Golden windows run through the graphs: is what runs here what was certified?

Asked by `tickcast export` before a bundle is written, by `tickcast verify`, and by the daemon before it is ready, each
time of the engine itself, on the provider really in use.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tickcast.bundle import Bundle, Golden

# Windows in one run where more than one is asked for at once; onnxruntime's best on a CPU.
BATCH = 32

Rows = NDArray[np.float32]


class Runner(Protocol):
    """What is asked: the daemon's engine, or anything that answers like it. Runs hold at most `batch_max` windows."""

    batch_max: int
    splits: bool  # whether `prefix` and `finish` can be asked

    def features(self, pairs: NDArray[np.float64]) -> Rows:
        """Raw pairs [n, 2, columns] -> rows [n, features]."""

    def window(self, rows: Rows) -> Rows:
        """Rows [n, window, features] -> forecasts [n, horizons]."""

    def prefix(self, rows: Rows) -> Any:
        """All rows but the newest [n, window - 1, features] -> a carry that `finish` understands."""

    def finish(self, ticks: NDArray[np.float64], carry: Any) -> tuple[Rows, Rows]:
        """Newest raw pairs [n, 2, columns] and carry -> forecasts [n, horizons], newest rows [n, features]."""


class PathParity(NamedTuple):
    """How far one path was from the reference, run with so many windows at once.

    Errors are in units of max(target_scale, |reference|); infinite where a value is not finite.
    """

    path: Literal["window", "finish", "carried"]
    batch: int
    cases: int
    error_max: float
    error_p99: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether every golden window came out within the tolerance; False for NaN."""
        return self.error_max <= self.tolerance

    def describe(self) -> str:
        """One line for people."""
        verdict = "holds" if self.holds else "FAILS"
        text = f"{self.path} path, {self.batch} at once: largest error {self.error_max:.2g}"
        return f"{text}, tolerance {self.tolerance:.2g}, over {self.cases} golden windows: {verdict}"


def check(bundle: Bundle, runner: Runner) -> list[PathParity]:
    """Every path of `bundle` with one window at once and with many."""
    manifest, golden = bundle.manifest, bundle.golden
    paths: list[tuple[Literal["window", "finish"], Callable[..., NDArray[np.float64]]]] = [("window", _window_errors)]
    if runner.splits:
        paths.append(("finish", _finish_errors))
    results = []
    for batch in sorted({1, min(BATCH, runner.batch_max, len(golden.ticks))}):
        parts = [(part, _rows(part, manifest.rules.window, runner)) for part in _parts(golden, batch)]
        for path, errors_of in paths:
            error = np.concatenate([errors_of(part, rows, runner, manifest.target_scale) for part, rows in parts])
            largest, p99 = float(error.max()), float(np.quantile(error, 0.99, method="higher"))
            results.append(PathParity(path, batch, len(error), largest, p99, manifest.certificate.tolerance))
    return results


def errors(found: Rows, reference: Rows, unit: float) -> NDArray[np.float64]:
    """Largest |found - reference| / max(unit, |reference|) of each row [n, ...]; infinite where one is not finite."""
    if found.shape != reference.shape:
        return np.full(len(reference), np.inf)
    wanted = reference.astype(np.float64)
    difference = np.full(wanted.shape, np.inf)
    np.subtract(found, wanted, out=difference, where=np.isfinite(found) & np.isfinite(wanted))
    scale = np.maximum(unit, np.where(np.isfinite(wanted), np.abs(wanted), unit))
    return np.asarray((np.abs(difference) / scale).max(axis=1))


def _window_errors(golden: Golden, rows: Rows, runner: Runner, target_scale: float) -> NDArray[np.float64]:
    return errors(runner.window(rows), golden.forecast, target_scale)


def _finish_errors(golden: Golden, rows: Rows, runner: Runner, target_scale: float) -> NDArray[np.float64]:
    """Of the forecast, and of the newest row that is handed on with it (in its own unit: rows are standardised)."""
    forecast, row = runner.finish(golden.ticks[:, -2:], runner.prefix(rows[:, :-1]))
    return np.maximum(errors(forecast, golden.forecast, target_scale), errors(row, rows[:, -1], 1.0))


def _parts(golden: Golden, batch: int) -> Iterator[Golden]:
    for start in range(0, len(golden.ticks), batch):
        part = slice(start, start + batch)
        yield Golden(golden.ticks[part], golden.forecast[part], golden.kind[part])


def _rows(golden: Golden, window: int, runner: Runner) -> Rows:
    """Feature rows [cases, window, features]. Without a feature graph there are as many ticks as rows: no pairs."""
    current = golden.ticks[:, -window:]
    previous = golden.ticks[:, -window - 1 : -1] if golden.ticks.shape[1] > window else current
    pairs = np.stack([previous, current], axis=2)  # [cases, window, 2, columns]
    return runner.features(pairs.reshape(-1, *pairs.shape[2:])).reshape(len(pairs), window, -1)
