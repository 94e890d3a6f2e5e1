"""Parquet tick files, read with pyarrow where that is installed (extra `export`)."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickcast.errors import MissingExtraError, TickFileError
from tickcast.tick_columns import NANOSECONDS_PER_UNIT, Part, TickColumns


def header(path: Path) -> tuple[str, ...]:
    """The names of the file's columns. Raises TickFileError, MissingExtraError."""
    with _opened(path) as file:
        return tuple(file.schema_arrow.names)


def parts(path: Path, mapping: TickColumns, rows: int) -> Iterator[Part]:
    """The file's rows, at most `rows` at a time. Raises TickFileError naming row and column."""
    with _opened(path) as file:
        first_row = 1
        for batch in file.iter_batches(batch_size=rows, columns=list(dict.fromkeys(mapping.file_columns))):
            yield _part(path, first_row, batch, mapping)
            first_row += batch.num_rows


def _part(path: Path, first_row: int, batch: Any, mapping: TickColumns) -> Part:
    def column(name: str, kind: str) -> Any:
        return _column(path, first_row, name, batch.column(name), kind)

    values = np.empty((batch.num_rows, len(mapping.columns)), np.float64)
    for i, name in enumerate(mapping.columns.values()):
        values[:, i] = column(name, "float64")
        finite = np.isfinite(values[:, i])
        if not finite.all():
            _refuse(path, first_row + int(finite.argmin()), name, "not finite")
    symbols = column(mapping.symbol, "string").tolist() if mapping.symbol else None
    sequence = column(mapping.sequence, "int64") if mapping.sequence else None
    times = _times(path, first_row, batch.column(mapping.event_time), mapping)
    return Part(symbols, times, values, sequence)


def _times(path: Path, first_row: int, array: Any, mapping: TickColumns) -> NDArray[np.int64]:
    """Nanoseconds. A timestamp column knows its own unit; any other number is in the mapping's."""
    arrow = _arrow("pyarrow")
    scale = NANOSECONDS_PER_UNIT[mapping.event_time_unit]
    kind = "int64"
    if arrow.types.is_timestamp(array.type):
        array, scale = array.cast(arrow.timestamp("ns")), 1
    elif arrow.types.is_floating(array.type):
        kind = "float64"
    times = np.asarray(_column(path, first_row, mapping.event_time, array, kind))
    return np.rint(times * scale).astype(np.int64) if kind == "float64" else times * scale


def _column(path: Path, first_row: int, name: str, array: Any, kind: str) -> Any:
    arrow = _arrow("pyarrow")
    if array.null_count:
        _refuse(path, first_row + array.is_null().to_pylist().index(True), name, "empty")
    try:
        return array.cast(getattr(arrow, kind)()).to_numpy(zero_copy_only=False)
    except arrow.ArrowException as error:
        raise TickFileError(f"{path}: from row {first_row}: column {name}: {error}") from error


def _refuse(path: Path, row: int, name: str, what: str) -> None:
    raise TickFileError(f"{path}: row {row}: column {name}: {what}")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    parquet = _arrow("pyarrow.parquet")
    arrow = _arrow("pyarrow")
    try:
        # Without `pre_buffer`, which keeps whatever was read until the file is closed.
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (OSError, arrow.ArrowException) as error:
        raise TickFileError(f"{path}: not a readable Parquet file: {error}") from error


def _arrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'tickcast[export]'") from error
