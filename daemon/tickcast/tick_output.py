"""Tick files written tick by tick: CSV, gzipped or not, and Parquet, under tickcast's own column names.

Beside the way of a tick. Columns: event_time_ns, symbol, sequence where the ticks have one, and the ticks' own. Values
are read back bit for bit. Whole under its name, or not there.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tickcast import tick_csv, whole_files
from tickcast.tick_columns import EVENT_TIME, SYMBOL
from tickcast.windows import Tick

SEQUENCE = "sequence"
# Written at once: a row group of some MB, by which readers skip.
ROWS_AT_ONCE = 65_536


class Shape(NamedTuple):
    """What each tick has."""

    columns: tuple[str, ...]
    with_sequence: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The file's columns, in order."""
        return (EVENT_TIME, SYMBOL, *([SEQUENCE] if self.with_sequence else []), *self.columns)


class Rows(Protocol):
    """Writes one kind of file."""

    def write(self, ticks: Sequence[Tick]) -> None:
        """The next rows."""

    def close(self) -> None:
        """Nothing follows."""


class TickOutput:
    """Takes ticks one by one; `opened` makes it."""

    def __init__(self, path: Path, rows: Rows) -> None:
        """`path` is what messages name."""
        self._path = path
        self._rows = rows
        self._held: list[Tick] = []

    def add(self, tick: Tick) -> None:
        """The next tick. Raises UsageError where the disk takes no more."""
        self._held.append(tick)
        if len(self._held) >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is held. Raises UsageError where the disk takes no more."""
        with whole_files.writing(self._path):
            self._rows.write(self._held)
        self._held.clear()


@contextmanager
def opened(path: Path, shape: Shape) -> Iterator[TickOutput]:
    """What becomes the tick file `path` when the block ends; nothing does where it raises.

    Raises UsageError for a file that cannot be written, MissingExtraError without the library for its kind.
    """
    make = whole_files.chosen(path, ROWS, "a tick file")
    with whole_files.replacing(path) as part:
        with whole_files.writing(path):
            rows = make(part, shape)
        try:
            output = TickOutput(path, rows)
            yield output
            output.flush()
        finally:
            with whole_files.writing(path):
                rows.close()


def check(path: Path) -> None:
    """Raises UsageError or MissingExtraError for a `path` that cannot be written, before anything is read for it."""
    whole_files.chosen(path, ROWS, "a tick file")
    whole_files.check_place(path)


class CsvRows:
    """CSV, gzipped where the name ends in .gz; of a number as many digits as tell it from all others."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self._file = tick_csv.opened(path, "wt")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(shape.names)
        self._with_sequence = shape.with_sequence

    def write(self, ticks: Sequence[Tick]) -> None:
        """See `Rows`."""
        if self._with_sequence:
            self._csv.writerows([tick.event_time_ns, tick.symbol, tick.sequence, *tick.values] for tick in ticks)
        else:
            self._csv.writerows([tick.event_time_ns, tick.symbol, *tick.values] for tick in ticks)

    def close(self) -> None:
        """See `Rows`."""
        self._file.close()


class ParquetRows:
    """Parquet, by pyarrow."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self._arrow = whole_files.arrow("pyarrow")
        kinds = {EVENT_TIME: self._arrow.int64(), SYMBOL: self._arrow.string(), SEQUENCE: self._arrow.int64()}
        own = [self._arrow.field(name, kinds[name], nullable=False) for name in shape.names[: -len(shape.columns)]]
        values = [self._arrow.field(name, self._arrow.float64(), nullable=False) for name in shape.columns]
        self._schema = self._arrow.schema([*own, *values])
        self._with_sequence = shape.with_sequence
        self._writer = whole_files.arrow("pyarrow.parquet").ParquetWriter(path, self._schema, compression="zstd")

    def write(self, ticks: Sequence[Tick]) -> None:
        """See `Rows`."""
        if not ticks:
            return
        columns: list[Any] = [[tick.event_time_ns for tick in ticks], [tick.symbol for tick in ticks]]
        if self._with_sequence:
            columns.append([tick.sequence for tick in ticks])
        columns += zip(*(tick.values for tick in ticks), strict=True)
        arrays = [self._arrow.array(each, of.type) for each, of in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """See `Rows`."""
        self._writer.close()


# How a name ends -> what writes it. A new format is a class and a line here.
ROWS: dict[str, Callable[[Path, Shape], Rows]] = {
    ".csv": CsvRows,
    ".csv.gz": CsvRows,
    whole_files.PARQUET: ParquetRows,
}
