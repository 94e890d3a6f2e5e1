"""Coverage on a day of real quotes: no simulation is like them, most ticks leave the mid, moves come in whole ticks."""

from pathlib import Path

import numpy as np
import pytest
from band_feeds import Feed, Live, Seats, bands_of, errors_of, manifest_of, rolling, run
from tickcast import tick_files
from tickcast.tick_columns import BOOK_COLUMNS, TickColumns

QUOTES_A = Path(__file__).parents[2] / "shared" / "data" / "quotes_a.csv.gz"
HORIZONS = (1, 5, 10)
WINDOW = 16
DAY_NS, EVENING_NS = 86_400 * 10**9, 21 * 3_600 * 10**9  # a day of this market begins at nine in the evening
TICKS = 30_000  # of the last day
LENGTH = 2_000


@pytest.mark.slow
def test_on_a_day_of_quotes_bands_hold_as_much_as_they_say_where_the_exports_alone_do_not():
    """The forecast is a multiple of the book's imbalance, fitted on the days before; bands begin with the day before's
    errors."""
    if not QUOTES_A.is_file():
        pytest.skip("quotes_a is not there")
    ticks = tick_files.read_all([QUOTES_A], TickColumns({name: name for name in BOOK_COLUMNS}))
    bid, ask, bid_size, ask_size = ticks.values.T
    mids, imbalance = (bid + ask) / 2, (bid_size - ask_size) / (bid_size + ask_size)
    days = np.unique((ticks.event_time_ns - EVENING_NS) // DAY_NS, return_inverse=True)[1]
    before, last = days == days.max() - 1, np.flatnonzero(days == days.max())[:TICKS]
    train = np.flatnonzero(days < days.max() - 1)[: -max(HORIZONS)]
    factors = [
        float(imbalance[train] @ (mids[train + h] - mids[train]) / np.square(imbalance[train]).sum()) for h in HORIZONS
    ]
    forecasts = (imbalance[:, None] * factors).astype(np.float32)
    errors = errors_of(mids[before], forecasts[before], HORIZONS)[: -max(HORIZONS)]
    manifest = manifest_of(bands_of(errors), HORIZONS, WINDOW)

    seats = Seats(WINDOW)
    line = Live(manifest, seats.pool)
    rows = run(seats.take(), mids[last].tolist(), first=WINDOW - 1)
    half_widths = line.half_widths(Feed(rows, forecasts[last]), lambda: 200)
    line.close()
    found = errors_of(mids[last], forecasts[last], HORIZONS)
    covered, alone = (np.where(np.isnan(found), np.nan, found <= each) for each in (half_widths, half_widths[0]))
    shares = rolling(covered, LENGTH)
    assert np.abs(np.nanmean(covered, axis=0) - 0.9).max() < 0.005
    assert shares.min() > 0.75
    assert np.mean((shares < 0.88) | (shares > 0.92)) < 0.03
    assert np.abs(rolling(alone, LENGTH) - 0.9).max() > 0.05
