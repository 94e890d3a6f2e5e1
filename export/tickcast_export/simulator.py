"""A simulated market: best bid and ask of several symbols, with order flow that says something about the next ticks.

Not market data, and called simulated wherever it is shown. Per symbol an unseen value wanders; quotes follow it on a
price grid, with hysteresis as on a real book. Two slow processes push it: order flow, which also shows (with noise) in
the queues, and a trend, which shows in past moves only (momentum). A queue is short where the value is near to its
side's edge, as on a real book just before it gives way. All else is noise, so that most of a forecast's error stays.

A market may change its ways: after `simulate(..., since=ticks)` the same symbols go on from where they were.
"""

import itertools
import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast.tick_files import Ticks
from tickcast.windows import NANOSECONDS

START_NS: Final = 1_735_806_600 * NANOSECONDS  # 2025-01-02 08:30 UTC
SYMBOLS_MAX: Final = len(string.ascii_uppercase)
PRICE_STEP: Final = 0.01
PRICE_DECIMALS: Final = 2

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """How the simulated market behaves; lengths in ticks of one symbol, heights in price steps."""

    ticks_per_s: float = 5.0  # of one symbol, on average
    volatility: float = 0.1  # noise in the value per tick
    flow_push: float = 0.01  # standard deviation of the order flow's push per tick
    flow_memory: float = 0.93  # what is left of the order flow after one tick
    trend_push: float = 0.015  # the same for the trend
    trend_memory: float = 0.99
    hysteresis: float = 0.75  # how far the value strays from the quotes' centre before they follow
    queue_noise: float = 0.55  # of a queue's logarithm
    queue_slope: float = 0.9  # change of a queue's logarithm per step that the value is off centre
    queue_flow: float = 0.35  # change of a queue's logarithm per standard deviation of order flow
    wide_share: float = 0.03  # share of ticks with a spread of two steps


# The same market after its makers have changed their ways: they now fill the queue that is about to give way, so that
# it is long where it was short before; and all moves half as far again. As predictable as before, by other rules.
CHANGED: Final = Market(volatility=0.15, flow_push=0.015, trend_push=0.02, queue_slope=-0.9, queue_flow=-0.35)


def simulate(
    ticks: int, symbols: int = 4, seed: int = 1, market: Market | None = None, since: Ticks | None = None
) -> Ticks:
    """`ticks` simulated ticks of symbols `SIM-A`, `SIM-B`, ... in order of event time. Same seed, same ticks.

    With `since` they go on from the last of those, which are of as many symbols: times and prices, not the past that
    order flow and trend remember.
    """
    if not 1 <= symbols <= SYMBOLS_MAX or ticks < symbols:
        raise ValueError(f"1 to {SYMBOLS_MAX} symbols, and at least a tick for each")
    market = market or Market()
    start_ns = START_NS if since is None else int(since.event_time_ns.max())
    mids = [None] * symbols if since is None else _last_mids(since, symbols)
    counts = [ticks // symbols + (i < ticks % symbols) for i in range(symbols)]
    streams = [np.random.default_rng([seed, i]) for i in range(symbols)]
    times = [start_ns + _times(random, count, market) for random, count in zip(streams, counts, strict=True)]
    books = [_book(random, count, market, mid) for random, count, mid in zip(streams, counts, mids, strict=True)]
    event_time_ns = np.concatenate(times)
    order = np.argsort(event_time_ns, kind="stable")
    return Ticks(
        columns=BOOK_COLUMNS,
        symbols=tuple(f"SIM-{letter}" for letter in string.ascii_uppercase[:symbols]),
        symbol_ids=np.repeat(np.arange(symbols, dtype=np.int32), counts)[order],
        event_time_ns=event_time_ns[order],
        values=np.concatenate(books)[order],
        sequence=np.zeros(ticks, np.int64),
    )


def _last_mids(since: Ticks, symbols: int) -> list[float | None]:
    """Each symbol's last mid, in price steps. Raises ValueError where a symbol has none."""
    if len(since.symbols) != symbols:
        raise ValueError(f"{len(since.symbols)} symbols before, {symbols} to go on")
    places = [np.flatnonzero(since.symbol_ids == i)[-1:] for i in range(symbols)]
    if not all(place.size for place in places):
        raise ValueError("no tick of some symbol to go on from")
    return [float(since.values[place, :2].mean()) / PRICE_STEP for place in places]


def _times(random: np.random.Generator, count: int, market: Market) -> NDArray[np.int64]:
    """Nanoseconds since the start [count]: exponential gaps, never over 30 s, longer and shorter with activity."""
    activity = np.exp(0.6 * _wander(random, count, 0.995))
    gaps_s = np.clip(random.exponential(size=count) * activity, 1e-6, None)
    gaps_s = np.minimum(gaps_s / gaps_s.mean() / market.ticks_per_s, 30.0)
    return np.cumsum((gaps_s * NANOSECONDS).astype(np.int64))


def _book(random: np.random.Generator, count: int, market: Market, mid: float | None) -> Array:
    """bid, ask, bid_size, ask_size [count, 4], from `mid` on, in price steps; None: from anywhere."""
    flow = _wander(random, count, market.flow_memory)
    trend = _wander(random, count, market.trend_memory)
    noise = random.standard_t(5, count) / math.sqrt(5 / 3)  # unit variance, tails as of returns
    moves = market.volatility * noise
    # Flow and trend of one tick push the next, so that they can be seen before what they do.
    moves[1:] += (market.flow_push * flow + market.trend_push * trend)[:-1]
    value = np.cumsum(moves) + (random.integers(8_000, 16_000) if mid is None else mid)
    centre = _follow(value, market.hysteresis)
    wide = random.random(count) < market.wide_share
    up = random.random(count) < 0.5
    bid = np.floor(centre) - (wide & ~up)
    ask = np.floor(centre) + 1 + (wide & up)
    lean = market.queue_slope * (value - centre) + market.queue_flow * flow
    level = math.log(40) + 0.3 * _wander(random, count, 0.999)
    bid_size = np.exp(level + lean + market.queue_noise * random.standard_normal(count))
    ask_size = np.exp(level - lean + market.queue_noise * random.standard_normal(count))
    prices = np.round(np.stack([bid, ask], axis=1) * PRICE_STEP, PRICE_DECIMALS)
    return np.concatenate([prices, np.maximum(1.0, np.rint(np.stack([bid_size, ask_size], axis=1)))], axis=1)


def _wander(random: np.random.Generator, count: int, memory: float) -> Array:
    """A first-order autoregression [count] of unit variance."""
    shocks = random.standard_normal(count) * math.sqrt(1 - memory * memory)
    shocks[0] = random.standard_normal()
    return _accumulated(shocks, lambda state, shock: memory * state + shock)


def _follow(value: Array, hysteresis: float) -> Array:
    """The quotes' centre [count], halfway between two price steps: it moves only when the value has strayed from it."""
    value[0] = math.floor(value[0]) + 0.5
    return _accumulated(value, lambda centre, now: centre if abs(now - centre) <= hysteresis else math.floor(now) + 0.5)


def _accumulated(values: Array, step: Callable[[float, float], float]) -> Array:
    return np.fromiter(itertools.accumulate(values.tolist(), step), np.float64, len(values))
