"""Pieces of a file answered apart give what the whole file gives."""

import backtests
import numpy as np
import pytest
from backtests import answered_here, assert_same, joined, parts_of, settings_with, ticks_of, toy
from hypothesis import given, settings
from hypothesis import strategies as st
from tickcast import backtest_pieces
from tickcast.backtest_pieces import DAY_NS, Cut, Pieces
from tickcast.config import InputConfig, RecoveryConfig
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules
from tickcast.tick_files import Ticks


def cuts_of(ticks: Ticks, window_rules: WindowRules, size: int, cut_at: int = -1, **sections: object) -> list[Cut]:
    """All pieces of `ticks`, of those under way also behind part `cut_at`."""
    pieces = Pieces(settings_with(**sections), toy(window_rules).bundle.manifest)
    cuts = []
    for number, part in enumerate(parts_of(ticks, size)):
        cuts += pieces.take(part)
        if number == cut_at:
            cuts += pieces.cut()
    cuts += pieces.cut()
    assert pieces.first_open is None
    assert sum(pieces.fates.values()) == len(ticks)
    return cuts


@settings(max_examples=60, deadline=None)
@given(
    backtests.steps,
    backtests.rules,
    backtests.market_rules,
    st.sampled_from([9, 500]),
    st.integers(3, 30),
    st.integers(0, 5),
)
def test_every_tick_gets_the_forecast_it_gets_in_one_piece(
    steps, window_rules, market_rules, replay_records_max, size, cut_at
) -> None:
    ticks, engine = ticks_of(steps), toy(window_rules)
    limits = RecoveryConfig(replay_records_max=replay_records_max)
    sections = {"input": InputConfig(**market_rules), "recovery": limits}
    config = settings_with(**sections)
    cuts = cuts_of(ticks, window_rules, size, cut_at, **sections)
    apart = [cut.answered(*backtest_pieces.answer(engine, config, cut.piece)) for cut in cuts]
    whole, _ = answered_here(engine, config, ticks)
    if not apart:
        assert not whole.size
        return
    found = joined(apart)
    assert_same(found.part(np.argsort(found.offsets)), whole)


def test_a_piece_is_a_symbols_day_and_brings_no_more_than_its_windows_need() -> None:
    ticks = ticks_of([(number % 2, 1, number, number + 1) for number in range(100)])  # 4 days and some hours
    cuts = cuts_of(ticks, WindowRules(window=3), size=13)
    for cut in cuts:
        own = cut.piece.ticks.offsets >= cut.piece.first
        assert len(set(cut.piece.ticks.event_time_ns[own] // DAY_NS)) == 1
    days = [cut.piece.ticks.event_time_ns[-1] // DAY_NS for cut in cuts]
    assert len({(cut.piece.symbol, day) for cut, day in zip(cuts, days, strict=True)}) == len(cuts) >= 8
    # Three rows rest on four ticks, and whether the first of them was sampled on the one before it.
    assert [int((cut.piece.ticks.offsets < cut.piece.first).sum()) for cut in cuts] == [0, 1, 5, 5, 5, 5, 5, 5, 5, 5]


def test_no_tick_from_before_a_long_silence_comes_along() -> None:
    ticks = ticks_of([(0, 30 if number in (50, 53) else 1, number, number + 1) for number in range(60)])
    cuts = cuts_of(ticks, WindowRules(window=3, max_gap_s=7_200.0), size=10)
    assert cuts[-1].piece.first == 53
    assert cuts[-1].piece.ticks.offsets.tolist() == list(range(50, 60))
    assert cuts[-1].expected.offsets.tolist() == [57, 58, 59]


def test_windows_that_would_depend_on_other_symbols_are_refused() -> None:
    ticks = ticks_of([(number % 3, 1, 1, 2) for number in range(6)])
    with pytest.raises(UsageError, match="more than 2 symbols"):
        cuts_of(ticks, WindowRules(window=3), size=10, recovery=RecoveryConfig(max_symbols=2))
