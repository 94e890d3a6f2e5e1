"""What a run came to, from the topics alone: forecasts beside what then happened, latencies, errors.

Behind the way of a tick. Input records go through the bundle's window rules again, which gives each symbol's sampled
ticks; output records are laid beside the ticks that they name as their source. No number of the daemon's own is used.
"""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tickcast import codec, records
from tickcast.clients import Partition, Record
from tickcast.config import Config
from tickcast.manifest import Manifest
from tickcast.partition_state import windows_of
from tickcast.windows import Decision, Tick, Windows

from tickcast_export.scores import Score

Array = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """One symbol's sampled ticks in order, as rows of windows; what was forecast and what happened from each on."""

    symbol: str
    event_time_ns: Places  # [rows]
    run: Places  # [rows], ascending; no target reaches over a change of it
    mid: Array  # [rows]
    pairs: Array  # [rows, 2, columns]: the raw ticks (previous, current) that a feature row is made of
    forecast: Array  # [rows, horizons], NaN where the topic has none
    happened: Array  # [rows, horizons], NaN where the run ended before

    def answered(self) -> Places:
        """Rows with a forecast and everything that it was about."""
        return np.flatnonzero(np.isfinite(self.forecast + self.happened).all(axis=1))


@dataclass(frozen=True)
class Results:
    """A whole run. Latencies in microseconds, one per output record."""

    horizons: tuple[int, ...]
    series: tuple[Series, ...]
    latency_us: Array  # from the tick's Kafka timestamp (whole milliseconds) to sent
    own_latency_us: Array  # from received to sent: the daemon's own share

    def scores(self) -> tuple[Score, ...]:
        """Mean squared error at each horizon, over all symbols; empty where no forecast could be checked."""
        forecast, happened = self.checked()
        if not len(forecast):
            return ()
        errors = np.square(forecast - happened).mean(axis=0)
        persistence = np.square(happened).mean(axis=0)
        return tuple(Score(*one) for one in zip(self.horizons, errors.tolist(), persistence.tolist(), strict=True))

    def error_vs_persistence(self) -> float | None:
        """1 - squared error / persistence's, pooled over symbols and horizons: positive is better than no change.

        None where nothing moved or nothing could be checked.
        """
        forecast, happened = self.checked()
        persistence = float(np.square(happened).sum())
        return 1 - float(np.square(forecast - happened).sum()) / persistence if persistence else None

    def checked(self) -> tuple[Array, Array]:
        """Every forecast whose targets are known, and what happened: [n, horizons] each, in price units."""
        parts = [(one.forecast[one.answered()], one.happened[one.answered()]) for one in self.series]
        nothing = np.empty((0, len(self.horizons)))
        forecast = np.concatenate([nothing, *(part[0] for part in parts)])
        return forecast, np.concatenate([nothing, *(part[1] for part in parts)])


@dataclass
class _Rows:
    """A symbol's rows while they are read; arrays, since a million Python tuples would take a gigabyte."""

    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    event_time_ns: "array[int]" = field(default_factory=lambda: array("q"))
    run: "array[int]" = field(default_factory=lambda: array("q"))
    mid: "array[float]" = field(default_factory=lambda: array("d"))
    pairs: "array[float]" = field(default_factory=lambda: array("d"))
    runs: int = 0

    def take(self, tick: Tick, decision: Decision, reference: list[int]) -> None:
        if decision.row is None:
            # A tick that warms without a row begins a run; one that is skipped changes nothing.
            self.runs += decision.fate == "warming"
            return
        self.offsets.append(tick.offset)
        self.event_time_ns.append(tick.event_time_ns)
        self.run.append(self.runs)
        self.mid.append(sum(tick.values[i] for i in reference) / len(reference))
        self.pairs.extend(decision.row.previous)
        self.pairs.extend(decision.row.current)


def collect(config: Config, manifest: Manifest, ticks: Iterable[Record], forecasts: Iterable[Record]) -> Results:
    """Put a run together from its input and output topics; offsets ascend in each partition.

    Raises BadRecord for a tick that cannot be decoded: the demo plays none.
    """
    rows = _rows(config, manifest, ticks)
    arrays = {key: np.array(one.offsets, np.int64) for key, one in rows.items()}
    forecast = {key: np.full((len(offsets), len(manifest.horizons)), np.nan) for key, offsets in arrays.items()}
    latency_us, own_latency_us = array("d"), array("d")
    for record in forecasts:
        answer = records.decode(record.value or b"")
        latency_us.append((answer.sent_time_ns - answer.tick_time_ns) / 1e3)
        own_latency_us.append((answer.sent_time_ns - answer.received_time_ns) / 1e3)
        key = Partition(answer.topic, answer.partition), answer.symbol
        place = int(np.searchsorted(arrays[key], answer.offset)) if key in arrays else 0
        if key in arrays and place < len(arrays[key]) and arrays[key][place] == answer.offset:
            forecast[key][place] = answer.forecast
    series = [_series(key[1], one, forecast[key], manifest) for key, one in rows.items() if one.offsets]
    in_order = tuple(sorted(series, key=lambda one: one.symbol))
    return Results(manifest.horizons, in_order, np.array(latency_us), np.array(own_latency_us))


def _rows(config: Config, manifest: Manifest, ticks: Iterable[Record]) -> dict[tuple[Partition, str], _Rows]:
    decoder = codec.decoder(config.input, manifest.record_columns)
    reference = [manifest.record_columns.index(column) for column in manifest.reference_columns]
    limits = config.recovery
    windows: dict[Partition, Windows] = {}
    rows: dict[tuple[Partition, str], _Rows] = {}
    for record in ticks:
        if record.partition not in windows:
            windows[record.partition] = windows_of(manifest, limits)
        tick = decoder.decode(record)
        decision = windows[record.partition].decide(tick)
        rows.setdefault((record.partition, tick.symbol), _Rows()).take(tick, decision, reference)
    return rows


def _series(symbol: str, rows: _Rows, forecast: Array, manifest: Manifest) -> Series:
    mid, run = np.array(rows.mid), np.array(rows.run, np.int64)
    pairs = np.array(rows.pairs).reshape(len(mid), 2, len(manifest.columns))
    happened = _happened(mid, run, manifest.horizons)
    return Series(symbol, np.array(rows.event_time_ns, np.int64), run, mid, pairs, forecast, happened)


def _happened(mid: Array, run: Places, horizons: tuple[int, ...]) -> Array:
    """Change of the mid from each row to the one h rows later in its run: [rows, horizons], else NaN."""
    happened = np.full((len(mid), len(horizons)), np.nan)
    for at, ahead in enumerate(horizons):
        reached = run[ahead:] == run[:-ahead]
        happened[: len(mid) - ahead, at][reached] = (mid[ahead:] - mid[:-ahead])[reached]
    return happened


def percentile(values: Array, share: float) -> float | None:
    """The smallest of `values` that `share` of them do not exceed; None of none."""
    return float(np.sort(values)[math.ceil(share * len(values)) - 1]) if len(values) else None
