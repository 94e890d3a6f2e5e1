"""A file's ticks cut into pieces that can be answered apart: one for each symbol and day.

Before the way of a tick, where a backtest goes on several machines. A piece brings along those ticks before its day
that its first windows rest on, by the windows' own account (`Windows.replay_from`): the daemon rebuilds its windows
from no more after a restart. So it is answered as if everything before it had been there.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tickcast import attention
from tickcast.backtest_answers import Answered, Answers, Columns, Told
from tickcast.backtest_rules import Rules
from tickcast.config import Config
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast.manifest import Manifest
from tickcast.tick_files import Ticks
from tickcast.windows import NANOSECONDS, Tick

DAY_NS = 86_400 * NANOSECONDS
# Decided at a time, as a backtest in one process does.
TOGETHER_TICKS = 4_096

Result = tuple[NDArray[np.int64], Told]  # offsets [ticks], and what is told of these ticks
_Parts = TypeVar("_Parts", "Run", Answered, Told)


class Run(NamedTuple):
    """Ticks of one symbol, as columns [ticks], in the file's order."""

    offsets: NDArray[np.int64]
    event_time_ns: NDArray[np.int64]
    values: NDArray[np.float64]  # [ticks, columns]
    sequence: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many ticks."""
        return len(self.offsets)

    def part(self, begin: int, end: int) -> "Run":
        """Ticks `begin` to `end` (exclusive) of these."""
        return Run._make(column[begin:end] for column in self)

    def ticks(self, symbol: str) -> Iterator[Tick]:
        """As the window rules take them."""
        columns = (self.offsets.tolist(), self.event_time_ns.tolist(), map(tuple, self.values.tolist()))
        parts = zip(*columns, self.sequence.tolist(), strict=True)
        return (Tick(offset, symbol, *rest) for offset, *rest in parts)


class Piece(NamedTuple):
    """What one task gets. Ticks before the offset `first` only fill windows."""

    symbol: str
    first: int
    ticks: Run


class Cut(NamedTuple):
    """A piece, and its ticks that fill their windows: all of them but the forecasts."""

    piece: Piece
    expected: Answered

    def answered(self, offsets: NDArray[np.int64], told: Told) -> Answered:
        """With what a task tells, which must have answered just these ticks."""
        assert np.array_equal(offsets, self.expected.offsets), f"{self.piece.symbol}: other ticks were answered"
        return self.expected._replace(forecasts=told.forecasts, attention=told.attention)


class Pieces:
    """Takes in ticks in the file's order, and gives pieces as their days end."""

    def __init__(self, config: Config, manifest: Manifest) -> None:
        """Raises as `Rules` does."""
        self._config = config
        self._manifest = manifest
        self._columns = Columns(manifest)
        self._symbols: dict[str, _Symbol] = {}
        self.fates: Counter[str] = Counter()  # what became of the ticks so far

    @property
    def first_open(self) -> int | None:
        """The oldest offset that is in no piece yet."""
        return min((each.first for each in self._symbols.values() if each.first is not None), default=None)

    def take(self, chunk: Ticks) -> Iterator[Cut]:
        """The next ticks of the file. Raises UsageError where windows would depend on other symbols' ticks."""
        order = np.argsort(chunk.symbol_ids, kind="stable")
        keys = np.stack([chunk.symbol_ids[order], chunk.event_time_ns[order] // DAY_NS])
        borders = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
        for places in np.split(order, borders):
            ticks = Run(places + chunk.start, chunk.event_time_ns[places], chunk.values[places], chunk.sequence[places])
            yield from self._symbol(chunk.symbols[chunk.symbol_ids[places[0]]]).take(ticks)

    def cut(self) -> Iterator[Cut]:
        """What is in no piece yet, in pieces; the days go on in others."""
        for each in self._symbols.values():
            yield from each.cut()

    def _symbol(self, name: str) -> "_Symbol":
        found = self._symbols.get(name)
        if found is None:
            if len(self._symbols) == (most := self._config.recovery.max_symbols):
                raise UsageError(f"more than {most} symbols (recovery.max_symbols): only --engine local forgets some")
            found = self._symbols[name] = _Symbol(name, Rules(self._config, self._manifest, self.fates), self._columns)
        return found


def answer(engine: Engine, config: Config, piece: Piece) -> Result:
    """What a task makes of its piece. `engine` is warm."""
    leaning = attention.of(config, len(config.models) - 1, engine)
    rules, answers = Rules(config, engine.bundle.manifest), Answers(engine, config.inference.threads, leaning)
    offsets: list[int] = []
    told = []
    for begin in range(0, piece.ticks.size, TOGETHER_TICKS):
        rows = rules.rows(piece.ticks.part(begin, begin + TOGETHER_TICKS).ticks(piece.symbol))
        asked = [row.due and row.tick.offset >= piece.first for row in rows]
        told.append(answers.answer(rows, asked))
        offsets += [row.tick.offset for row, is_asked in zip(rows, asked, strict=True) if is_asked]
    answers.close()
    return np.array(offsets, np.int64), _joined(Told, told)


class _Symbol:
    """One symbol's ticks since its last piece, and of those before what the next piece needs."""

    def __init__(self, name: str, rules: Rules, columns: Columns) -> None:
        self.first: int | None = None  # offset of the oldest tick since the last piece
        self._name = name
        self._rules = rules
        self._columns = columns
        self._day = 0
        self._next = 0  # one past the newest offset
        self._before: list[Run] = []
        self._runs: list[Run] = []
        self._expected: list[Answered] = []

    def take(self, ticks: Run) -> Iterator[Cut]:
        """The next ticks, of one day."""
        day = int(ticks.event_time_ns[0]) // DAY_NS
        if day != self._day:
            yield from self.cut()
            self._day = day
        if self.first is None:
            self.first = int(ticks.offsets[0])
        self._next = int(ticks.offsets[-1]) + 1
        self._runs.append(ticks)
        self._expected.append(self._columns.of(row for row in self._rules.rows(ticks.ticks(self._name)) if row.due))

    def cut(self) -> Iterator[Cut]:
        """The piece that ends here, if there was any tick since the last one."""
        if self.first is None:
            return
        ticks = _joined(Run, [*self._before, *self._runs])
        piece = Piece(self._name, self.first, ticks)
        needed = int(np.searchsorted(ticks.offsets, self._rules.windows.replay_from(self._next)))
        # No view of them: it would keep all the others.
        self._before = [Run._make(map(np.copy, ticks.part(needed, ticks.size)))]
        expected = _joined(Answered, self._expected)
        self._runs, self._expected, self.first = [], [], None
        if expected.size:
            yield Cut(piece, expected)


def _joined(kind: type[_Parts], parts: list[_Parts]) -> _Parts:
    return kind._make(map(np.concatenate, zip(*parts, strict=True)))
