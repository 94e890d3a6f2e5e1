"""Ticks of files for the tests of backtests, and what backtests make of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from tickcast import backtest
from tickcast.backtest_answers import Answered
from tickcast.config import Config
from tickcast.engine import Engine
from tickcast.manifest import WindowRules
from tickcast.output_config import OutputConfig
from tickcast.tick_files import Ticks
from toy_engine import ToyEngine

COLUMNS = ("bid", "ask")
START_NS = 1_700_000_000_000_000_000
HOUR_NS = 3_600_000_000_000
SYMBOLS = ("A", "B", "")  # without a name a tick is a dead letter

# Symbol, hours since the tick before, bid, ask; the book may be crossed, or without a side.
steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-1, 9), st.integers(0, 3), st.integers(0, 3)), min_size=20, max_size=80
)
rules = st.builds(
    WindowRules,
    window=st.integers(2, 4),
    sampling=st.sampled_from(["all", "on_change", "grid_ms"]),
    change_columns=st.just(("bid",)),
    grid_ms=st.just(2 * HOUR_NS // 1_000_000),
    max_gap_s=st.sampled_from([None, 4 * 3_600.0]),
    order=st.sampled_from(["accept", "skip", "reset"]),
)
market_rules = st.fixed_dictionaries(
    {
        "one_sided": st.sampled_from(["accept", "skip", "reset", "dead_letter"]),
        "crossed": st.sampled_from(["accept", "skip", "reset", "dead_letter"]),
    }
)


def ticks_of(given: list[tuple[int, int, int, int]]) -> Ticks:
    """A file's ticks."""
    symbol_ids, hours, bids, asks = np.array(given).T
    return Ticks(
        COLUMNS,
        SYMBOLS,
        symbol_ids.astype(np.int32),
        START_NS + np.cumsum(hours) * HOUR_NS,
        np.stack([bids, asks], axis=1).astype(np.float64),
        np.zeros(len(given), np.int64),
    )


def parts_of(ticks: Ticks, size: int) -> Iterator[Ticks]:
    """As they are read."""
    return (ticks.slice(at, min(at + size, len(ticks))) for at in range(0, len(ticks), size))


def toy(window_rules: WindowRules) -> Engine:
    """A model that is arithmetic, with attention."""
    return ToyEngine(window_rules, COLUMNS, splits=False, attention=True)  # type: ignore[return-value]


def settings_with(**sections: object) -> Config:
    """What a backtest runs by, but for `sections`; also asked is what forecasts of A lean on."""
    sections = {"output": OutputConfig(attention=("A",)), **sections}
    return backtest.settings(Path("bundle"), None, threads=1).model_copy(update=sections)


def joined(answered: list[Answered]) -> Answered:
    """All of them as one."""
    return Answered._make(map(np.concatenate, zip(*answered, strict=True)))


def answered_here(engine: Engine, config: Config, ticks: Ticks, size: int = 7) -> tuple[Answered, dict[str, int]]:
    """What a backtest in one process makes of `ticks`, and what became of each."""
    local = backtest.LocalEngine(engine, config)
    answered = joined(list(local.answers(parts_of(ticks, size))))
    local.close()
    return answered, dict(local.fates)


def assert_same(found: Answered, wanted: Answered) -> None:
    """To the bit."""
    for name, column, expected in zip(Answered._fields, found, wanted, strict=True):
        np.testing.assert_array_equal(column, expected, name)
