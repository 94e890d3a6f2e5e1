"""What the loop remembers of its answers when they are on their way: for the scores, and for whoever looks at the page.

Behind the way of a tick: taken note of poll by poll, worked off many at once, so that it costs little.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.clients import Partition
from tickcast.clock import Clock
from tickcast.drift import Drift
from tickcast.inference import Answers
from tickcast.publisher import Received, Work
from tickcast.scores import Scores
from tickcast.tape import PATH_NUMBERS, Ticks, Track
from tickcast.windows import Row, Values

# Worked off when so many rows have come, or the first of them is so old: the page is a moment behind.
ROWS_MAX = 256
AGE_NS_MAX = 100_000_000

ReferenceMid = Callable[[Values], float | None]


class _Noted(NamedTuple):
    rows: Sequence[Row]
    partitions: Sequence[Partition]  # of the rows
    received_ns: int  # wall clock
    answers: Sequence[Answers]


class Recorder:
    """Notes answers; with `turn` they are scored and go onto the tape, and what they answer is held against training.

    `scores` and `drift` are as of what is worked off: `flush` before they are saved.
    """

    def __init__(
        self, scores: Scores, drift: Drift, tape: Track | None, reference_mid: ReferenceMid, horizons: int, clock: Clock
    ) -> None:
        """For one bundle, with so many horizons; without a tape nobody looks at them."""
        self.scores = scores
        self.drift = drift
        self._tape = tape
        self._reference_mid = reference_mid
        self._horizons = horizons
        self._clock = clock
        self._noted: list[_Noted] = []
        self._rows = 0
        self._due_ns = 0

    def note(self, work: Work, answers: Sequence[Answers], received: Received) -> None:
        """All of `work` is on its way; `answers` are the forecasts of those of its rows that got one."""
        if not self._noted:
            self._due_ns = received.monotonic_ns + AGE_NS_MAX
        self._noted.append(_Noted(work.rows, [each.partition for each in work.records], received.wall_ns, answers))
        self._rows += len(work.rows)

    def turn(self) -> None:
        """Work off what is noted, if it is time."""
        if self._noted and (self._rows >= ROWS_MAX or self._clock.monotonic_ns() >= self._due_ns):
            self.flush()

    def flush(self) -> None:
        """Work off all that is noted."""
        noted, self._noted, self._rows = self._noted, [], 0
        rows: list[Row] = []
        partitions: list[Partition] = []
        due: list[int] = []
        for each in noted:
            due += [len(rows) + at for at, row in enumerate(each.rows) if row.due]
            rows += each.rows
            partitions += each.partitions
        if not due:
            return
        forecasts = np.full((len(rows), self._horizons), np.nan, np.float32)
        paths = np.zeros(len(rows), np.uint32)
        if answered := self._answered(noted):
            indices, made, by = answered
            forecasts[indices], paths[indices] = np.concatenate(made), by
        received_ns = np.repeat([each.received_ns for each in noted], [len(each.rows) for each in noted])
        kept = np.array(due, np.intp)
        filled = [rows[at] for at in due]
        self._record(filled, received_ns[kept], paths[kept], forecasts[kept])
        self.drift.add([partitions[at] for at in due], filled)

    def keep(self, partitions: Collection[Partition]) -> None:
        """Those that are ours; what the others gave rise to is theirs who have them now."""
        self.flush()
        self.drift.keep(partitions)

    def close(self) -> None:
        """Work off all that is noted, the last of this bundle's."""
        self.flush()
        self.drift.close()

    def _answered(self, noted: Sequence[_Noted]) -> tuple[list[int], list[NDArray[np.float32]], list[int]] | None:
        """Which of all rows were answered, with what [answered, horizons] in parts, and by which path."""
        indices: list[int] = []
        made: list[NDArray[np.float32]] = []
        paths: list[int] = []
        begin = 0
        for each in noted:
            for answers in each.answers:
                indices += [begin + index for index in answers.indices]
                made.append(answers.forecasts)
                paths += [PATH_NUMBERS[answers.path]] * len(answers.indices)
            begin += len(each.rows)
        return (indices, made, paths) if made else None

    def _record(
        self,
        rows: Sequence[Row],
        received_ns: NDArray[np.int64],
        paths: NDArray[np.uint32],
        forecasts: NDArray[np.float32],
    ) -> None:
        ticks = [row.tick for row in rows]
        mids = np.array([self._reference_mid(tick.values) for tick in ticks], np.float64)  # None becomes NaN
        mids[np.isinf(mids)] = np.nan  # the mean of two prices near the largest number
        positions = np.array([row.position for row in rows], np.int64)
        self.scores.add(np.array([row.window.slot for row in rows], np.intp), positions, mids, forecasts)
        if self._tape is None:
            return
        times_ns = np.array([tick.event_time_ns for tick in ticks], np.int64)
        symbols = [tick.symbol for tick in ticks]
        self._tape.append(Ticks(symbols, paths, positions, times_ns, received_ns, mids, forecasts))
