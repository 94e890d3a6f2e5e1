"""Hand-made features of a window, for the baselines: what an analyst would try first, from the raw ticks alone.

Behind the way of a tick: part of `tickcast evaluate`. A window's features use its own ticks only, so that a baseline
sees what the model sees. Prices are told in the symbol's own moves, sizes in its own sizes, both known from its first
ticks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tickcast.windows import NANOSECONDS

from tickcast_export.dataset import Indices, Rows

LAGS = (1, 2, 3, 4, 6, 9)  # rows back from the newest
SPANS = (2, 4, 8, 16, 32, 64)  # newest rows that sums and means go over
VOLATILITY_SPANS = (8, 64)
NEWEST = ("spread", "log_seconds", "lean", "log_bid_size", "log_ask_size", "net_flow")
LAGGED = ("change", "bid_flow", "ask_flow", "imbalance")
SUMMED = (*LAGGED, "moves", "log_seconds", "log_bid_size", "log_ask_size")
# A queue of so many mean sizes is about to be used up: to a line, its size says little, the nearness of its end much.
SHORT_QUEUES = (0.02, 0.1, 0.5)
# A symbol's own scale is that of its first rows: little of any day, and enough for a standard deviation.
SCALE_ROWS = 10_000
# Rows whose features are made at once: some 50 MiB.
CHUNK_ROWS = 65_536
SIZES = ("bid_size", "ask_size")
SECONDS_MIN = 1e-6

Array = NDArray[np.float64]
Series = dict[str, Array]  # name -> [rows]


class WindowFeatures:
    """Features of windows [n, names], computed when asked for."""

    def __init__(self, rows: Rows, reference_columns: Sequence[str], window: int) -> None:
        """`reference_columns`: one price, or bid and ask."""
        self._rows = rows
        self._window = window
        columns = rows.ticks.columns
        self._prices = [columns.index(column) for column in reference_columns]
        self._sizes = [columns.index(column) for column in SIZES] if set(SIZES) <= set(columns) else []
        known = {*self._prices, *self._sizes}
        self._other_names = {f"change of {column}": at for at, column in enumerate(columns) if at not in known}
        self.plain = 0  # how many features come first that need no line to be told more; known after the first call
        self.scale, self._size_scale = self._scales()  # [symbols]

    def of(self, ends: Indices) -> NDArray[np.float32]:
        """Of the windows that end with rows `ends`, ascending: [n, features]"""
        return np.concatenate([self._some(part) for part in _stretches(ends)])

    def unit(self, ends: Indices) -> Array:
        """What a price change is told in: [n], of each window's symbol"""
        unit: Array = self.scale[self._rows.ticks.symbol_ids[self._rows.current[ends]]]
        return unit

    def _some(self, ends: Indices) -> NDArray[np.float32]:
        first = int(ends[0]) - self._window + 1
        series = self._series(np.arange(first, int(ends[-1]) + 1))
        at = ends - first
        made = [*self._plain(series, at)]
        self.plain = len(made)
        made += self._crossed(series, at)
        return np.stack(made, axis=1).astype(np.float32)

    def _plain(self, series: Series, at: Indices) -> Iterator[Array]:
        """What trees can take from there by themselves."""
        others = [name for name in series if name in self._other_names]
        for name in (*NEWEST, *LAGGED, *others):
            if name in series:
                yield series[name][at]
        for name in (*LAGGED, *others):
            for lag in LAGS if name in series else ():
                if lag < self._window:
                    yield series[name][at - lag]
        for name in SUMMED:
            if name in series:
                yield from (sums / span for span, sums in self._sums(series[name], at, SPANS))
        for _, sums in self._sums(series["net_flow"], at, SPANS) if "net_flow" in series else ():
            yield np.sign(sums) * np.sqrt(np.abs(sums))  # the impact of an order grows with its root
        yield _rows_since(series["moves"] > 0, at, self._window)

    def _crossed(self, series: Series, at: Indices) -> Iterator[Array]:
        """Powers and products, for a line."""
        if "imbalance" not in series:
            return
        imbalance, bid_flow, ask_flow, change, lean, spread = (
            series[name][at] for name in ("imbalance", "bid_flow", "ask_flow", "change", "lean", "spread")
        )
        moving = [np.sqrt(sums) for _, sums in self._sums(series["moves"], at, VOLATILITY_SPANS)]
        told = (imbalance, imbalance**3, bid_flow, ask_flow, change)
        yield from (imbalance**3, imbalance**5)
        yield from (factor * one for factor in (*moving, spread, series["log_seconds"][at]) for one in (*told, lean))
        bid_size, ask_size = (np.expm1(series[name][at]) for name in ("log_bid_size", "log_ask_size"))
        for short in SHORT_QUEUES:
            for size in (bid_size, ask_size):
                near_its_end = short / (short + size)
                yield near_its_end
                yield from (near_its_end * one for one in (bid_flow, ask_flow, spread))

    def _sums(self, values: Array, at: Indices, spans: Sequence[int]) -> Iterator[tuple[int, Array]]:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        return ((span, sums[at + 1] - sums[at + 1 - span]) for span in spans if span <= self._window)

    def _series(self, rows: Indices) -> Series:
        """What each row says by itself."""
        ticks, places = self._rows.ticks, (self._rows.previous[rows], self._rows.current[rows])
        symbols = ticks.symbol_ids[places[1]]
        before, now = (ticks.values[place] for place in places)
        low, high = self._prices[0], self._prices[-1]
        scale = self.scale[symbols]
        change = (now[:, self._prices].mean(axis=1) - before[:, self._prices].mean(axis=1)) / scale
        seconds = (ticks.event_time_ns[places[1]] - ticks.event_time_ns[places[0]]) / NANOSECONDS
        series = {"change": change, "moves": np.abs(change), "log_seconds": np.log(np.maximum(seconds, SECONDS_MIN))}
        if low != high:
            series["spread"] = (now[:, high] - now[:, low]) / scale
        if self._sizes and low != high:
            series |= self._sides(before, now, self._size_scale[symbols])
            series["lean"] = series["imbalance"] * series["spread"] / 2  # how far the micro-price is off the mid
        return series | {name: now[:, place] - before[:, place] for name, place in self._other_names.items()}

    def _sides(self, before: Array, now: Array, scale: Array) -> Series:
        """Of the book's two sides; flows as in Cont, Kukanov and Stoikov, "The price impact of order book events"."""
        (bid_before, bid_size), (ask_before, ask_size) = (
            (np.maximum(before[:, place], 0.0) / scale, np.maximum(now[:, place], 0.0) / scale) for place in self._sizes
        )
        bid, ask = self._prices
        bid_change, ask_change = now[:, bid] - before[:, bid], before[:, ask] - now[:, ask]  # up: better
        return {
            "bid_flow": np.where(bid_change == 0, _ratio(bid_size, bid_before), np.sign(bid_change)),
            "ask_flow": np.where(ask_change == 0, _ratio(ask_size, ask_before), np.sign(ask_change)),
            "net_flow": _added(bid_change, bid_before, bid_size) - _added(ask_change, ask_before, ask_size),
            "imbalance": _ratio(bid_size, ask_size),
            "log_bid_size": np.log1p(bid_size),
            "log_ask_size": np.log1p(ask_size),
        }

    def _scales(self) -> tuple[Array, Array]:
        """Of each symbol its typical move and its mean size, by its first rows; 1 where it has none."""
        ticks, rows = self._rows.ticks, self._rows
        scales = np.ones((2, len(ticks.symbols)))
        symbols = ticks.symbol_ids[rows.current]
        starts = np.flatnonzero(np.diff(symbols, prepend=-1))
        for start, end in zip(starts, np.append(starts[1:], len(rows)), strict=True):
            some = slice(start, min(end, start + SCALE_ROWS))
            before, now = ticks.values[rows.previous[some]], ticks.values[rows.current[some]]
            moves = now[:, self._prices].mean(axis=1) - before[:, self._prices].mean(axis=1)
            sizes = now[:, self._sizes].mean() if self._sizes else 1.0
            scales[:, symbols[start]] = float(np.sqrt(np.square(moves).mean())) or 1.0, float(sizes) or 1.0
        return scales[0], scales[1]


def _added(price_change: Array, before: Array, now: Array) -> Array:
    """What was added to a side: its whole size when the price improved, its old one lost when it retreated."""
    return np.where(price_change >= 0, now, 0.0) - np.where(price_change <= 0, before, 0.0)


def _ratio(one: Array, other: Array) -> Array:
    """(one - other) / (one + other); 0 of nothing."""
    both = one + other
    return np.where(both > 0, (one - other) / np.where(both > 0, both, 1.0), 0.0)


def _rows_since(is_one: NDArray[np.bool_], at: Indices, most: int) -> Array:
    """Rows since the newest one that is: [n], at most `most`"""
    newest = np.maximum.accumulate(np.where(is_one, np.arange(len(is_one)), -most))
    return np.minimum(at - newest[at], most).astype(np.float64)


def _stretches(ends: Indices) -> Iterator[Indices]:
    """Parts of `ends` [n > 0] whose rows lie close enough together to be worked on at once."""
    chunk = ends // CHUNK_ROWS
    yield from np.split(ends, np.flatnonzero(np.diff(chunk)) + 1)
