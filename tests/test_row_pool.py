"""The pool of rows against a list for each symbol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tickcast.manifest import WindowRules
from tickcast.row_pool import SLOTS_MIN, RowPool
from tickcast.windows import Row, Tick, Windows

FEATURES = 2


def _windows(window: int) -> Windows:
    return Windows(WindowRules(window=window), ("value",), 10_000, 10_000)


def _features(offset: int) -> list[float]:
    return [float(offset), float(-offset)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.lists(st.lists(st.sampled_from("ABC"), min_size=1, max_size=12), max_size=8))
def test_windows_gathered_together_are_those_gathered_one_by_one(window, polls):
    windows, pool = _windows(window), RowPool(window, FEATURES)
    kept: dict[str, list[list[float]]] = {}
    offset = 0
    for symbols in polls:
        rows: list[Row] = []
        features, expected = [], []
        for symbol in symbols:
            row = windows.decide(Tick(offset, symbol, offset, (0.0,))).row
            if row is not None:
                rows.append(row)
                features.append(_features(offset))
                kept.setdefault(symbol, []).append(_features(offset))
                expected.append(list(kept[symbol][-window:]))
            offset += 1
        if not rows:
            continue
        due = [index for index, row in enumerate(rows) if row.due]
        gathered = pool.push_and_gather(rows, np.array(features, np.float32), due)
        assert gathered.tolist() == [expected[index] for index in due]
        for row in rows:
            count = row.window.count
            newest = pool.newest([row.window], count)[0].tolist()
            assert newest == kept[row.tick.symbol][-count:]


def _first_row(windows: Windows, symbol: str, offset: int) -> Row:
    """Of a symbol that comes anew: its third tick makes its first row."""
    for tick in range(2):
        assert windows.decide(Tick(offset + tick, symbol, offset, (0.0,))).row is None
    row = windows.decide(Tick(offset + 2, symbol, offset, (0.0,))).row
    assert row is not None
    return row


def test_a_slot_comes_back_with_its_window_and_not_before():
    windows, pool = Windows(WindowRules(window=2), ("value",), 10_000, 1), RowPool(2, FEATURES)
    features = np.ones((1, FEATURES), np.float32)
    row = _first_row(windows, "A", 0)
    pool.push([row], features)
    slot = row.window.slot
    other = _first_row(windows, "B", 3)  # A is forgotten, and its row not yet done with
    pool.push([other], features)
    assert other.window.slot != slot
    del row
    last = _first_row(windows, "C", 6)
    pool.push([last], features)
    assert last.window.slot == slot


@pytest.mark.parametrize("symbols", [SLOTS_MIN + 1, 4 * SLOTS_MIN])
def test_the_pool_grows_and_keeps_what_it_holds(symbols):
    windows, pool = _windows(2), RowPool(2, FEATURES)
    rows: list[Row] = []
    for offset in range(4 * symbols):
        row = windows.decide(Tick(offset, f"S{offset % symbols}", offset, (0.0,))).row
        if row is not None:
            rows.append(row)
            pool.push([row], np.array([_features(offset)], np.float32))
    assert symbols <= pool.slots < 2 * symbols + SLOTS_MIN
    held = pool.newest([row.window for row in rows[-symbols:]], 2)
    assert held[:, 1, 0].tolist() == [float(3 * symbols + symbol) for symbol in range(symbols)]
    assert held[:, 0, 0].tolist() == [float(2 * symbols + symbol) for symbol in range(symbols)]
