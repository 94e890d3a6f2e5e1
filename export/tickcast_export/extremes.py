"""Windows of raw ticks that no market day holds, for certificates: kind -> one window [ticks, columns].

Where arithmetic goes wrong without anybody noticing: float64 prices cut to float32, logarithms of nothing, sums of
numbers of unlike size. Same seed, same windows.
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tickcast_export.features import COLUMNS

Ticks = NDArray[np.float64]
Values = NDArray[np.float64] | NDArray[np.int64] | float
Random = np.random.Generator

WINDOWS_OF_A_KIND = 4

# At this price a one-tick move is 1.7e-7 of it: less than float32 can tell.
PRICE, PRICE_TICK = 60_000.0, 0.01


def book_windows(length: int, seed: int = 0) -> dict[str, Ticks]:
    """Kind -> windows [n, length, columns] of a book with bid, ask, their sizes and the seconds between ticks."""
    return {kind: _several(make, length, seed) for kind, make in BOOKS.items()}


def plain_windows(length: int, columns: int, seed: int = 0) -> dict[str, Ticks]:
    """Kind -> windows [n, length, columns] of columns that nothing is known of."""
    return {kind: _several(functools.partial(_plain, make, columns), length, seed) for kind, make in PLAIN.items()}


def _plain(make: Callable[[tuple[int, int], Random], Ticks], columns: int, length: int, random: Random) -> Ticks:
    return make((length, columns), random)


def _several(make: Callable[[int, Random], Ticks], length: int, seed: int) -> Ticks:
    random = np.random.default_rng(seed)
    return np.stack([make(length, random) for _ in range(WINDOWS_OF_A_KIND)])


def _book(length: int, **columns: Values) -> Ticks:
    return np.column_stack([np.broadcast_to(columns[name], length) for name in COLUMNS]).astype(np.float64)


def _of_scale(length: int, random: Random, price: float, size: float) -> Ticks:
    bid = price * np.exp(0.1 * random.normal(size=length))
    return _book(
        length,
        bid=bid,
        ask=bid * (1 + 0.1 * random.random(length)),
        bid_size=size * random.random(length),
        ask_size=size * random.random(length),
        seconds_since_previous=random.exponential(size=length),
    )


def _ladder(length: int, random: Random, spreads: tuple[int, ...], **columns: Values) -> Ticks:
    """A price that walks by single ticks at `PRICE`, with spreads of so many ticks."""
    steps = random.integers(-1, 2, length).cumsum()
    sizes = {"bid_size": random.integers(1, 50, length), "ask_size": random.integers(1, 50, length)}
    prices = {
        "bid": np.round(PRICE + steps * PRICE_TICK, 2),
        "ask": np.round(PRICE + (steps + random.choice(spreads, length)) * PRICE_TICK, 2),
    }
    return _book(length, **(prices | sizes | {"seconds_since_previous": random.exponential(size=length)} | columns))


BOOKS: dict[str, Callable[[int, Random], Ticks]] = {
    "constant": lambda length, random: _book(
        length, bid=1000, ask=1001, bid_size=5, ask_size=7, seconds_since_previous=0.25
    ),
    "huge": lambda length, random: _of_scale(length, random, 1e12, 1e15),
    "tiny": lambda length, random: _of_scale(length, random, 1e-8, 1e-8),
    "one_tick_spread": lambda length, random: _ladder(length, random, (1,)),
    "one_tick_gap": lambda length, random: _ladder(length, random, (1, 2)),
    "zero_size": lambda length, random: _ladder(
        length, random, (1,), bid_size=random.integers(0, 2, length), ask_size=0
    ),
    "zero_seconds": lambda length, random: _ladder(length, random, (1,), seconds_since_previous=0.0),
    "long_gap": lambda length, random: _ladder(
        length, random, (1,), seconds_since_previous=1e6 * random.random(length)
    ),
    "empty_side": lambda length, random: _ladder(length, random, (1,), bid=0.0, bid_size=0.0),
}

PLAIN: dict[str, Callable[[tuple[int, int], Random], Ticks]] = {
    "random": lambda shape, random: random.normal(size=shape),
    "constant": lambda shape, random: np.broadcast_to(random.normal(size=(1, shape[1])), shape),
    "zero": lambda shape, random: np.zeros(shape),
    "huge": lambda shape, random: 1e6 * random.normal(size=shape),
    "tiny": lambda shape, random: 1e-6 * random.normal(size=shape),
}
