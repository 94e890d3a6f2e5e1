"""Rows with forecasts and what comes of them, made up for tests of bands."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from factories import manifest_with
from manual_clock import ManualClock
from numpy.typing import NDArray
from tickcast.bands import LiveBands
from tickcast.board import Board
from tickcast.manifest import Bands, Manifest, WindowRules
from tickcast.publisher import Received, Work
from tickcast.row_pool import RowPool
from tickcast.windows import Row, SymbolWindow, Tick

HORIZONS = (1, 2, 5)
LEVELS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995)
WINDOW = 8


class Feed(NamedTuple):
    """Rows that filled their windows, and the forecasts [rows, horizons] that answer them."""

    rows: list[Row]
    forecasts: NDArray[np.float32]


def bands_of(errors: NDArray[np.float64], level: float = 0.9) -> Bands:
    """What an export makes of errors [n, horizons]."""
    quantiles = np.quantile(errors, LEVELS, axis=0, method="higher")
    return Bands(level=level, levels=LEVELS, half_widths=tuple(map(tuple, quantiles.tolist())), cases=len(errors))


def manifest_of(bands: Bands, horizons: Sequence[int] = HORIZONS, window: int = WINDOW) -> Manifest:
    rules = WindowRules(window=window)
    return manifest_with(bands=bands, horizons=horizons, rules=rules, reference_columns=("bid", "ask"))


def errors_of(
    mids: NDArray[np.float64], forecasts: NDArray[np.float32], horizons: Sequence[int]
) -> NDArray[np.float64]:
    """Of one run [rows]: [rows, horizons], NaN where the tick never came."""
    errors = np.full(forecasts.shape, np.nan)
    for at, h in enumerate(horizons):
        errors[:-h, at] = np.abs(mids[h:] - mids[:-h] - forecasts[:-h, at])
    return errors


class Seats:
    """Windows with a slot each, as a `RowPool` gives them out."""

    def __init__(self, window: int = WINDOW) -> None:
        self.pool = RowPool(window, 1)

    def take(self) -> SymbolWindow:
        """A window that has rows."""
        window = SymbolWindow(0, Tick(0, "S", 0, (0.0,)))
        self.pool.push([row(window, 0, 0.0)], np.zeros((1, 1), np.float32))
        return window


def row(window: SymbolWindow, position: int, mid: float) -> Row:
    return Row(window, position, Tick(position, "S", 0, (mid,)), (), (), True)


def run(window: SymbolWindow, mids: Sequence[float], first: int = WINDOW - 1) -> list[Row]:
    """A run's rows from the first full window on."""
    return [row(window, first + at, float(mid)) for at, mid in enumerate(mids)]


class Live:
    """`LiveBands` with what it needs, and what it told."""

    def __init__(self, manifest: Manifest, pool: RowPool) -> None:
        self.clock = ManualClock()
        self.board = Board.create(self.clock)
        self.begun = self.board.counter("tickcast_bands_begun_total")
        self.seen = np.zeros(len(manifest.horizons))
        self.covered = np.zeros(len(manifest.horizons))
        self.bands = LiveBands(manifest, pool, lambda values: values[0], self._note, self.begun, self.clock)

    def _note(self, seen: NDArray[np.bool_], covered: NDArray[np.bool_]) -> None:
        self.seen += seen.sum(axis=0)
        self.covered += covered.sum(axis=0)

    def half_widths(self, feed: Feed, batch: Callable[[], int] = lambda: 1) -> NDArray[np.float64]:
        """What `feed` is given in polls of so many rows."""
        made: list[list[float]] = []
        while len(made) < len(feed.rows):
            some = slice(len(made), len(made) + batch())
            made += [bands.half_widths for bands in self.bands.of(feed.rows[some], feed.forecasts[some])]
            self.turn()
        return np.array(made)

    def turn(self) -> None:
        """One in which ticks have come."""
        self.bands.note(Work([], [], []), (), Received(0, 0))
        self.bands.turn()

    def close(self) -> None:
        self.board.close()


def rolling(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Means over each `length` rows [rows - length + 1, horizons]; NaN counts as nothing happened."""
    counted = ~np.isnan(values)
    sums, counts = (
        np.vstack([np.zeros(values.shape[1]), np.cumsum(each, axis=0)]) for each in (np.nan_to_num(values), counted)
    )
    means: NDArray[np.float64] = (sums[length:] - sums[:-length]) / (counts[length:] - counts[:-length])
    return means
