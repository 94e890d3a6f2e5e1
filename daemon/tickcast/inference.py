"""From rows to forecasts: features, windows, and the choice between the two paths to an answer.

Stages `features`, `windows.push`, `schedule` and `engine.run` of the way of a tick. The same code answers the live
daemon and any replay of a file; it knows no Kafka.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tickcast.answers import Answers as Answers
from tickcast.answers import asked_of, part_of
from tickcast.attention import Attention, Weights
from tickcast.carries import Carries, Ladder
from tickcast.engine import Engine
from tickcast.instruments import StageTimer
from tickcast.row_pool import RowPool
from tickcast.windows import Row, SymbolWindow

# To give a run to another thread and have it back, with the interpreter lock in between.
HANDING_OVER_S = 100e-6
# A tick that comes while carries are prepared waits for the run: several windows at once where that costs little more.
SLICE_MAX = 8
SLICE_COST_MAX = 2.0  # of a single window's
# After publishing, the longest a tick waits for ladders to be taken on; to make them anew would take longer in all.
CATCHING_UP_S_MAX = 500e-6

Pairs = NDArray[np.float64]
# Forecasts [n, horizons], and what each leans on where anybody asks.
_Ran = tuple[NDArray[np.float32], Sequence[Weights] | None]


class Inference:
    """Answers the due rows of a poll and keeps every window up to date. One poll at a time: `answer`, then `settle`."""

    def __init__(
        self,
        engine: Engine,
        rows: RowPool,
        carries: Carries,
        stages: StageTimer,
        threads: int,
        attention: Attention | None = None,
    ) -> None:
        """With more than one thread, window runs of a backlog go side by side and beside the publishing."""
        self._engine = engine
        self._attention = attention
        self._pool = rows
        self._carries = carries
        self._stages = stages
        self._threads = threads
        self._lanes = ThreadPoolExecutor(threads, "window") if threads > 1 else None
        self._slice = _slice(engine) if engine.splits else 0
        self._steps_max = _steps_max(engine) if engine.splits else 0
        self._climbed: list[tuple[SymbolWindow, Ladder]] = []
        self._behind: list[tuple[Ladder, Row]] = []  # ladders whose other carries have not taken in the row yet
        self._missed: list[SymbolWindow] = []
        self._unwritten: list[tuple[Sequence[Row], NDArray[np.float32]]] = []  # rows not in the pool yet

    def answer(self, rows: Sequence[Row], due: Sequence[bool]) -> Iterator[Answers]:
        """Take in `rows`, in the order they were decided, and answer those that are `due`, a symbol's rows in order.

        Rows that a ladder of carries is ready for take the finish path, one step each, also those that nobody asks
        about before one that is due; all others share runs of the window graph.
        """
        ready = self._ready(rows, due) if self._engine.splits else {}
        if ready:
            yield from self._finish(rows, due, ready)
        served = {index for _, indices in ready.values() for index in indices}
        rest = [index for index in range(len(rows)) if index not in served] if served else range(len(rows))
        if rest:
            yield from self._window(rows, due, rest)

    def settle(self, is_backlog: bool) -> None:
        """After publishing: what makes the next ticks' answers quick. In a backlog there is no time for it."""
        if self._unwritten:
            self._write()
        if is_backlog:
            self._missed += [row.window for _, row in self._behind]
            self._behind = []
            for window in self._missed:
                self._carries.forget(window)
        else:
            if self._behind:
                self._catch_up()
            for window in self._missed:
                self._carries.missed(window)
                self._carries.want(window)
            for window, ladder in self._climbed:
                ladder.spared()
                self._carries.want(window)
        self._missed, self._climbed = [], []

    def refill(self, rows: Sequence[Row]) -> None:
        """Take in `rows`, in the order they were decided, whose ticks are answered already."""
        self._pool.push(rows, self._engine.features(pairs(rows)))

    def forget_windows(self) -> None:
        """Windows were dropped: what was prepared for them is void."""
        self._carries.clear()

    def close(self) -> None:
        """Nothing is asked any more: end the threads."""
        if self._lanes is not None:
            self._lanes.shutdown(wait=False)

    @property
    def carries_wanted(self) -> bool:
        """Whether a window waits for a carry."""
        return self._carries.wanted > 0

    def prepare(self) -> int:
        """Prepare a slice of the carries that are wanted; returns how many."""
        prepared = self._carries.prepare(self._slice)
        self._stages.mark("prefix")
        return prepared

    # -- finish path

    def _ready(self, rows: Sequence[Row], due: Sequence[bool]) -> dict[SymbolWindow, tuple[Ladder, list[int]]]:
        """The ladders that can answer, and which rows each of them will."""
        ready: dict[SymbolWindow, tuple[Ladder, list[int]]] = {}
        met = set()
        unasked = False
        for index, row in enumerate(rows):
            window = row.window
            if window in met:
                if row.due and (found := ready.get(window)) is not None:
                    awaiting, indices = found
                    # The next row just after the last: behind a gap the ladder is void, as is what lies after it.
                    if len(indices) < awaiting.height and row.position == awaiting.position + len(indices):
                        indices.append(index)
                        unasked = unasked or not due[index]
                continue
            met.add(window)
            if row.due and (ladder := self._carries.ladder(window, row.position)) is not None:
                ready[window] = ladder, [index]
                unasked = unasked or not due[index]
        if unasked:  # steps are worth their while only where they lead to an answer
            return {window: each for window, each in ready.items() if any(due[index] for index in each[1])}
        return ready

    def _finish(
        self, rows: Sequence[Row], due: Sequence[bool], ready: dict[SymbolWindow, tuple[Ladder, list[int]]]
    ) -> Iterator[Answers]:
        """The first row of every symbol in one run, then the second of those that have one, and so on."""
        turn, left = 0, list(ready.values())
        while left:
            indices = [indices[turn] for _, indices in left]
            forecasts = self._step([(ladder, rows[indices[turn]], len(indices) > turn + 1) for ladder, indices in left])
            self._stages.mark("run")
            answers = Answers(indices, forecasts, "finish")
            if self._attention is None:
                yield from asked_of(answers, due)
            else:
                yield from self._leaning(self._attention, rows, due, answers)
            turn += 1
            left = [each for each in left if len(each[1]) > turn]
        self._climbed = [(window, ladder) for window, (ladder, _) in ready.items()]

    def _leaning(
        self, attention: Attention, rows: Sequence[Row], due: Sequence[bool], answers: Answers
    ) -> Iterator[Answers]:
        """`answers` to rows that are due: first those that nobody asks about, which wait for no run of the others."""
        places = attention.asked(rows, due, answers.indices)
        if not places:
            yield from asked_of(answers, due)
            return
        leaning = set(places)
        others = [at for at in range(len(answers.indices)) if at not in leaning]
        if others:
            yield from asked_of(part_of(answers, others), due)
        self._write()
        chosen = part_of(answers, places)
        weights = attention.over(self._pool.ending_with([rows[index] for index in chosen.indices]))
        self._stages.mark("attention")
        yield chosen._replace(attention=weights)

    def _step(self, steps: Sequence[tuple[Ladder, Row, bool]]) -> NDArray[np.float32]:
        """Answer each row by its ladder's first carry; where another row follows, take all carries one step on."""
        rows = [row for _, row, _ in steps]
        if not any(more for _, _, more in steps):
            forecasts, features = self._engine.finish(pairs(rows), _joined([ladder.first(1) for ladder, _, _ in steps]))
            for ladder, row, _ in steps:
                ladder.climb()
                if ladder.height:
                    self._behind.append((ladder, row))
        else:
            heights = [ladder.height if more else 1 for ladder, _, more in steps]
            carry = _joined([ladder.first(height) for (ladder, _, _), height in zip(steps, heights, strict=True)])
            forecasts, features, after = self._engine.step(np.repeat(pairs(rows), heights, axis=0), carry)
            begins = np.cumsum([0, *heights[:-1]])
            forecasts, features = forecasts[begins], features[begins]
            for (ladder, row, more), begin, height in zip(steps, begins, heights, strict=True):
                ladder.climb()
                if more:
                    ladder.replace([part[begin + 1 : begin + height] for part in after])
                elif ladder.height:
                    self._behind.append((ladder, row))
        self._unwritten.append((rows, features))
        return forecasts

    def _write(self) -> None:
        """Push the rows of finished ticks: their answers did not have to wait for it."""
        for rows, features in self._unwritten:
            self._pool.push(rows, features)
        self._unwritten = []
        self._stages.mark("push")

    def _catch_up(self) -> None:
        """Take ladders one row on; what would hold up the next tick for too long is forgotten instead."""
        steps = 0
        behind: list[tuple[Ladder, Row]] = []
        for ladder, row in self._behind:
            steps += ladder.height
            if behind and steps > self._steps_max:
                self._carries.forget(row.window)
            else:
                behind.append((ladder, row))
        self._behind = behind
        heights = [ladder.height for ladder, _ in self._behind]
        repeated = np.repeat(pairs([row for _, row in self._behind]), heights, axis=0)
        _, _, after = self._engine.step(repeated, _joined([ladder.carries for ladder, _ in self._behind]))
        end = 0
        for (ladder, _), height in zip(self._behind, heights, strict=True):
            begin, end = end, end + height
            ladder.replace([part[begin:end] for part in after])
        self._behind = []
        self._stages.mark("prefix")

    # -- window path

    def _window(self, rows: Sequence[Row], due: Sequence[bool], rest: Sequence[int]) -> Iterator[Answers]:
        """Runs of the window graph, on several threads where that is quicker. Answers come in order even so."""
        self._write()
        features = self._engine.features(pairs([rows[index] for index in rest]))
        self._stages.mark("features")
        part_max, lanes = self._split(sum(due[index] for index in rest))
        running: deque[tuple[list[int], Future[_Ran]]] = deque()
        for begin, end in _parts(due, rest, part_max):
            part = rest[begin:end]
            asked = [at for at, index in enumerate(part) if due[index]]
            windows = self._pool.push_and_gather([rows[index] for index in part], features[begin:end], asked)
            self._stages.mark("push")
            if not asked:
                continue
            indices = [part[at] for at in asked]
            if self._engine.splits:
                self._missed += [rows[index].window for index in indices]
            places = [] if self._attention is None else self._attention.asked(rows, due, indices)
            if lanes is None:
                yield self._ran(indices, self._run(windows, places))
                continue
            if len(running) > self._threads:  # one waits for each that runs: no thread idles while we publish
                yield self._ran(running[0][0], running.popleft()[1].result())
            running.append((indices, lanes.submit(self._run, windows, places)))
        while running:
            yield self._ran(running[0][0], running.popleft()[1].result())

    def _run(self, windows: NDArray[np.float32], places: Sequence[int]) -> _Ran:
        """Forecasts of `windows`, and what those at `places` lean on. On whichever thread."""
        if self._attention is None or not places:
            return self._engine.window(windows), None
        return self._attention.answer(windows, places)

    def _ran(self, indices: list[int], ran: _Ran) -> Answers:
        self._stages.mark("run")
        return Answers(indices, ran[0], "window", ran[1])

    def _split(self, count: int) -> tuple[int, ThreadPoolExecutor | None]:
        """How many windows go into one run when `count` are due, and the threads to run them on, if any."""
        most = self._engine.batch_max
        if self._lanes is None or count < 2:
            return most, None
        share = min(most, math.ceil(count / self._threads))
        costs = self._engine.costs
        if costs.window_s(share) + HANDING_OVER_S > costs.window_s(count):
            return most, None
        return share, self._lanes


def _parts(due: Sequence[bool], rest: Sequence[int], part_max: int) -> Iterator[tuple[int, int]]:
    """`rest` cut where so many are due."""
    begin = asked = 0
    for at, index in enumerate(rest):
        asked += due[index]
        if asked == part_max:
            yield begin, at + 1
            begin, asked = at + 1, 0
    if begin < len(rest):
        yield begin, len(rest)


def _slice(engine: Engine) -> int:
    """Windows in one prefix run."""
    affordable_s = SLICE_COST_MAX * engine.costs.prefix_s(1)
    return max(n for n in range(1, SLICE_MAX + 1) if n == 1 or engine.costs.prefix_s(n) <= affordable_s)


def _steps_max(engine: Engine) -> int:
    """Carries that are taken one row on before the next poll."""
    steps = 1
    while engine.costs.finish_s(2 * steps) <= CATCHING_UP_S_MAX:
        steps *= 2
    return steps


def pairs(rows: Sequence[Row]) -> Pairs:
    """Raw ticks [rows, 2, columns]: the previous sampled tick and the current one."""
    flat: list[float] = []
    for row in rows:
        flat += row.previous
        flat += row.current
    return np.array(flat, np.float64).reshape(len(rows), 2, -1)


def _joined(carries: Sequence[list[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """Carries of several ladders as one."""
    if len(carries) == 1:
        return carries[0]
    return [np.concatenate(parts) for parts in zip(*carries, strict=True)]
