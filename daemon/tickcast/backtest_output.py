"""The file that a backtest writes: a row for each forecast, in the order of the ticks.

Stages `encode` and `produce` of the way of a tick, in a backtest. Columns: symbol, event_time_ns, offset (the tick's
row in the ticks read, from 0), reference_mid (empty where the bundle names no reference columns), and a column for each
horizon, h1, h2, ...: the change of the mid so many sampled ticks ahead, float32, in the bundle's unit. Parquet files
say in their metadata whose forecasts they hold.

Written under another name and renamed when complete: under the final name there is never half a file.
"""

import csv
import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tickcast import tick_csv
from tickcast.backtest_answers import Answered
from tickcast.bundle import Bundle
from tickcast.errors import MissingExtraError, UsageError

KEY_COLUMNS = ("symbol", "event_time_ns", "offset", "reference_mid")
# A row group of some MB: readers skip by it, and so much is held until it is written.
ROW_GROUP_ROWS = 65_536
METADATA_KEY = b"tickcast"


class Writer(Protocol):
    """Writes one kind of file."""

    def write(self, answered: Answered) -> None:
        """The next rows."""

    def close(self) -> None:
        """Nothing follows: write what is held back."""


@contextmanager
def opened(path: Path, bundle: Bundle) -> Iterator[Writer]:
    """A writer to what becomes `path` when the block ends; nothing does where it raises.

    Raises UsageError for a file that cannot be written, MissingExtraError where the library for its kind is absent.
    """
    make = _writer_of(path)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer = make(part, bundle)
        try:
            yield writer
        finally:
            writer.close()
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raises UsageError or MissingExtraError for a `path` that no writer takes, before hours have gone by."""
    _writer_of(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: cannot be written: {'a folder' if path.is_dir() else 'there is no such folder'}")


def columns_of(bundle: Bundle) -> tuple[str, ...]:
    """The names of the columns."""
    return (*KEY_COLUMNS, *(f"h{horizon}" for horizon in bundle.manifest.horizons))


class CsvWriter:
    """CSV, gzipped where the name ends in .gz. Nine digits of a forecast are all of a float32."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self._file = tick_csv.opened(path, "wt")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(columns_of(bundle))
        self._line = ",".join(["%.9g"] * len(bundle.manifest.horizons)).__mod__

    def write(self, answered: Answered) -> None:
        """See `Writer`."""
        mids = ["" if mid != mid else repr(mid) for mid in answered.mids.tolist()]
        values = [self._line(tuple(each)).split(",") for each in answered.forecasts.tolist()]
        keys = zip(
            answered.symbols.tolist(), answered.event_time_ns.tolist(), answered.offsets.tolist(), mids, strict=True
        )
        self._csv.writerows([*key, *each] for key, each in zip(keys, values, strict=True))

    def close(self) -> None:
        """See `Writer`."""
        self._file.close()


class ParquetWriter:
    """Parquet, by pyarrow."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
        kinds = (arrow.string(), arrow.int64(), arrow.int64(), arrow.float64())
        horizons = [arrow.float32()] * len(bundle.manifest.horizons)
        fields = zip(columns_of(bundle), (*kinds, *horizons), strict=True)
        self._schema = arrow.schema(list(fields), {METADATA_KEY: _metadata(bundle)})
        self._arrow = arrow
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[Answered] = []

    def write(self, answered: Answered) -> None:
        """See `Writer`."""
        self._held.append(answered)
        if sum(each.size for each in self._held) >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """See `Writer`."""
        if self._held:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        rows = Answered._make(map(np.concatenate, zip(*held, strict=True)))
        keys = [rows.symbols, rows.event_time_ns, rows.offsets, rows.mids]
        arrays = [
            self._arrow.array(column, field.type, from_pandas=True)  # NaN is none
            for column, field in zip([*keys, *rows.forecasts.T], self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))


def _metadata(bundle: Bundle) -> bytes:
    manifest = bundle.manifest
    told = {
        "bundle": {"name": manifest.name, "version": manifest.version, "sha256": bundle.sha256},
        "horizons": manifest.horizons,
        "unit": manifest.unit,
        "target_scale": manifest.target_scale,
    }
    return json.dumps(told).encode()


def _arrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'tickcast[export]'; or write CSV") from error


def _writer_of(path: Path) -> Callable[[Path, Bundle], Writer]:
    for suffix, writer in WRITERS.items():
        if path.name.endswith(suffix):
            if writer is ParquetWriter:
                _arrow("pyarrow.parquet")
            return writer
    raise UsageError(f"{path}: not a file of forecasts by its name: {', '.join(WRITERS)}")


# How a name ends -> what writes it. A new format is a class and a line here.
WRITERS: dict[str, Callable[[Path, Bundle], Writer]] = {
    ".csv": CsvWriter,
    ".csv.gz": CsvWriter,
    ".parquet": ParquetWriter,
}
