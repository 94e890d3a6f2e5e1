"""From rows to forecasts: features, windows, and the choice between the two paths to an answer.

Stages `features`, `windows.push`, `schedule` and `engine.run` of the way of a tick. The same code answers the live
daemon and any replay of a file; it knows no Kafka.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.carries import Carries
from tickcast.engine import Carry, Engine
from tickcast.instruments import StageTimer
from tickcast.records import AnswerPath
from tickcast.windows import Row


class Answers(NamedTuple):
    """Forecasts [due, horizons], in the order of the due rows, and the path each one took."""

    forecasts: NDArray[np.float32]
    paths: list[AnswerPath]


class Inference:
    """Answers the due rows of a batch and keeps every window up to date."""

    def __init__(self, engine: Engine, carries: Carries, stages: StageTimer) -> None:
        self._engine = engine
        self._carries = carries
        self._stages = stages
        self._horizons = len(engine.bundle.manifest.horizons)

    def answer(self, rows: Sequence[Row], due: Sequence[bool]) -> Answers:
        """Take in `rows`, in the order they were decided, and answer those that are `due`.

        A row whose carry is ready takes the finish path: one step instead of `window`. All others of the batch share
        one run of the window graph, also a symbol's later rows, since a carry is good for the first one only.
        """
        answers = Answers(np.empty((sum(due), self._horizons), np.float32), ["window"] * sum(due))
        finishing = self._finishing(rows, due)
        slots = np.cumsum(due) - 1  # where a due row's forecast goes
        if finishing:
            self._finish(rows, finishing, slots, answers)
        rest = [index for index in range(len(rows)) if index not in finishing]
        if rest:
            self._window(rows, rest, due, slots, answers)
        if self._engine.splits:
            for index, row in enumerate(rows):
                if due[index]:
                    self._carries.want(row.window)
        return answers

    @property
    def carries_wanted(self) -> bool:
        """Whether a window waits for its carry."""
        return self._carries.wanted > 0

    def prepare(self, windows_max: int) -> int:
        """Prepare up to `windows_max` carries; returns how many."""
        prepared = self._carries.prepare(windows_max)
        self._stages.mark("prefix")
        return prepared

    def _finishing(self, rows: Sequence[Row], due: Sequence[bool]) -> dict[int, Carry]:
        finishing: dict[int, Carry] = {}
        met = set()
        for index, row in enumerate(rows):
            if row.window in met:
                continue
            met.add(row.window)
            if due[index] and (carry := self._carries.take(row.window, row.position)) is not None:
                finishing[index] = carry
        return finishing

    def _finish(
        self, rows: Sequence[Row], finishing: dict[int, Carry], slots: NDArray[np.int64], answers: Answers
    ) -> None:
        carries = list(finishing.values())
        carry = carries[0] if len(carries) == 1 else [np.concatenate(parts) for parts in zip(*carries, strict=True)]
        forecasts, features = self._engine.finish(_pairs([rows[index] for index in finishing]), carry)
        for at, index in enumerate(finishing):
            row = rows[index]
            row.window.push(row.position, features[at])
            answers.forecasts[slots[index]] = forecasts[at]
            answers.paths[slots[index]] = "finish"
        self._stages.mark("run")

    def _window(
        self,
        rows: Sequence[Row],
        rest: Sequence[int],
        due: Sequence[bool],
        slots: NDArray[np.int64],
        answers: Answers,
    ) -> None:
        features = self._engine.features(_pairs([rows[index] for index in rest]))
        self._stages.mark("features")
        gathered, places = [], []
        for at, index in enumerate(rest):
            row = rows[index]
            row.window.push(row.position, features[at])
            if due[index]:
                # A copy: the symbol's next row of this batch overwrites the oldest one.
                gathered.append(row.window.view(row.position).copy())
                places.append(slots[index])
        self._stages.mark("push")
        if gathered:
            answers.forecasts[places] = self._engine.window(np.stack(gathered))
            self._stages.mark("run")


def _pairs(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Raw ticks [rows, 2, columns]: the previous sampled tick and the current one."""
    flat = [values for row in rows for values in (row.previous, row.current)]
    return np.array(flat, np.float64).reshape(len(rows), 2, -1)
