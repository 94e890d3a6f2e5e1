"""The job that every framework gets: decode, features, windows, batched runs, encode. Imported by their programs.

Written once and as fast as plain Python and numpy get it, so that the frameworks differ in what is theirs: how records
come, how they are batched, where windows are kept, how forecasts go.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import orjson

WINDOW = 64
FEATURES = 8
# Windows in one run: at 32 they still fit the caches, at 512 each takes a third longer.
RUN_WINDOWS = 32

Tick = dict[str, Any]


class Place(NamedTuple):
    """Where the driver wants it to run: read from the environment."""

    bootstrap_servers: str
    input_topic: str
    output_topic: str
    group: str
    model: str
    threads: int

    @classmethod
    def given(cls) -> "Place":
        """What this process was started with."""
        words = [os.environ[f"PEERS_{name.upper()}"] for name in cls._fields[:-1]]
        return cls(*words, threads=int(os.environ["PEERS_THREADS"]))


class Forecast(NamedTuple):
    """A record for the output topic."""

    key: bytes
    value: bytes


class Ring:
    """One symbol's window: rows [2 * window, features], each written twice, so that any window is one view."""

    __slots__ = ("count", "rows")

    def __init__(self, state: bytes | None = None) -> None:
        """Empty, or what `state` was taken of."""
        if state is None:
            self.rows = np.zeros((2 * WINDOW, FEATURES), np.float32)
            self.count = 0
        else:
            self.rows = np.frombuffer(state, np.float32, offset=8).reshape(2 * WINDOW, FEATURES).copy()
            self.count = int.from_bytes(state[:8], "little")

    def state(self) -> bytes:
        """All of it, for a framework's store."""
        return self.count.to_bytes(8, "little") + self.rows.tobytes()

    def push(self, tick: Tick) -> np.ndarray | None:
        """The window [window, features] with this tick as its newest row, where it is full."""
        at = self.count % WINDOW
        self.rows[at] = self.rows[at + WINDOW] = features(tick)
        self.count += 1
        # A copy: the symbol's next tick of the same batch overwrites the oldest row.
        return self.rows[at + 1 : at + 1 + WINDOW].copy() if self.count >= WINDOW else None


class Network:
    """The model file, run over many windows at once."""

    def __init__(self, model: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # As tickcast has it, and faster here for everyone: a spinning pool takes the broker's and the client's time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def answer(self, ticks: Sequence[Tick], windows: Sequence[np.ndarray]) -> Iterator[Forecast]:
        """A forecast for each tick and the window [window, features] that ends with it."""
        for start in range(0, len(ticks), RUN_WINDOWS):
            batch = np.stack(windows[start : start + RUN_WINDOWS])  # [n, window, features]
            values = self._session.run(None, {self._input: batch})[0].tolist()
            for tick, forecast in zip(ticks[start : start + RUN_WINDOWS], values, strict=True):
                yield encode(tick, forecast)


class Forecaster:
    """Windows by symbol, kept in the process, and the model over them."""

    def __init__(self, place: Place) -> None:
        self._network = Network(place.model, place.threads)
        self._rings: dict[str, Ring] = {}

    def answer(self, records: Iterable[bytes]) -> Iterator[Forecast]:
        """A forecast for each JSON tick whose symbol has a full window, in order."""
        ticks, windows = [], []
        for record in records:
            tick = orjson.loads(record)
            ring = self._rings.get(tick["symbol"])
            if ring is None:
                ring = self._rings[tick["symbol"]] = Ring()
            window = ring.push(tick)
            if window is not None:
                ticks.append(tick)
                windows.append(window)
        return self._network.answer(ticks, windows)


def features(tick: Tick) -> tuple[float, ...]:
    """One row of the model's input."""
    bid, ask, bid_size, ask_size = tick["bid"], tick["ask"], tick["bid_size"], tick["ask_size"]
    imbalance = (bid_size - ask_size) / (bid_size + ask_size)
    return bid, ask, bid_size, ask_size, tick["last"], tick["last_size"], (bid + ask) / 2, imbalance


def encode(tick: Tick, forecast: list[float]) -> Forecast:
    """The record of one forecast, keyed by symbol."""
    symbol = tick["symbol"]
    value = {"symbol": symbol, "event_time_ns": tick["event_time_ns"], "forecast": forecast}
    return Forecast(symbol.encode(), orjson.dumps(value))
