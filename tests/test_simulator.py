"""The simulated market: the same for the same seed, a plausible book, and moderately predictable."""

from dataclasses import replace

import numpy as np
import pytest
from tickcast.tick_files import Ticks

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
from tickcast_export import simulator


@pytest.fixture(scope="module")
def ticks() -> Ticks:
    return simulator.simulate(40_000, symbols=2, seed=7)


def test_same_seed_same_ticks_and_another_seed_others() -> None:
    first, again, other = (simulator.simulate(500, seed=seed) for seed in (3, 3, 4))
    assert list(first) == list(again)
    assert list(first) != list(other)


def test_the_book_lies_on_the_price_grid_and_is_never_crossed_or_empty(ticks: Ticks) -> None:
    bid, ask, bid_size, ask_size = ticks.values.T
    steps = ticks.values[:, :2] / simulator.PRICE_STEP
    assert np.abs(steps - np.rint(steps)).max() < 1e-6
    assert set(np.rint((ask - bid) / simulator.PRICE_STEP).tolist()) == {1.0, 2.0}
    assert min(bid_size.min(), ask_size.min()) >= 1
    assert (ticks.values[:, 2:] % 1 == 0).all()


def test_times_start_at_a_fixed_date_and_only_go_forward_without_a_session_break(ticks: Ticks) -> None:
    gaps_s = np.diff(ticks.event_time_ns) / 1e9
    assert 0 < ticks.event_time_ns[0] - simulator.START_NS < 30e9
    assert gaps_s.min() >= 0
    assert gaps_s.max() < 60
    assert gaps_s.std() > 1.1 * gaps_s.mean()  # burstier than at random


def test_the_simulated_future_is_predictable_from_the_queues_but_only_in_part(ticks: Ticks) -> None:
    book = ticks.values[ticks.symbol_ids == 0]
    mid = book[:, :2].mean(axis=1)
    imbalance = np.log(book[:, 2] / book[:, 3])
    later = mid[10:] - mid[:-10]
    correlation = float(np.corrcoef(imbalance[:-10], later)[0, 1])
    assert 0.2 < correlation < 0.6


def test_trends_go_on_for_a_while(ticks: Ticks) -> None:
    book = ticks.values[ticks.symbol_ids == 0]
    mid = book[:, :2].mean(axis=1)
    past, later = mid[50:-20] - mid[:-70], mid[70:] - mid[50:-20]
    assert float(np.corrcoef(past, later)[0, 1]) > 0.05


def test_symbols_are_called_simulated_and_share_the_ticks_evenly() -> None:
    ticks = simulator.simulate(1_001, symbols=3)
    assert ticks.symbols == ("SIM-A", "SIM-B", "SIM-C")
    assert np.bincount(ticks.symbol_ids).tolist() == [334, 334, 333]


def test_a_market_goes_on_from_where_it_was(ticks: Ticks) -> None:
    later = simulator.simulate(2_000, symbols=2, seed=8, since=ticks)
    assert later.symbols == ticks.symbols
    assert ticks.event_time_ns[-1] < later.event_time_ns[0] < ticks.event_time_ns[-1] + 30e9
    for symbol in range(2):
        before, after = ticks.values[ticks.symbol_ids == symbol], later.values[later.symbol_ids == symbol]
        assert abs(before[-1, :2].mean() - after[0, :2].mean()) <= 3 * simulator.PRICE_STEP
    with pytest.raises(ValueError, match="2 symbols before, 3 to go on"):
        simulator.simulate(2_000, symbols=3, since=ticks)
    alone = replace(ticks, symbol_ids=np.zeros_like(ticks.symbol_ids))
    with pytest.raises(ValueError, match="no tick of some symbol"):
        simulator.simulate(2_000, symbols=2, since=alone)


def test_after_the_change_the_queues_say_the_opposite_and_moves_are_larger(ticks: Ticks) -> None:
    changed = simulator.simulate(40_000, symbols=2, seed=7, market=simulator.CHANGED)
    said, moved = [], []
    for one in (ticks, changed):
        book = one.values[one.symbol_ids == 0]
        mid, imbalance = book[:, :2].mean(axis=1), np.log(book[:, 2] / book[:, 3])
        later = mid[10:] - mid[:-10]
        said.append(float(np.corrcoef(imbalance[:-10], later)[0, 1]))
        moved.append(float(later.std()))
    assert -0.6 < said[1] < -0.1 < 0.1 < said[0]
    assert 1.2 < moved[1] / moved[0] < 1.8


@pytest.mark.parametrize(("count", "symbols"), [(10, 0), (10, 27), (2, 3)])
def test_impossible_numbers_are_refused(count: int, symbols: int) -> None:
    with pytest.raises(ValueError, match="1 to 26 symbols"):
        simulator.simulate(count, symbols)
