"""What the forecasts must be: the plain graph over the same ticks, one window after the other, by nobody's pipeline."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from bench import peers_files, peers_ticks
from bench.peers_ticks import Series
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Symbols whose forecasts are all checked: as many as there are partitions, one of each.
SYMBOLS_CHECKED = peers_ticks.PARTITIONS
BATCH = 32

Rows = NDArray[np.float32]
Reference = dict[str, tuple[NDArray[np.int64], Rows]]  # symbol -> event times [n], forecasts [n, horizons]
References = dict[str, Reference]


def references(models: Path, ticks: int) -> References:
    """By features: the frameworks' and tickcast's own; the network behind them is the same file."""
    network = _session(models / peers_files.PLAIN_GRAPH)
    own = _session(models / peers_files.CERTIFIED / "features.onnx")
    every = peers_ticks.series(ticks, SYMBOLS_CHECKED)
    return {
        peers_files.PLAIN: {symbol: _answers(of_one, plain_rows, network) for symbol, of_one in every.items()},
        peers_files.CERTIFIED: {
            symbol: _answers(of_one, lambda series: _certified_rows(series, own), network)
            for symbol, of_one in every.items()
        },
    }


def plain_rows(series: Series) -> Rows:
    """The frameworks' features [n, 8], in float64 and cast once."""
    bid, ask, bid_size, ask_size, _, _ = series.values.T
    more = np.column_stack([(bid + ask) / 2, (bid_size - ask_size) / (bid_size + ask_size)])
    return np.concatenate([series.values, more], axis=1).astype(np.float32)


def _certified_rows(series: Series, features: onnxruntime.InferenceSession) -> Rows:
    """tickcast's features [n - 1, 8]: a row needs the tick before."""
    seconds = np.diff(series.event_time_ns, prepend=series.event_time_ns[:1]) / 1e9
    ticks = np.column_stack([series.values[:, :4], seconds])
    rows: Rows = features.run(["row"], {"ticks": np.stack([ticks[:-1], ticks[1:]], axis=1)})[0]
    return rows


def _answers(
    series: Series, rows_of: Callable[[Series], Rows], network: onnxruntime.InferenceSession
) -> tuple[NDArray[np.int64], Rows]:
    windows = sliding_window_view(rows_of(series), peers_files.WINDOW, axis=0).transpose(0, 2, 1)
    name = network.get_inputs()[0].name
    parts = [
        network.run(None, {name: np.ascontiguousarray(windows[start : start + BATCH])})[0]
        for start in range(0, len(windows), BATCH)
    ]
    return series.event_time_ns[-len(windows) :], np.concatenate(parts)


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
