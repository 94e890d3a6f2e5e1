"""CSV tick files, gzipped or not: text in, columns out, errors with the line they are in."""

import csv
import gzip
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Literal, NoReturn, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tickcast.errors import TickFileError
from tickcast.tick_columns import INT64_MAX, INT64_MIN, NANOSECONDS_PER_UNIT, Part, TickColumns, TimeUnit

FIRST_LINE = 2  # line 1 is the header

Number = TypeVar("Number", np.int64, np.float64)
Parse = Callable[[str], float]
Line = list[str]


def header(path: Path) -> tuple[str, ...]:
    """The names in the first line. Raises TickFileError."""
    with opened(path, "rt") as file:
        for line in _lines(path, file):
            return tuple(line)
    raise TickFileError(f"{path}: line 1: empty; a header with the columns' names is needed")


def parts(path: Path, mapping: TickColumns, rows: int) -> Iterator[Part]:
    """The file's rows, at most `rows` at a time. Raises TickFileError naming line and column."""
    with opened(path, "rt") as file:
        lines = _lines(path, file)
        names = next(lines)
        first_line = FIRST_LINE
        while chunk := list(itertools.islice(lines, rows)):
            filled = [line for line in chunk if line]
            if any(len(line) != len(names) for line in filled):
                _refuse_ragged(path, first_line, chunk, len(names))
            if filled:
                yield _CsvChunk(path, first_line, names, chunk, filled).part(mapping)
            first_line += len(chunk)


def opened(path: Path, mode: Literal["rt", "wt"]) -> IO[str]:
    """The file as text, through gzip where its name ends in .gz. Raises TickFileError."""
    try:
        if path.suffix == ".gz":
            # Level 1: gzip's default takes three times as long for a tenth less.
            return cast(IO[str], gzip.open(path, mode, compresslevel=1, encoding="utf-8", newline=""))
        return path.open(mode, encoding="utf-8", newline="")
    except OSError as error:
        raise TickFileError(f"{path}: cannot be opened: {error.strerror or error}") from error


def _lines(path: Path, file: IO[str]) -> Iterator[Line]:
    reader = csv.reader(file)
    try:
        yield from reader
    except (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise TickFileError(f"{path}: line {reader.line_num + 1}: cannot be read: {error}") from error


def _refuse_ragged(path: Path, first_line: int, chunk: list[Line], width: int) -> NoReturn:
    at, line = next((i, line) for i, line in enumerate(chunk) if line and len(line) != width)
    raise TickFileError(f"{path}: line {first_line + at}: {len(line)} fields where the header has {width}")


class _CsvChunk:
    """Some lines of a CSV file. Empty lines are passed over; line numbers count them."""

    def __init__(self, path: Path, first_line: int, names: Line, lines: list[Line], filled: list[Line]) -> None:
        self._path = path
        self._first_line = first_line
        self._lines = lines
        self._fields = dict(zip(names, zip(*filled, strict=True), strict=True))
        self._count = len(filled)

    def part(self, mapping: TickColumns) -> Part:
        values = np.empty((self._count, len(mapping.columns)), np.float64)
        for i, name in enumerate(mapping.columns.values()):
            values[:, i] = self._array(name, float, _finite, np.float64)
        symbols = list(self._fields[mapping.symbol]) if mapping.symbol else None
        sequence = self._array(mapping.sequence, int, int, np.int64) if mapping.sequence else None
        return Part(symbols, self._times(mapping.event_time, mapping.event_time_unit), values, sequence)

    def _times(self, name: str, unit: TimeUnit) -> NDArray[np.int64]:
        def exact(text: str) -> int:
            return _nanoseconds(text, unit)

        return self._array(name, int if unit == "ns" else exact, exact, np.int64)

    def _array(self, name: str, fast: Parse, exact: Parse, dtype: type[Number]) -> NDArray[Number]:
        """The column [lines], parsed `fast` where that is all it takes, else `exact`, which also names a bad line."""
        texts = self._fields[name]
        try:
            array = np.array(list(map(fast, texts)), dtype)
        except (ValueError, ArithmeticError):
            return np.array([self._one(name, exact, row, text) for row, text in enumerate(texts)], dtype)
        if np.isfinite(array).all():
            return array
        return np.array([self._one(name, exact, row, text) for row, text in enumerate(texts)], dtype)

    def _one(self, name: str, parse: Parse, row: int, text: str) -> float:
        try:
            return parse(text)
        except (ValueError, ArithmeticError) as error:
            filled = (i for i, line in enumerate(self._lines) if line)
            line = self._first_line + next(itertools.islice(filled, row, None))
            raise TickFileError(f"{self._path}: line {line}: column {name}: {text!r} is no finite number") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _nanoseconds(text: str, unit: TimeUnit) -> int:
    """`text` in `unit` as whole nanoseconds; through Decimal, since a float64 cannot hold today's nanoseconds."""
    nanoseconds = round(Decimal(text) * NANOSECONDS_PER_UNIT[unit])
    if not INT64_MIN <= nanoseconds <= INT64_MAX:
        raise OverflowError(text)
    return nanoseconds
