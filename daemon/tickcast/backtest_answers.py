"""Forecasts of the rows of a file: the daemon's inference, on the window graph alone.

Stages `features`, `windows.push` and `engine.run` of the way of a tick, in a backtest. A forecast does not depend on
which other windows share its run: onnxruntime gives the same bits in every batch but that of a single window, for
which it has other kernels. So a single one runs together with itself.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.attention import Attention
from tickcast.board import Board
from tickcast.bundle import Bundle
from tickcast.carries import Carries
from tickcast.clock import SystemClock
from tickcast.config import InferenceConfig
from tickcast.engine import Engine, Rows
from tickcast.inference import Inference
from tickcast.instruments import StageTimer
from tickcast.manifest import Manifest
from tickcast.publisher import reference_mid_of
from tickcast.row_pool import RowPool
from tickcast.windows import Row


class Answered(NamedTuple):
    """Ticks that filled their windows, as columns [ticks], in the file's order."""

    symbols: NDArray[np.object_]
    event_time_ns: NDArray[np.int64]
    offsets: NDArray[np.int64]  # rows of the file
    mids: NDArray[np.float64]  # NaN: the bundle names none
    positions: NDArray[np.int64]  # the symbol's rows before this one
    forecasts: NDArray[np.float32]  # [ticks, horizons]; one that is not finite counts as none
    attention: NDArray[np.float32]  # [ticks, window] where anybody asks, NaN: not of this one; else [ticks, 0]

    @property
    def size(self) -> int:
        """How many ticks."""
        return len(self.offsets)

    def part(self, chosen: "slice | NDArray[np.bool_] | NDArray[np.intp]") -> "Answered":
        """Those of them."""
        return Answered._make(column[chosen] for column in self)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which of them have a forecast [ticks]: the daemon makes a dead letter of any other."""
        return np.asarray(np.isfinite(self.forecasts).all(axis=1))


class Told(NamedTuple):
    """What a model tells of ticks that fill their windows; see `Answered`."""

    forecasts: NDArray[np.float32]
    attention: NDArray[np.float32]


class SteadyEngine(Engine):
    """An engine whose answers are the same whatever they share a run with."""

    def window(self, rows: Rows) -> Rows:
        """As `Engine.window`, but none in a run of its own."""
        if len(rows) % self._window.rows_max != 1:
            return super().window(rows)
        return super().window(np.concatenate([rows, rows[-1:]]))[:-1]

    def attended(self, rows: Rows) -> tuple[Rows, Rows]:
        """As `Engine.attended`, but none in a run of its own."""
        if len(rows) % self._attended.rows_max != 1:
            return super().attended(rows)
        forecasts, weights = super().attended(np.concatenate([rows, rows[-1:]]))
        return forecasts[:-1], weights[:-1]


class Answers:
    """Answers rows in the order they were decided."""

    def __init__(self, engine: Engine, threads: int, attention: Attention | None = None) -> None:
        """`engine` is warm and splits no window: carries are of no use where nothing is waited for."""
        manifest, clock = engine.bundle.manifest, SystemClock()
        self._board = Board.create(clock)
        pool = RowPool(manifest.rules.window, manifest.features)
        stages, carries = StageTimer(self._board, clock), Carries(engine, pool, 0)
        self._inference = Inference(engine, pool, carries, stages, threads, attention)
        self._horizons = len(manifest.horizons)
        self._leaning = 0 if attention is None else manifest.rules.window

    def answer(self, rows: Sequence[Row], due: Sequence[bool]) -> Told:
        """What is told of the rows that are due; the others of `rows` only go into their windows."""
        forecasts = np.empty((len(rows), self._horizons), np.float32)
        attention = np.full((len(rows), self._leaning), np.nan, np.float32)
        if rows:
            for answers in self._inference.answer(rows, due):
                forecasts[answers.indices] = answers.forecasts
                for index, weights in zip(answers.indices, answers.attention or (), strict=False):
                    if weights is not None:
                        attention[index] = weights
            self._inference.settle(is_backlog=True)
        asked = np.array(due, np.bool_)
        return Told(forecasts[asked], attention[asked])

    def close(self) -> None:
        """End the threads."""
        self._inference.close()
        self._board.close()


def steady(bundle: Bundle, inference: InferenceConfig) -> SteadyEngine:
    """The bundle's graphs, warm and verified. Raises as `Engine` and `Engine.warm` do."""
    engine = SteadyEngine(bundle, inference)
    engine.warm()
    return engine


class Columns:
    """Makes columns of rows."""

    def __init__(self, manifest: Manifest) -> None:
        self._reference_mid = reference_mid_of(manifest)
        self._horizons = len(manifest.horizons)

    def of(self, rows: Iterable[Row], told: Told | None = None) -> Answered:
        """Of rows that are due; where nothing is `told` yet, NaN stands for the forecasts."""
        ticks, positions = [], []
        for row in rows:
            ticks.append(row.tick)
            positions.append(row.position)
        count = len(ticks)
        if told is None:
            told = Told(np.full((count, self._horizons), np.nan, np.float32), np.empty((count, 0), np.float32))
        return Answered(
            np.array([tick.symbol for tick in ticks], np.object_),
            np.fromiter((tick.event_time_ns for tick in ticks), np.int64, count),
            np.fromiter((tick.offset for tick in ticks), np.int64, count),
            np.array([self._reference_mid(tick.values) for tick in ticks], np.float64),  # None becomes NaN
            np.array(positions, np.int64),
            *told,
        )
