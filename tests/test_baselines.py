"""Baselines: strong where there is something to be learnt, and never told what comes after the window."""

import dataclasses
from datetime import time

import evaluation_ticks
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `export` is not installed")
pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
from tickcast.tick_files import Ticks
from tickcast_export import baselines, evaluation_features
from tickcast_export.dataset import Rows, changes
from tickcast_export.evaluation_features import WindowFeatures
from tickcast_export.evaluation_folds import Folds

pytestmark = pytest.mark.slow  # grows trees

HORIZONS = (1, 3)
WINDOW = evaluation_ticks.RULES.window
REFERENCE = ("bid", "ask")


def _saved(forecast: np.ndarray, happened: np.ndarray) -> np.ndarray:
    return 1 - np.square(forecast - happened).sum(axis=0) / np.square(happened).sum(axis=0)


def test_both_learn_what_the_book_tells_and_trees_where_a_line_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "TREES_MAX", 40)
    rows = evaluation_ticks.rows()
    (fold,) = Folds(rows, WINDOW, max(HORIZONS), lambda *_: "unseen").by_day(time())
    mid, features = rows.mid(REFERENCE), WindowFeatures(rows, REFERENCE, WINDOW)
    steps: list[int] = []
    fitted = baselines.fitted(features, lambda e: changes(mid, e, HORIZONS), fold, 1, lambda: steps.append(1))
    found = baselines.forecasts(fitted, features, fold.test, HORIZONS)
    saved = {name: _saved(forecast, changes(mid, fold.test, HORIZONS)) for name, forecast in found.items()}
    assert len(steps) == len(HORIZONS)
    assert saved["ridge"][0] > 0.3
    assert saved["trees"][0] > 0.4
    assert saved["ridge"][1] > 0.05
    assert saved["trees"][0] > saved["ridge"][0]  # moves come beyond a threshold


def test_features_are_a_function_of_the_window_s_own_ticks() -> None:
    ticks = evaluation_ticks.ticks(days=1, per_day=300)
    rows = evaluation_ticks.rows(ticks)
    end = rows.ends(WINDOW, 1)[100:101]
    given = WindowFeatures(rows, REFERENCE, WINDOW)
    first, last = int(rows.previous[end - WINDOW + 1][0]), int(rows.current[end][0])
    values = ticks.values.copy()
    values[:first] *= 3
    values[last + 1 :] *= 3
    others = Rows(dataclasses.replace(ticks, values=values), rows.current, rows.previous, rows.run)
    changed = WindowFeatures(others, REFERENCE, WINDOW)
    changed.scale, changed._size_scale = given.scale, given._size_scale
    np.testing.assert_allclose(changed.of(end), given.of(end), rtol=1e-5)
    values[first] *= 1.01
    assert not np.allclose(changed.of(end), given.of(end), rtol=1e-5)


def test_features_do_not_depend_on_how_many_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evaluation_ticks.rows()
    ends = rows.ends(WINDOW, 1)[::3]
    whole = WindowFeatures(rows, REFERENCE, WINDOW).of(ends)
    monkeypatch.setattr(evaluation_features, "CHUNK_ROWS", 100)
    np.testing.assert_allclose(WindowFeatures(rows, REFERENCE, WINDOW).of(ends), whole, rtol=1e-3, atol=1e-4)


def test_each_symbol_is_told_in_its_own_moves() -> None:
    rows = evaluation_ticks.rows(evaluation_ticks.ticks(symbols=("A", "B")))  # B's tick is ten times A's
    features = WindowFeatures(rows, REFERENCE, WINDOW)
    assert features.scale[1] / features.scale[0] == pytest.approx(10, rel=0.2)
    ends = rows.ends(WINDOW, 1)
    of = rows.ticks.symbol_ids[rows.current[ends]]
    spread = features.of(ends)[:, 0]
    assert spread[of == 0].mean() == pytest.approx(spread[of == 1].mean(), rel=0.2)


@pytest.mark.parametrize(("columns", "reference"), [(("last",), ("last",)), (("bid", "ask", "volume"), REFERENCE)])
def test_any_columns_make_features(columns: tuple[str, ...], reference: tuple[str, ...]) -> None:
    made = evaluation_ticks.ticks(days=1, per_day=200)
    ticks = Ticks(
        columns, *(made.symbols, made.symbol_ids, made.event_time_ns), made.values[:, : len(columns)], made.sequence
    )
    rows = evaluation_ticks.rows(ticks)
    features = WindowFeatures(rows, reference, WINDOW).of(rows.ends(WINDOW, 1))
    assert np.isfinite(features).all()
    assert features.std(axis=0).any()
