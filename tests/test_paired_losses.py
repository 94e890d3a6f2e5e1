"""Two bundles' losses on the same ticks: those that both forecast and whose outcome is known, and no others."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tickcast.clients import Partition
from tickcast.paired_losses import NEW, OLD, PairedLosses
from tickcast.windows import SymbolWindow, Tick

P0, P1 = Partition("ticks", 0), Partition("ticks", 1)
HORIZONS = (1, 3)
SCALE = 2.0


class Made(NamedTuple):
    """A row of a symbol's window at a position, and what both bundles forecast there, if anything."""

    partition: Partition
    symbol: int
    position: int
    mid: float
    old: tuple[float, float] | None
    new: tuple[float, float] | None


def window() -> SymbolWindow:
    """Somebody's."""
    return SymbolWindow(0, Tick(0, "S", 0, ()))


def fed(made: list[Made], horizons: tuple[int, ...] = HORIZONS) -> PairedLosses:
    """Rows at consecutive offsets, one a millisecond; forecasts of each side backwards."""
    paired = PairedLosses(horizons, SCALE)
    windows = {(each.partition, each.symbol): window() for each in made}
    for offset, each in enumerate(made):
        paired.row(
            each.partition, offset, 1_000 + offset, windows[each.partition, each.symbol], each.position, each.mid
        )
    for side in (OLD, NEW):
        for offset, each in reversed(list(enumerate(made))):
            values = each.new if side == NEW else each.old
            if values is not None:
                paired.forecast(side, each.partition, offset, values)
    return paired


def by_hand(made: list[Made]) -> list[tuple[float, float]]:
    """The same, looking for each outcome."""
    found = []
    for each in made:
        later = {
            (other.position - each.position): (at, other.mid)
            for at, other in enumerate(made)
            if (other.partition, other.symbol) == (each.partition, each.symbol)
        }
        if each.old is None or each.new is None or not all(ahead in later for ahead in range(1, max(HORIZONS) + 1)):
            continue
        changes = [later[ahead][1] - each.mid for ahead in HORIZONS]
        losses = [
            sum(((np.float32(value) - change) / SCALE) ** 2 for value, change in zip(values, changes, strict=True)) / 2
            for values in (each.old, each.new)
        ]
        found.append((later[max(HORIZONS)][0], *losses))
    return [losses for _, *losses in sorted(found)]


@st.composite
def markets(draw: st.DrawFn) -> list[Made]:
    """Symbols of two partitions in random order, positions with gaps."""
    positions: dict[tuple[Partition, int], int] = {}
    made = []
    forecast = st.none() | st.tuples(st.integers(-3, 3), st.integers(-3, 3))
    for _ in range(draw(st.integers(0, 40))):
        who = draw(st.sampled_from([(P0, 0), (P0, 0), (P0, 1), (P1, 0)]))
        positions[who] = positions.get(who, -1) + draw(st.sampled_from([1, 1, 1, 1, 2]))
        mid = float(draw(st.integers(0, 9)))
        made.append(Made(*who, positions[who], mid, draw(forecast), draw(forecast)))
    return made


@settings(max_examples=50)
@given(markets())
def test_losses_are_those_found_by_hand_in_the_order_of_the_outcomes(made):
    losses = fed(made).losses()
    assert [*zip(losses.old.tolist(), losses.new.tolist(), strict=True)] == [tuple(each) for each in by_hand(made)]


@settings(max_examples=25)
@given(markets())
def test_what_was_once_known_stays_as_it_was_when_more_comes(made):
    whole = fed(made).losses()
    for end in range(0, len(made), 4):
        part = fed(made[:end]).losses()
        np.testing.assert_array_equal(part.old, whole.old[: len(part.old)])


def test_a_forecast_of_a_tick_that_is_no_row_counts_for_nothing():
    paired = fed([Made(P0, 0, position, 1.0, (0, 0), (0, 0)) for position in range(4)])
    paired.forecast(OLD, P0, 77, (1, 1))
    paired.forecast(NEW, P1, 0, (1, 1))
    assert len(paired.losses().old) == 1


def test_a_broken_price_or_no_mid_is_left_out():
    made = [Made(P0, 0, position, 1.0, (0, 0), (0, 0)) for position in range(12)]
    made[4] = made[4]._replace(mid=1e300)
    made[8] = made[8]._replace(mid=math.nan)
    assert len(fed(made).losses().old) == len(made) - 3 - len({1, 3, 4, 5, 7, 8})


@pytest.mark.parametrize("values", [(math.nan, 0.0), (math.inf, 0.0), (3e38, 0.0)])
def test_a_forecast_that_means_nothing_is_left_out(values):
    made = [Made(P0, 0, position, 1.0, (0, 0), values if position == 1 else (0, 0)) for position in range(6)]
    assert len(fed(made).losses().old) == 2


def test_without_anything_there_is_nothing():
    losses = PairedLosses(HORIZONS, SCALE).losses()
    assert (len(losses.old), len(losses.new)) == (0, 0)
