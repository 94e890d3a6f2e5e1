"""Bands that outlive their process: saved at any row and restored elsewhere, they are those of one that went on."""

import numpy as np
from band_feeds import HORIZONS, WINDOW, Live, Seats, bands_of, manifest_of, row
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tickcast import bands_saved
from tickcast.bands import LiveBands
from tickcast.windows import SymbolWindow

SYMBOLS, ROWS = 5, 400
BANDS = bands_of(np.abs(np.random.default_rng(7).normal(size=(4_000, len(HORIZONS)))))
MANIFEST = manifest_of(BANDS)


def market(seed: int) -> tuple[list[tuple[int, int, float]], NDArray[np.float32]]:
    """Rows as (symbol, position, mid), some after cuts, and their forecasts."""
    random = np.random.default_rng(seed)
    positions, mids, made = np.full(SYMBOLS, WINDOW - 1), np.zeros(SYMBOLS), []
    for at in range(ROWS):
        symbol = int(random.choice(SYMBOLS, p=[0.4, 0.3, 0.15, 0.1, 0.05]))
        if random.random() < 0.02:
            positions[symbol] += random.integers(WINDOW, 60)
        mids[symbol] += random.normal() * (1 if at < ROWS / 2 else 3)
        made.append((symbol, int(positions[symbol]), float(mids[symbol])))
        positions[symbol] += 1
    return made, random.normal(scale=0.3, size=(ROWS, len(HORIZONS))).astype(np.float32)


def saved(bands: LiveBands, windows: list[SymbolWindow]) -> bands_saved.Saved:
    rows = np.zeros(len(windows), bands_saved.dtype_of(bands))
    bands.flush()
    bands_saved.save(bands, *places(windows), rows)
    return rows


def places(windows: list[SymbolWindow]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    return np.array([each.slot for each in windows]), np.array([each.sequence for each in windows])


@settings(max_examples=15)
@given(st.integers(0, 1_000), st.integers(1, ROWS - 1), st.integers(0, 8))
def test_saved_at_any_row_and_restored_at_other_slots_and_counts_they_are_the_same_bands(seed, cut, spare):
    ticks, forecasts = market(seed)
    random, here, there = np.random.default_rng(seed), Seats(), Seats()
    windows = [here.take() for _ in range(SYMBOLS)]
    first = Live(MANIFEST, here.pool)
    made = []
    for at, (symbol, position, mid) in enumerate(ticks):
        if at == cut:
            rows = saved(first.bands, windows)
            sequences = [window.sequence for window in windows]
        (bands,) = first.bands.of([row(windows[symbol], position, mid)], forecasts[at : at + 1])
        windows[symbol].sequence = position + 1
        made.append(bands.half_widths)
    others = [there.take() for _ in range(spare)]
    shifts = [int(random.integers(-5, 500)) for _ in range(SYMBOLS)]
    again = [there.take() for _ in range(SYMBOLS)]
    for window, sequence, shift in zip(again, sequences, shifts, strict=True):
        window.sequence = sequence - shift
    second = Live(MANIFEST, there.pool)
    bands_saved.restore(second.bands, *places(again), rows)
    assert saved(second.bands, again).tobytes() == rows.tobytes()
    for at in range(cut, ROWS):
        symbol, position, mid = ticks[at]
        (bands,) = second.bands.of([row(again[symbol], position - shifts[symbol], mid)], forecasts[at : at + 1])
        assert bands.half_widths == made[at]
        if random.random() < 0.1:
            second.bands.flush()
    assert len(others) == spare
    first.close()
    second.close()
