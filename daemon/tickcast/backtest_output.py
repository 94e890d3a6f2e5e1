"""The file that a backtest writes: a row for each forecast, in the order of the ticks.

Stages `encode` and `produce` of the way of a tick, in a backtest. Columns: symbol, event_time_ns, offset (the tick's
row in the ticks read, from 0), reference_mid (empty where the bundle names no reference columns), and a column for each
horizon, h1, h2, ...: the change of the mid so many sampled ticks ahead, float32, in the bundle's unit; where it was
asked for, attention: how much each row of the window weighed, oldest first (Parquet: a list; CSV: JSON). Of ticks of
topics, offset is the tick's own, and there are topic, partition and bundle, the sha256 of the one that answered.
Parquet files say in their metadata whose forecasts they hold. Whole under its name, or not there.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tickcast import attention, tick_csv, whole_files
from tickcast.backtest_answers import Answered
from tickcast.bundle import Bundle

KEY_COLUMNS = ("symbol", "event_time_ns", "offset", "reference_mid")
TOPIC_COLUMNS = ("topic", "partition", "bundle")
# A row group of some MB: readers skip by it, and so much is held until it is written.
ROW_GROUP_ROWS = 65_536
METADATA_KEY = b"tickcast"

Texts = NDArray[np.object_]


class Layout(NamedTuple):
    """What a file holds, and whose it is."""

    horizons: tuple[int, ...]
    metadata: Mapping[str, object]
    of_topics: bool = False
    leaning: bool = False  # whether there is a column for attention

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        own = (*KEY_COLUMNS, *(TOPIC_COLUMNS if self.of_topics else ()))
        return (*own, *(f"h{horizon}" for horizon in self.horizons), *(["attention"] if self.leaning else []))


class Sources(NamedTuple):
    """Where ticks of topics came from, and who answered them: columns [ticks]."""

    topics: Texts
    partitions: NDArray[np.int64]
    bundles: Texts


class Writer(Protocol):
    """Writes one kind of file."""

    def write(self, answered: Answered, sources: Sources | None = None) -> None:
        """The next rows; with `sources` where the file is of topics."""

    def close(self) -> None:
        """Nothing follows: write what is held back."""


class Output:
    """Takes rows; `opened` makes it."""

    def __init__(self, path: Path, writer: Writer) -> None:
        """`path` is what messages name."""
        self._path = path
        self._writer = writer

    def write(self, answered: Answered, sources: Sources | None = None) -> None:
        """As `Writer.write`. Raises UsageError where the disk takes no more."""
        with whole_files.writing(self._path):
            self._writer.write(answered, sources)


@contextmanager
def opened(path: Path, layout: Layout) -> Iterator[Output]:
    """What becomes `path` when the block ends; nothing does where it raises.

    Raises UsageError for a file that cannot be written, MissingExtraError where the library for its kind is absent.
    """
    make = whole_files.chosen(path, WRITERS, "a file of forecasts")
    with whole_files.replacing(path) as part:
        with whole_files.writing(path):
            writer = make(part, layout)
        try:
            yield Output(path, writer)
        finally:
            with whole_files.writing(path):
                writer.close()


def check(path: Path) -> None:
    """Raises UsageError or MissingExtraError for a `path` that no writer takes, before hours have gone by."""
    whole_files.chosen(path, WRITERS, "a file of forecasts")
    whole_files.check_place(path)


def layout_of(bundle: Bundle, leaning: bool = False) -> Layout:
    """For the forecasts of one bundle."""
    return Layout(bundle.manifest.horizons, {"bundle": _name(bundle), **_terms(bundle)}, leaning=leaning)


def layout_of_topics(bundles: Sequence[Bundle], leaning: bool) -> Layout:
    """For the forecasts of any of `bundles`: a horizon that one of them lacks is empty there."""
    horizons = sorted({horizon for bundle in bundles for horizon in bundle.manifest.horizons})
    return Layout(tuple(horizons), {"bundles": [_name(each) | _terms(each) for each in bundles]}, True, leaning)


class CsvWriter:
    """CSV, gzipped where the name ends in .gz. Nine digits of a forecast are all of a float32."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._file = tick_csv.opened(path, "wt")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(layout.columns)
        self._line = ",".join(["%.9g"] * len(layout.horizons)).__mod__
        self._leaning = layout.leaning

    def write(self, answered: Answered, sources: Sources | None = None) -> None:
        """See `Writer`."""
        mids = ["" if mid != mid else repr(mid) for mid in answered.mids.tolist()]
        values = [self._line(tuple(each)).split(",") for each in answered.forecasts.tolist()]
        own = [answered.symbols.tolist(), answered.event_time_ns.tolist(), answered.offsets.tolist(), mids]
        if sources is not None:
            own += [column.tolist() for column in sources]
            values = [["" if value == "nan" else value for value in each] for each in values]
        leaning = [[_text(each)] for each in answered.attention] if self._leaning else [[]] * answered.size
        keys = zip(*own, strict=True)
        self._csv.writerows([*key, *each, *weights] for key, each, weights in zip(keys, values, leaning, strict=True))

    def close(self) -> None:
        """See `Writer`."""
        self._file.close()


class ParquetWriter:
    """Parquet, by pyarrow."""

    def __init__(self, path: Path, layout: Layout) -> None:
        arrow, parquet = whole_files.arrow("pyarrow"), whole_files.arrow("pyarrow.parquet")
        kinds = [arrow.string(), arrow.int64(), arrow.int64(), arrow.float64()]
        kinds += [arrow.string(), arrow.int64(), arrow.string()] if layout.of_topics else []
        kinds += [arrow.float32()] * len(layout.horizons)
        kinds += [arrow.list_(arrow.float32())] if layout.leaning else []
        metadata = {METADATA_KEY: json.dumps(layout.metadata).encode()}
        self._schema = arrow.schema(list(zip(layout.columns, kinds, strict=True)), metadata)
        self._leaning = layout.leaning
        self._arrow = arrow
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[tuple[Answered, Sources | None]] = []

    def write(self, answered: Answered, sources: Sources | None = None) -> None:
        """See `Writer`."""
        self._held.append((answered, sources))
        if sum(each.size for each, _ in self._held) >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """See `Writer`."""
        if self._held:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        rows = Answered._make(map(np.concatenate, zip(*(each for each, _ in held), strict=True)))
        columns: list[Any] = [rows.symbols, rows.event_time_ns, rows.offsets, rows.mids]
        if any(sources is not None for _, sources in held):
            columns += map(np.concatenate, zip(*(sources for _, sources in held if sources), strict=True))
        columns += list(rows.forecasts.T)
        arrays = [
            self._arrow.array(column, field.type, from_pandas=True)  # NaN is none
            for column, field in zip(columns, self._schema, strict=False)
        ]
        if self._leaning:
            arrays.append(self._lists(rows.attention))
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def _lists(self, weights: NDArray[np.float32]) -> Any:
        """[n, window] as a list each, without NaN; none where that is all there is."""
        there = ~np.isnan(weights)
        counts = there.sum(axis=1)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        absent = self._arrow.array(counts == 0)
        return self._arrow.ListArray.from_arrays(ends, self._arrow.array(weights[there]), mask=absent)


def _text(weights: NDArray[np.float32]) -> str:
    """Weights [window] as JSON, without NaN; nothing where that is all there is."""
    there = weights[~np.isnan(weights)].astype(np.float64).round(attention.DECIMALS).tolist()
    return json.dumps(there, separators=(",", ":")) if there else ""


def _name(bundle: Bundle) -> dict[str, object]:
    manifest = bundle.manifest
    return {"name": manifest.name, "version": manifest.version, "sha256": bundle.sha256}


def _terms(bundle: Bundle) -> dict[str, object]:
    manifest = bundle.manifest
    return {"horizons": manifest.horizons, "unit": manifest.unit, "target_scale": manifest.target_scale}


# How a name ends -> what writes it. A new format is a class and a line here.
WRITERS: dict[str, Callable[[Path, Layout], Writer]] = {
    ".csv": CsvWriter,
    ".csv.gz": CsvWriter,
    whole_files.PARQUET: ParquetWriter,
}
