"""From rows to forecasts in the mode `carried`: one step per tick and symbol, its recurrent state kept in between.

Stages `features`, `windows.push` and `engine.run` of the way of a tick; what `Inference` is in the mode `windowed`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tickcast.answers import Answers, asked_of
from tickcast.attention import Attention, Weights
from tickcast.carried_engine import CarriedEngine
from tickcast.carried_states import CarriedStates
from tickcast.engine import Engine
from tickcast.inference import pairs
from tickcast.instruments import StageTimer
from tickcast.row_pool import RowPool
from tickcast.windows import Row, SymbolWindow

# In a backlog with fewer symbols than this, so many rows are published together, each publishing costing its own.
TOGETHER_MIN = 64


class CarriedInference:
    """Answers the due rows of a poll, and keeps windows up to date for the anchors to come."""

    carries_wanted = False

    def __init__(
        self,
        engine: Engine,
        carried: CarriedEngine,
        rows: RowPool,
        stages: StageTimer,
        attention: Attention | None = None,
    ) -> None:
        """`attention` tells what the windowed answer over the same rows leans on: a carried state is not rows alone."""
        self._engine = engine
        self._attention = attention
        self._pool = rows
        self._states = CarriedStates(carried)
        self._stages = stages

    def answer(self, rows: Sequence[Row], due: Sequence[bool]) -> Iterator[Answers]:
        """Take in `rows`, in the order they were decided, and answer those that are `due`, a symbol's rows in order.

        The first row of every symbol goes in one run, then the second of those that have one, and so on.
        """
        turns = _turns(rows)
        if turns and all(row.due and row.anchor == "no" for row in rows):
            yield from self._step(rows, due, range(len(rows)), turns)
            return
        for turn in turns:
            stepping: list[int] = []
            others: list[int] = []
            for index in turn:
                row = rows[index]
                (stepping if row.due and row.anchor == "no" else others).append(index)
            if stepping:
                yield from self._step([rows[index] for index in stepping], due, stepping, [range(len(stepping))])
            if others:
                yield from self._anchor(rows, due, others)

    def settle(self, is_backlog: bool) -> None:
        """Nothing: the next tick's step begins where this one's ended."""

    def refill(self, rows: Sequence[Row]) -> None:
        """Take in `rows`, in the order they were decided, whose ticks are answered already."""
        self._stages.start()
        for _ in self.answer(rows, [False] * len(rows)):
            raise AssertionError("an answer that nobody asked for")

    def forget_windows(self) -> None:
        """Nothing: states go with their windows' slots."""

    def close(self) -> None:
        """Nothing to end."""

    def prepare(self) -> int:
        """Nothing to prepare: 0."""
        return 0

    def _step(
        self, rows: Sequence[Row], due: Sequence[bool], indices: Sequence[int], turns: Sequence[Sequence[int]]
    ) -> Iterator[Answers]:
        """Rows, at `indices` of the poll, of symbols whose state is there; also one that is not due moves it on."""
        slots, raw = np.array([row.window.slot for row in rows], np.int64), pairs(rows)
        features = np.empty((len(rows), self._pool.features), np.float32)
        together_min = TOGETHER_MIN if len(rows) >= TOGETHER_MIN else 1
        asks, due_here = False, []
        if self._attention is not None:
            due_here = [due[index] for index in indices]
            asks = bool(self._attention.asked(rows, due_here, range(len(rows))))
        places: list[int] = []
        held: list[NDArray[np.float32]] = []
        weights: list[Weights] = []
        for turn in turns:
            at = np.array(turn, np.intp)
            forecasts, features[at] = self._states.step(slots[at], raw[at])
            places += turn
            held.append(forecasts)
            if asks:
                self._stages.mark("run")
                stepped = [rows[place] for place in turn]
                windows_of = functools.partial(self._pool.push_and_gather, stepped, features[at])
                weights += self._leaning(stepped, [due_here[place] for place in turn], windows_of)
            if len(places) >= together_min or turn is turns[-1]:
                self._stages.mark("run")
                forecasts = held[0] if len(held) == 1 else np.concatenate(held)
                told = [indices[place] for place in places]
                yield from asked_of(Answers(told, forecasts, "carried", weights or None), due)
                places, held, weights = [], [], []
        if not asks:
            self._pool.push(rows, features)
            self._stages.mark("push")

    def _leaning(
        self, rows: Sequence[Row], due: Sequence[bool], windows_of: Callable[[list[int]], NDArray[np.float32]]
    ) -> list[Weights]:
        """What each of `rows` leans on that is due and asked about; `windows_of` such places is called once."""
        assert self._attention is not None
        places = self._attention.asked(rows, due, range(len(rows)))
        windows = windows_of(places)
        self._stages.mark("push")
        told: list[Weights] = [None] * len(rows)
        if places:
            for at, each in zip(places, self._attention.over(windows), strict=True):
                told[at] = each
            self._stages.mark("attention")
        return told

    def _anchor(self, rows: Sequence[Row], due: Sequence[bool], indices: Sequence[int]) -> Iterator[Answers]:
        """Rows of other windows: those that anchor are answered from their exact window."""
        chosen = [rows[index] for index in indices]
        features = self._engine.features(pairs(chosen))
        self._stages.mark("features")
        anchoring = [at for at, row in enumerate(chosen) if row.anchor == "yes"]
        windows = self._pool.push_and_gather(chosen, features, anchoring)
        self._stages.mark("push")
        if anchoring:
            slots = np.array([chosen[at].window.slot for at in anchoring], np.int64)
            forecasts = self._states.anchor(slots, windows)
            self._stages.mark("run")
            told = [indices[at] for at in anchoring]
            weights = None
            if self._attention is not None:
                anchored = [chosen[at] for at in anchoring]
                weights = self._leaning(anchored, [due[index] for index in told], windows.__getitem__)
            yield from asked_of(Answers(told, forecasts, "carried", weights), due)


def _turns(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of every symbol's first row, of every symbol's second, and so on."""
    turns: list[list[int]] = []
    met: dict[SymbolWindow, int] = {}
    for index, row in enumerate(rows):
        turn = met.get(row.window, 0)
        met[row.window] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(index)
    return turns
