"""Tick files (CSV, gzipped CSV, Parquet) as columns of ticks, in file order: what training and replay read.

Read in chunks, so that ten million ticks need not lie in memory to be replayed; `read_all` is for training. Several
files follow one another as if they were one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast import tick_csv, tick_parquet
from tickcast.errors import TickFileError
from tickcast.tick_columns import Part, TickColumns
from tickcast.windows import Tick

# 64 Ki rows of a few columns are some MiB as text: small beside a model, large beside the cost of a chunk.
CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class Ticks:
    """Consecutive ticks as columns. `start` is the first one's place in the whole sequence."""

    columns: tuple[str, ...]
    symbols: tuple[str, ...]  # names; those of a later chunk begin with these
    symbol_ids: NDArray[np.int32]  # [ticks], places in `symbols`
    event_time_ns: NDArray[np.int64]  # [ticks]
    values: NDArray[np.float64]  # [ticks, columns]
    sequence: NDArray[np.int64]  # [ticks], zeros where the file has none
    start: int = 0

    def __len__(self) -> int:
        return len(self.event_time_ns)

    def __iter__(self) -> Iterator[Tick]:
        """Each tick; its offset is its place in the whole sequence."""
        for first in range(0, len(self), CHUNK_ROWS):
            yield from self._ticks(first, min(first + CHUNK_ROWS, len(self)))

    def slice(self, start: int, end: int) -> "Ticks":
        """Ticks `start` to `end` (exclusive) of these."""
        span = slice(start, end)
        return Ticks(
            self.columns,
            self.symbols,
            self.symbol_ids[span],
            self.event_time_ns[span],
            self.values[span],
            self.sequence[span],
            self.start + start,
        )

    def _ticks(self, first: int, end: int) -> Iterator[Tick]:
        """Python objects for a chunk at a time: those of ten million ticks would take gigabytes."""
        span = slice(first, end)
        names = [self.symbols[i] for i in self.symbol_ids[span].tolist()]
        times, values, sequence = self.event_time_ns[span], self.values[span], self.sequence[span]
        parts = zip(names, times.tolist(), map(tuple, values.tolist()), sequence.tolist(), strict=True)
        return (Tick(offset, *part) for offset, part in enumerate(parts, self.start + first))


class Format(NamedTuple):
    """How one kind of file is read."""

    header: Callable[[Path], tuple[str, ...]]
    parts: Callable[[Path, TickColumns, int], Iterator[Part]]


def header(path: Path) -> tuple[str, ...]:
    """The names of the file's columns. Raises TickFileError."""
    return _format(path).header(path)


def chunks(paths: Sequence[Path], mapping: TickColumns, rows: int = CHUNK_ROWS) -> Iterator[Ticks]:
    """The ticks of all files, in order, at most `rows` at a time. Raises TickFileError, MissingExtraError."""
    symbol_ids: dict[str, int] = {}
    start = 0
    for path in paths:
        for part in _checked_parts(path, mapping, rows):
            count = len(part.event_time_ns)
            names = part.symbols if part.symbols is not None else [mapping.symbol_name] * count
            ids = np.fromiter((symbol_ids.setdefault(name, len(symbol_ids)) for name in names), np.int32, count)
            sequence = part.sequence if part.sequence is not None else np.zeros(count, np.int64)
            yield Ticks(mapping.names, tuple(symbol_ids), ids, part.event_time_ns, part.values, sequence, start)
            start += count


def read_all(paths: Sequence[Path], mapping: TickColumns) -> Ticks:
    """The ticks of all files, in order. Raises TickFileError (also where there is not a single tick)."""
    parts = list(chunks(paths, mapping))
    if not parts:
        raise TickFileError(f"{', '.join(map(str, paths))}: no ticks")
    return Ticks(
        mapping.names,
        parts[-1].symbols,
        np.concatenate([part.symbol_ids for part in parts]),
        np.concatenate([part.event_time_ns for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.sequence for part in parts]),
    )


def write_csv(path: Path, ticks: Ticks) -> None:
    """Write ticks as CSV (gzipped where the name ends in .gz) under tickcast's own column names."""
    with tick_csv.opened(path, "wt") as file:
        file.write(",".join(("event_time_ns", "symbol", *ticks.columns)) + "\n")
        for tick in ticks:
            # 15 digits: every decimal that a quote can have, and no binary tail.
            values = ",".join([f"{value:.15g}" for value in tick.values])
            file.write(f"{tick.event_time_ns},{tick.symbol},{values}\n")


def _format(path: Path) -> Format:
    for suffix, known in FORMATS.items():
        if path.name.endswith(suffix):
            return known
    raise TickFileError(f"{path}: not a tick file by its name: {', '.join(FORMATS)}")


def _checked_parts(path: Path, mapping: TickColumns, rows: int) -> Iterator[Part]:
    known = _format(path)
    names = known.header(path)
    absent = [name for name in mapping.file_columns if name not in names]
    if absent:
        raise TickFileError(f"{path}: line 1: no column {', '.join(absent)} (columns: {', '.join(names)})")
    return known.parts(path, mapping, rows)


# How a name ends -> how the file is read. A new format is a line here.
FORMATS: dict[str, Format] = {
    ".csv": Format(tick_csv.header, tick_csv.parts),
    ".csv.gz": Format(tick_csv.header, tick_csv.parts),
    ".parquet": Format(tick_parquet.header, tick_parquet.parts),
}
