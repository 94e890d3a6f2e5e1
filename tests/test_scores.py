"""Scores against a plain list of forecasts for each run of each symbol."""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given
from hypothesis import strategies as st
from manual_clock import ManualClock
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.manifest import WindowRules
from tickcast.score_counters import ScoreCounters
from tickcast.scores import BYTES_MAX, CHANGE_MAX, SYMBOLS_MAX, Scores

HORIZONS = (1, 3)
SCALE = 0.5
# Name and further labels of a counter -> what it is here.
FIELDS = {
    ("tickcast_forecasts_scored_total",): "scored",
    ("tickcast_forecast_squared_error_total",): "squared",
    ("tickcast_persistence_squared_error_total",): "persistence",
    ("tickcast_forecast_absolute_error_total", "above"): "above",
    ("tickcast_forecast_absolute_error_total", "below"): "below",
    ("tickcast_forecast_directions_total", "right"): "right",
    ("tickcast_forecast_directions_total", "wrong"): "wrong",
}

# A symbol's next row: of which symbol, how many positions are left out before it, whether its slot has a new owner,
# its mid, and whether it was answered.
Step = tuple[int, int, bool, float, bool]
steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([0, 0, 0, 1, 5]),
        st.sampled_from([False] * 9 + [True]),
        st.integers(-8, 8).map(float),
        st.sampled_from([True, True, False]),
    ),
    max_size=40,
)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create(ManualClock())
    yield board
    board.close()


def _scores(board: Board, rows: SimpleNamespace, horizons: tuple[int, ...] = HORIZONS, window: int = 4) -> Scores:
    manifest = manifest_with(
        columns=("bid", "ask"),
        reference_columns=("bid", "ask"),
        horizons=horizons,
        target_scale=SCALE,
        rules=WindowRules(window=window),
    )
    return Scores(board, manifest, rows)  # type: ignore[arg-type]  # of the pool it looks at who sits where


def _pool(slots: int = 8) -> SimpleNamespace:
    return SimpleNamespace(slots=slots, seated=np.ones(slots, np.int64))


def _totals(board: Board) -> dict[str, dict[str, float]]:
    """Horizon -> sums."""
    found: dict[str, dict[str, float]] = {}
    for sample in BoardReader(board.fd).samples():
        if field := FIELDS.get((sample.metric.name, *sample.labels[1:])):
            found.setdefault(sample.labels[0], {})[field] = sample.values[0]
    return found


def _add(scores: Scores, rows: list[tuple[int, int, float, list[float]]]) -> None:
    slots, positions, mids, forecasts = zip(*rows, strict=True)
    scores.add(np.array(slots), np.array(positions), np.array(mids), np.array(forecasts, np.float32))


def _expected(runs: list[list[tuple[float, list[float]]]]) -> dict[str, dict[str, float]]:
    totals = {str(horizon): dict.fromkeys(FIELDS.values(), 0.0) for horizon in HORIZONS}
    for run in runs:
        for place, (mid, _) in enumerate(run):
            for column, horizon in enumerate(HORIZONS):
                if place < horizon:
                    continue
                then, forecast = run[place - horizon]
                if np.isfinite(forecast[column]):
                    _score(totals[str(horizon)], mid - then, float(np.float32(forecast[column])))
    return totals


def _score(sums: dict[str, float], change: float, forecast: float) -> None:
    error = (forecast - change) / SCALE
    sums["scored"] += 1
    sums["squared"] += error**2
    sums["persistence"] += (change / SCALE) ** 2
    sums["above" if error > 0 else "below"] += abs(error)
    if change:
        sums["right" if forecast * change > 0 else "wrong"] += 1


@given(steps, st.lists(st.integers(1, 15), min_size=1, max_size=5))
def test_every_forecast_meets_its_tick_however_rows_are_handed_over(given_steps: list[Step], sizes: list[int]) -> None:
    board, pool = Board.create(ManualClock()), _pool()
    scores = _scores(board, pool)
    runs: dict[int, list[list[tuple[float, list[float]]]]] = {}
    positions: dict[int, int] = {}
    waiting: list[tuple[int, int, float, list[float]]] = []
    size = itertools.cycle(sizes)
    room = next(size)
    for number, (symbol, left_out, reseated, mid, answered) in enumerate(given_steps):
        if reseated:  # windows go between two turns: what was noted of them is worked off before
            if waiting:
                _add(scores, waiting)
                waiting = []
            pool.seated[symbol] += 1
        position = positions.get(symbol, 3) + 1 + left_out
        positions[symbol] = position
        if reseated or left_out or symbol not in runs:
            runs.setdefault(symbol, []).append([])
        forecast = [number / 7, -number / 3] if answered else [np.nan, np.nan]
        runs[symbol][-1].append((mid, forecast))
        waiting.append((symbol, position, mid, forecast))
        if len(waiting) >= room:
            _add(scores, waiting)
            waiting, room = [], next(size)
    if waiting:
        _add(scores, waiting)
    found, expected = _totals(board), _expected([run for each in runs.values() for run in each])
    board.close()
    assert found.keys() == expected.keys()
    for horizon, sums in expected.items():
        assert found[horizon] == pytest.approx(sums), horizon


def test_a_forecast_that_was_right_has_no_error(board: Board) -> None:
    scores = _scores(board, _pool())
    _add(scores, [(0, 5, 100.0, [2.0, 0.0]), (0, 6, 102.0, [0.0, 0.0])])
    happened = {"scored": 1.0, "persistence": (2.0 / SCALE) ** 2, "right": 1.0}
    assert _totals(board)["1"] == dict.fromkeys(FIELDS.values(), 0.0) | happened


def test_errors_to_either_side_are_told_apart(board: Board) -> None:
    scores = _scores(board, _pool())
    mids, forecasts = [100.0, 101.0, 100.0, 100.0], [3.0, 2.0, -1.0, 0.0]
    _add(scores, [(0, 5 + at, mid, [made, 0.0]) for at, (mid, made) in enumerate(zip(mids, forecasts, strict=True))])
    totals = _totals(board)["1"]
    # 3 for +1, 2 for -1, -1 for 0
    assert (totals["above"], totals["below"]) == ((2.0 + 3.0) / SCALE, 1.0 / SCALE)
    assert (totals["right"], totals["wrong"]) == (1.0, 1.0)  # where nothing moved there was no direction


def test_bands_are_counted_by_horizon(board: Board) -> None:
    counters = ScoreCounters(board, HORIZONS)
    counters.count_bands(np.array([[True, True], [True, False]]), np.array([[True, False], [True, False]]))
    samples = {(each.metric.name, *each.labels): each.values[0] for each in BoardReader(board.fd).samples()}
    counted = [
        [samples[f"tickcast_forecasts_{kind}_total", horizon] for horizon in "13"] for kind in ("banded", "covered")
    ]
    assert counted == [[2.0, 1.0], [2.0, 0.0]]


def test_a_horizon_as_long_as_the_window_is_not_scored(board: Board) -> None:
    scores = _scores(board, _pool(), horizons=(1, 4), window=4)
    _add(scores, [(0, position, float(position), [0.0, 0.0]) for position in range(3, 12)])
    assert {horizon: sums["scored"] for horizon, sums in _totals(board).items()} == {"1": 8.0}


def test_a_model_without_a_mid_scores_nothing(board: Board) -> None:
    scores = Scores(board, manifest_with(reference_columns=()), _pool())  # type: ignore[arg-type]
    scores.add(np.array([0]), np.array([1]), np.array([np.nan]), np.zeros((1, 2), np.float32))
    assert _totals(board) == {}


def test_a_mid_that_is_missing_scores_nothing(board: Board) -> None:
    scores = _scores(board, _pool())
    _add(scores, [(0, 5, np.nan, [1.0, 1.0]), (0, 6, 102.0, [1.0, 1.0]), (0, 7, 103.0, [0.0, 0.0])])
    assert _totals(board)["1"]["scored"] == 1.0


@pytest.mark.parametrize("broken", [1.7e308, -1.7e308, 1e200, 2 * CHANGE_MAX * SCALE])
def test_a_broken_price_leaves_the_sums_as_they_are(board: Board, broken: float) -> None:
    scores = _scores(board, _pool())
    mids = [100.0, 102.0, broken, -broken, 103.0, 104.0]
    _add(scores, [(0, 5 + at, mid, [1.0, 1.0]) for at, mid in enumerate(mids)])
    squares = ((2.0 - 1.0) / SCALE) ** 2 + 0.0
    expected = {"scored": 2.0, "squared": squares, "persistence": (2.0**2 + 1.0) / SCALE**2, "below": 1.0 / SCALE}
    assert expected.items() <= _totals(board)["1"].items()


def test_a_forecast_beyond_all_measure_is_not_scored(board: Board) -> None:
    scores = _scores(board, _pool())
    _add(scores, [(0, 5, 100.0, [3e38, np.inf]), (0, 6, 102.0, [1.0, 1.0])])
    assert _totals(board)["1"]["scored"] == 0.0


def test_of_far_horizons_fewer_symbols_are_scored(board: Board) -> None:
    scores = _scores(board, _pool(4 * SYMBOLS_MAX), horizons=(1, 1_000), window=1_024)
    _add(scores, [(slot, 5, 1.0, [0.0, 0.0]) for slot in range(0, SYMBOLS_MAX, 100)])
    assert 1_000 < len(scores.mids) < SYMBOLS_MAX
    assert scores.mids.nbytes + scores.made.nbytes <= BYTES_MAX


def test_memory_stays_bounded_whatever_the_symbols(board: Board) -> None:
    scores = _scores(board, _pool(4 * SYMBOLS_MAX))
    beyond = [(SYMBOLS_MAX + at, 5, 1.0, [0.0, 0.0]) for at in range(3)]
    _add(scores, [*beyond, (1, 5, 1.0, [0.0, 0.0])])
    _add(scores, [(SYMBOLS_MAX, 6, 1.0, [0.0, 0.0]), (1, 6, 1.0, [0.0, 0.0])])
    assert len(scores.mids) == SYMBOLS_MAX
    assert _totals(board)["1"]["scored"] == 1.0
