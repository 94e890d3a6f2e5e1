"""Bands that adapt: what they know of at each row, whatever the polls; and how much of what happens they hold."""

import numpy as np
import pytest
from band_feeds import (
    HORIZONS,
    WINDOW,
    Feed,
    Live,
    Seats,
    bands_of,
    errors_of,
    manifest_of,
    rolling,
    row,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tickcast.bands import ROWS_MAX
from tickcast.bands_levels import BLOCK_ROWS, GAIN, allowed_misses
from tickcast.bands_table import STRAIN_LIMITS, BandTable

LEVEL = 0.9
RANDOM = np.random.default_rng(7)
BANDS = bands_of(np.abs(RANDOM.normal(size=(4_000, len(HORIZONS)))))
MANIFEST = manifest_of(BANDS)
# As two graphs' answers differ.
ROUNDING = 1e-7


@pytest.fixture
def live():
    made: list[Live] = []

    def make(pool, manifest=MANIFEST):
        made.append(Live(manifest, pool))
        return made[-1]

    yield make
    for each in made:
        each.close()


def market(seats: Seats, seed: int, count: int = 1_200) -> Feed:
    """Ticks of symbols that come more and less often, with cuts, and a threefold jump in the middle."""
    random = np.random.default_rng(seed)
    windows = [seats.take() for _ in range(5)]
    positions, mids = np.full(len(windows), WINDOW - 1), np.zeros(len(windows))
    rows = []
    for at in range(count):
        symbol = random.choice(len(windows), p=[0.4, 0.3, 0.15, 0.1, 0.05])
        if random.random() < 0.01:
            positions[symbol] += random.integers(WINDOW, 60)  # a cut, and rows of windows that are not full
        mids[symbol] += random.normal() * (1 if at < count / 2 else 3)
        rows.append(row(windows[symbol], int(positions[symbol]), float(mids[symbol])))
        positions[symbol] += 1
    return Feed(rows, random.normal(scale=0.3, size=(count, len(HORIZONS))).astype(np.float32))


def specified(feed: Feed) -> np.ndarray:
    """Half-widths row by row, as the module's words have them."""
    table = BandTable(BANDS, MANIFEST.target_scale)
    made = np.zeros((len(feed.rows), len(HORIZONS)))
    known: dict[object, list[tuple[int, np.ndarray]]] = {}  # of each window the steps of each row's outcomes
    placed: dict[tuple[object, int], int] = {}
    for at, each in enumerate(feed.rows):
        block, steps = each.position // BLOCK_ROWS, known.setdefault(each.window, [])
        strain = np.full(len(HORIZONS), table.start)
        blocks = sorted({number for number, _ in steps})
        for number in blocks:
            if number < block - 1:
                strain = strain + sum(step for one, step in steps if one == number)
                strain = np.clip(strain, *STRAIN_LIMITS)
        made[at] = table.half_widths(strain[None])[0]
        placed[each.window, each.position] = at
        step = np.zeros(len(HORIZONS))
        for column, ahead in enumerate(HORIZONS):
            path = [placed.get((each.window, each.position - back)) for back in range(ahead + 1)]
            if None not in path:
                then = path[-1]
                happened = each.tick.values[0] - feed.rows[then].tick.values[0]
                missed = abs(happened - feed.forecasts[then, column]) > made[then, column]
                step[column] = GAIN * (missed - allowed_misses(LEVEL))
        steps.append((block, step))
    return made


@given(st.integers(0, 1_000), st.sampled_from([1, 7, 40, 300, 1_200]))
@settings(max_examples=12)
def test_whatever_the_polls_bands_are_those_of_the_specification(seed, most):
    seats = Seats()
    feed, random = market(seats, seed, 400), np.random.default_rng(seed)
    line = Live(MANIFEST, seats.pool)
    found = line.half_widths(feed, lambda: int(random.integers(1, most + 1)))
    np.testing.assert_allclose(found, specified(feed), rtol=1e-12)
    line.close()


def test_a_row_between_two_polls_may_be_worked_off_or_not(live):
    seats = Seats()
    feed = market(seats, 3)
    late, early = live(seats.pool), live(seats.pool)
    wanted = late.half_widths(feed, lambda: 50)
    found = []
    for some in np.array_split(np.arange(len(feed.rows)), 100):
        made = early.bands.of([feed.rows[at] for at in some], feed.forecasts[some])
        found += [bands.half_widths for bands in made]
        early.bands.flush()
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("lumps", [False, True])
def test_forecasts_that_differ_by_rounding_make_the_same_bands(live, lumps):
    seats, random = Seats(), np.random.default_rng(5)
    window = seats.take()
    if lumps:  # the same few errors over and over
        moves, forecasts = random.choice([-0.5, 0, 0.5], 6_000, p=[0.05, 0.9, 0.05]), np.full((6_000, 3), 0.01)
    else:
        moves, forecasts = random.standard_t(3, 6_000), random.normal(scale=0.3, size=(6_000, 3))
    mids, noise = np.cumsum(moves), random.normal(scale=ROUNDING, size=forecasts.shape)
    manifest = manifest_of(bands_of(_ended(errors_of(mids, forecasts.astype(np.float32), HORIZONS))))
    rows = run(window, mids)
    made = [
        live(seats.pool, manifest).half_widths(Feed(rows, values.astype(np.float32)))
        for values in (forecasts, forecasts + noise)
    ]
    np.testing.assert_allclose(*made, rtol=1e-12)
    covered = rolling(_covered(mids, forecasts, made[0]), 5_000)
    assert np.abs(covered - LEVEL).max() < 0.02


def test_bands_of_a_window_begin_with_the_exports_and_are_counted(live):
    seats = Seats()
    line = live(seats.pool)
    window = seats.take()
    slot = window.slot
    feed = Feed(run(window, [100.0 * at for at in range(200)]), np.zeros((200, 3), np.float32))
    found = line.half_widths(feed)
    assert (found[-1] > 5 * found[0]).all()
    del window, feed
    line.bands.flush()
    successor = seats.take()
    assert successor.slot == slot
    (fresh,) = line.bands.of([row(successor, WINDOW - 1, 1.0)], np.zeros((1, 3), np.float32))
    assert fresh.half_widths == found[0].tolist()
    assert fresh.level == LEVEL
    assert line.begun.value == 2


def test_bands_of_horizons_that_no_window_proves_stay_the_exports(live):
    seats = Seats()
    manifest = manifest_of(BANDS, horizons=(1, WINDOW, 100))
    window = seats.take()
    found = live(seats.pool, manifest).half_widths(
        Feed(run(window, [100.0 * at for at in range(200)]), np.zeros((200, 3), np.float32))
    )
    assert found[-1, 0] > 5 * found[0, 0]
    assert (found[:, 1:] == found[0, 1:]).all()
    static = live(seats.pool, manifest_of(BANDS, horizons=(10, 20, 30)))
    feed = Feed(run(window, [100.0 * at for at in range(50)]), np.zeros((50, 3), np.float32))
    made = static.half_widths(feed)
    assert (made == made[0]).all()
    assert static.begun.value == 0


def test_what_was_passed_over_still_shows_how_far_off_the_forecasts_before_were(live):
    seats = Seats()
    window = seats.take()
    rows = run(window, [100.0 * at for at in range(4 * BLOCK_ROWS)])
    line = live(seats.pool)
    nothing = np.zeros((1, 3), np.float32)
    for begin in range(0, len(rows), 4):  # of four rows the last is answered
        line.bands.pass_over(rows[begin : begin + 3])
        (made,) = line.bands.of(rows[begin + 3 : begin + 4], nothing)
    assert made.half_widths[0] > BandTable(BANDS, 1.0).half_widths(np.full((1, 3), 2.4))[0, 0]
    line.bands.flush()
    assert line.seen[0] == 15  # of 16 answered: what came after the last is not known
    assert line.covered[0] == 0


def test_notes_are_worked_off_in_the_idle_or_when_there_are_many(live):
    seats = Seats()
    line, windows = live(seats.pool), [seats.take() for _ in range(ROWS_MAX)]
    for position in (WINDOW - 1, WINDOW):
        for window in windows[:10]:
            line.bands.of([row(window, position, 1.0)], np.zeros((1, 3), np.float32))
    line.turn()
    line.bands.turn()
    assert line.seen[0] == 0
    line.clock.advance(1.0)
    line.turn()
    assert line.seen[0] == 0
    line.bands.turn()
    assert line.seen[0] == 10
    rows = [row(window, WINDOW + 1, 1.0) for window in windows]
    line.bands.of(rows, np.zeros((len(rows), 3), np.float32))
    line.turn()
    assert line.seen[0] == 20


def test_a_symbol_that_needs_its_outcomes_known_is_worked_off_in_the_next_idle_turn(live):
    seats = Seats()
    line, rows = live(seats.pool), run(seats.take(), range(3 * BLOCK_ROWS))
    for each in rows[: BLOCK_ROWS - WINDOW + 2]:
        line.bands.of([each], np.zeros((1, 3), np.float32))
    line.turn()
    line.bands.turn()
    assert line.seen[0] == BLOCK_ROWS - WINDOW + 1


# -- how much they hold, in simulated markets


JUMP, ENDS = 8_000, 16_000


def _covered(mids, forecasts, half_widths):
    errors = errors_of(mids, forecasts.astype(np.float32), HORIZONS)
    return np.where(np.isnan(errors), np.nan, errors <= half_widths)


def _ended(errors):
    return errors[: -max(HORIZONS)]


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "whole ticks"])
def test_after_a_threefold_jump_of_simulated_volatility_coverage_is_back_and_was_never_far(live, kind):
    random = np.random.default_rng(11)
    changes = random.standard_t(3, ENDS) if kind == "heavy tails" else random.normal(size=ENDS)
    volatility = np.where(np.arange(ENDS) < JUMP, 1.0, 3.0)
    changes *= volatility
    mids = np.cumsum(np.round(changes / 1.5) * 1.5 if kind == "whole ticks" else changes)
    forecasts = (0.3 * volatility[:, None] * random.normal(size=(ENDS, 3))).astype(np.float32)
    calm = errors_of(mids[:JUMP], forecasts[:JUMP], HORIZONS)
    seats = Seats()
    line = live(seats.pool, manifest_of(bands_of(_ended(calm))))
    half_widths = line.half_widths(Feed(run(seats.take(), mids), forecasts), lambda: int(random.integers(1, 100)))
    shares = rolling(_covered(mids, forecasts, half_widths), 2_000)  # by their first row
    assert shares.min() > 0.75
    assert shares.min() > 0.85  # what this gain does
    back = shares[JUMP + 5_000 - 2_000]
    assert back.min() > 0.88
    assert back.max() < 0.92
    counted = line.covered / line.seen  # what the daemon tells
    assert counted == pytest.approx(np.full(3, LEVEL), abs=0.01)


def test_half_widths_of_the_export_alone_would_not_do():
    """What is tested above is no property of the market."""
    random = np.random.default_rng(11)
    changes = random.normal(size=ENDS) * np.where(np.arange(ENDS) < JUMP, 1.0, 3.0)
    mids, forecasts = np.cumsum(changes), np.zeros((ENDS, 3), np.float32)
    bands = bands_of(_ended(errors_of(mids[:JUMP], forecasts[:JUMP], HORIZONS)))
    static = np.full((ENDS, 3), np.array(bands.half_widths)[bands.levels.index(LEVEL)])
    assert rolling(_covered(mids, forecasts, static), 2_000)[JUMP + 3_000].max() < 0.6
