"""Small markets for the evaluation's tests: several days of a book whose next move its sizes tell."""

import dataclasses

import numpy as np
from tickcast.manifest import WindowRules
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast.tick_files import Ticks
from tickcast_export import dataset
from tickcast_export.dataset import Rows

DAY_NS = 86_400 * 1_000_000_000
FIRST_DAY = 20_000  # since the epoch: 2024-10-04
RULES = WindowRules(window=8, max_gap_s=60)
TOLD = 0.8  # share of ticks after which the imbalance alone decides


def ticks(days: int = 3, per_day: int = 1_500, seed: int = 1, symbols: tuple[str, ...] = ("A",)) -> Ticks:
    """Quotes a quarter of a second apart, the symbols in turn; each day begins at noon UTC."""
    random = np.random.default_rng(seed)
    count = days * per_day
    times = np.concatenate(
        [(FIRST_DAY + day) * DAY_NS + DAY_NS // 2 + np.arange(per_day) * 250_000_000 for day in range(days)]
    )
    ids = np.arange(count, dtype=np.int32) % len(symbols)
    values = np.empty((count, len(BOOK_COLUMNS)))
    for symbol in range(len(symbols)):
        of = ids == symbol
        values[of] = _book(int(of.sum()), 10.0**symbol, random)
    return Ticks(BOOK_COLUMNS, symbols, ids, times, values, np.zeros(count, np.int64))


def rows(made: Ticks | None = None) -> Rows:
    """The same as rows of windows."""
    return dataset.cut(ticks() if made is None else made, RULES)


def without_last_day(made: Ticks) -> Ticks:
    """All but the newest day."""
    kept = made.event_time_ns < made.event_time_ns.max() // DAY_NS * DAY_NS
    names = ("symbol_ids", "event_time_ns", "values", "sequence")
    return dataclasses.replace(made, **{name: getattr(made, name)[kept] for name in names})


def _book(count: int, tick: float, random: np.random.Generator) -> np.ndarray:
    """[count, 4]: a full bid and an empty ask are mostly followed by a rise."""
    bid_size, ask_size = random.integers(1, 40, (2, count))
    imbalance = (bid_size - ask_size) / (bid_size + ask_size)
    told = np.sign(imbalance) * (np.abs(imbalance) > 0.7)
    moves = np.where(random.random(count) < TOLD, told, random.choice([-1, 0, 0, 0, 1], count))
    bid = 1_000 + np.concatenate([[0], np.cumsum(moves)[:-1]])
    return np.column_stack([tick * bid, tick * (bid + 1), bid_size, ask_size])
