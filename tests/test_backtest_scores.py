"""Scores of a backtest against a plain look at every tick and the one so far ahead of it."""

import itertools
from math import isnan, sqrt

import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given, settings
from hypothesis import strategies as st
from tickcast import backtest_scores
from tickcast.backtest_answers import Answered
from tickcast.backtest_scores import BacktestScores, Score

HORIZONS = (1, 3)
SCALE = 0.5
MANIFEST = manifest_with(horizons=HORIZONS, target_scale=SCALE, reference_columns=("bid", "ask"))

# Symbol, positions left out before the tick, whether it is the first of a new window, mid, forecast of every horizon.
steps = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.sampled_from([0, 0, 0, 0, 4]),
        st.sampled_from([False] * 12 + [True]),
        st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.5, float("nan"), 1e300]),
        st.sampled_from([-1.0, 0.0, 0.25, 2.0, float("nan")]),
    ),
    max_size=60,
)


def ticks_of(given_steps: list[tuple[str, int, bool, float, float]]) -> tuple[Answered, list[int]]:
    """The ticks, and the run of each: what a cut or a new window begins."""
    positions: dict[str, int] = {}
    runs: dict[str, int] = {}
    at, run_of, numbers = [], [], itertools.count()
    for symbol, gap, is_anew, _, _ in given_steps:
        if symbol not in positions or is_anew:
            positions[symbol], runs[symbol] = 2, next(numbers)
        else:
            positions[symbol] += 1 + gap
            runs[symbol] = next(numbers) if gap else runs[symbol]
        at.append(positions[symbol])
        run_of.append(runs[symbol])
    symbols, _, _, mids, made = zip(*given_steps, strict=True) if given_steps else ((), (), (), (), ())
    count = len(given_steps)
    forecasts = np.repeat(np.array(made, np.float32)[:, None], len(HORIZONS), axis=1)
    offsets = np.arange(count)
    none = np.empty((len(symbols), 0), np.float32)
    return Answered(
        np.array(symbols, np.object_), offsets, offsets, np.array(mids), np.array(at), forecasts, none
    ), run_of


def plainly(ticks: Answered, run_of: list[int], ahead: int) -> Score:
    by_run: dict[int, list[int]] = {}
    for index, run in enumerate(run_of):
        by_run.setdefault(run, []).append(index)
    pairs = [pair for run in by_run.values() for pair in zip(run, run[ahead:], strict=False)]
    seen = []
    for before, after in pairs:
        happened, made = ticks.mids[after] - ticks.mids[before], float(ticks.forecasts[before, 0])
        if abs(happened) < 1e6 * SCALE and not isnan(made):
            seen.append((happened, made))
    count, moved = len(seen), [(happened, made) for happened, made in seen if happened]
    persistence = sum(happened**2 for happened, _ in seen)
    squared = sum((made - happened) ** 2 for happened, made in seen)
    nan = float("nan")
    return Score(
        ahead,
        count,
        sqrt(squared / count) if count else nan,
        1 - squared / persistence if persistence else (nan if not squared else -float("inf")),
        sum(made - happened for happened, made in seen) / count if count else nan,
        sum(made * happened > 0 for happened, made in moved) / len(moved) if moved else nan,
    )


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(1, 9), st.integers(1, 9))
def test_each_forecast_is_scored_once_by_the_tick_it_is_about_within_its_run(given_steps, size, together) -> None:
    ticks, run_of = ticks_of(given_steps)
    scores = BacktestScores(MANIFEST, together)
    for at in range(0, ticks.size, size):
        scores.add(ticks.part(slice(at, at + size)))
    found = scores.scores()
    assert scores.scores() == found or any(isnan(value) for score in found for value in score)  # asking changes nothing
    for score, horizon in zip(found, HORIZONS, strict=True):
        wanted = plainly(ticks, run_of, horizon)
        assert score[:2] == wanted[:2]
        np.testing.assert_allclose(score[2:], wanted[2:], rtol=1e-9)


def test_of_more_ticks_than_are_kept_the_oldest_go_unscored() -> None:
    symbols = [f"S{number}" for number in range(10)]
    ticks, _ = ticks_of([(symbol, 0, False, float(step), 1.0) for step in range(2) for symbol in symbols])  # type: ignore[misc]
    scores = BacktestScores(MANIFEST, together_ticks=1, kept_ticks_max=4)
    scores.add(ticks.part(slice(0, 10)))
    scores.add(ticks.part(slice(10, 20)))
    assert scores.scores()[0] == Score(1, 4, 0.0, 1.0, 0.0, 1.0)


def test_the_table_names_the_unit() -> None:
    made = backtest_scores.table([Score(1, 1_234, 0.5, 0.25, -0.01, 0.6)], "USD")
    assert [column.header for column in made.columns][2] == "error, USD"
    assert [next(iter(column.cells)) for column in made.columns] == ["1", "1,234", "0.5", "25.0%", "-0.01", "60.0%"]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_score_is_no_error(count: int) -> None:
    scores = BacktestScores(MANIFEST)
    if count:
        scores.add(ticks_of([("A", 0, False, 1.0, 1.0)])[0])
    assert [score.scored for score in scores.scores()] == [0, 0]
