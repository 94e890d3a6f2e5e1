"""The evaluation: figures that are known beforehand come out, and nothing in-sample passes for more."""

import json
import re
import sys
from collections.abc import Callable
from datetime import time
from html.parser import HTMLParser
from pathlib import Path

import evaluation_ticks
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `export` is not installed")
pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
from tickcast import cli, tick_files
from tickcast_export import baselines, evaluation, evaluation_json, evaluation_report
from tickcast_export.dataset import Indices, Rows, changes
from tickcast_export.evaluation import Evaluation, Question
from tickcast_export.evaluation_folds import Exposure, Folds
from tickcast_export.evaluation_report import Evaluated
from tickcast_export.evaluation_scores import MODEL, Drawing

HORIZONS = (1, 3)
REFERENCE = ("bid", "ask")
WINDOW = evaluation_ticks.RULES.window
VOID = {"meta", "br", "link", "img"}


class Told:
    """Forecasts that are what happens, times a factor, plus some."""

    def __init__(self, rows: Rows, factor: float, plus: float = 0.0) -> None:
        self._mid = rows.mid(REFERENCE)
        self._factor, self._plus = factor, plus

    def of(self, ends: Indices, step: Callable[[int], None]) -> np.ndarray:
        step(len(ends))
        return self._factor * changes(self._mid, ends, HORIZONS) + self._plus


class Silent:
    def begin(self, text: str, count: int) -> None:
        """Not of interest."""

    def advance(self, count: int = 1) -> None:
        """Not of interest."""


@pytest.fixture(scope="module")
def rows() -> Rows:
    return evaluation_ticks.rows(evaluation_ticks.ticks(days=4, per_day=800))


def _evaluate(
    rows: Rows, factor: float, plus: float = 0.0, known: Callable[[int, int], Exposure] = lambda *_: "unseen"
) -> Evaluation:
    folds = Folds(rows, WINDOW, max(HORIZONS), known).by_day(time())
    question = Question(rows, WINDOW, HORIZONS, REFERENCE, (0.6, 1.5), folds, False, Drawing(draws=200))
    return evaluation.evaluate(question, Told(rows, factor, plus), Silent())


def test_half_of_what_happens_saves_three_quarters_of_the_error(rows: Rows) -> None:
    for one in _evaluate(rows, 0.5).pooled:
        of = one.by[MODEL]
        assert of["below_persistence"] == pytest.approx((0.75, 0.75, 0.75))
        assert of["slope"] == pytest.approx((2, 2, 2))
        assert of["intercept"] == pytest.approx((0, 0, 0), abs=1e-9)
        assert of["kappa"].mean == pytest.approx(1)


def test_no_change_saves_nothing_and_says_no_direction(rows: Rows) -> None:
    for one in _evaluate(rows, 0.0).pooled:
        assert one.by[MODEL]["below_persistence"] == pytest.approx((0, 0, 0))
        assert one.by[MODEL]["kappa"].mean == pytest.approx(0)
        assert one.by[MODEL]["exceeds_half_spread"].mean == 0
        assert np.isnan(one.by[MODEL]["net_mean"].mean)


def test_a_bias_is_seen_as_one(rows: Rows) -> None:
    of = _evaluate(rows, 1.0, plus=0.25).pooled[0].by[MODEL]
    assert of["bias"] == pytest.approx((0.25, 0.25, 0.25))
    assert of["slope"].mean == pytest.approx(1)
    assert of["intercept"].mean == pytest.approx(-0.25)


def test_half_the_spread_is_paid_once_for_each_forecast_above_it(rows: Rows) -> None:
    first = _evaluate(rows, 1.0).pooled[0]  # the spread is one tick, and so is a move
    of = first.by[MODEL]
    assert of["exceeds_half_spread"].mean == pytest.approx(first.moved)
    assert of["net_mean"] == pytest.approx((0.5, 0.5, 0.5))
    assert of["net_total"].mean == pytest.approx(0.5 * first.moved * first.windows)
    assert of["hit_rate"].mean == 1
    assert of["coverage"].mean == 1


def test_bands_hold_what_lies_within_them(rows: Rows) -> None:
    first = _evaluate(rows, 0.0).pooled[0]
    assert first.by[MODEL]["coverage"].mean == pytest.approx(1 - first.moved)  # a move is 1, the half-width 0.6


def test_only_unseen_days_count_and_the_others_are_marked(rows: Rows) -> None:
    last_ns = int(rows.ticks.event_time_ns.max()) - evaluation_ticks.DAY_NS // 4
    found = _evaluate(rows, 0.5, known=lambda first_ns, _: "unseen" if first_ns > last_ns else "trained")
    assert [day.exposure for day in found.days] == ["trained", "unseen"]
    assert found.counted == (found.days[1].name,)
    assert found.pooled[0].windows == found.days[1].horizons[0].windows
    assert "never seen" in evaluation_report.verdict(found)
    page = evaluation_report.page(_evaluated(found))
    assert 'class="verdict good"' in page
    assert page.count("IN-SAMPLE") == 1


@pytest.mark.parametrize(
    ("exposure", "words"), [("trained", "IN-SAMPLE"), ("chosen", "IN-SAMPLE"), ("unknown", "Nobody knows")]
)
def test_good_figures_that_are_not_unseen_are_never_green(rows: Rows, exposure: Exposure, words: str) -> None:
    found = _evaluate(rows, 0.9, known=lambda *_: exposure)
    assert words in evaluation_report.verdict(found)
    page = evaluation_report.page(_evaluated(found))
    assert 'class="verdict bad"' in page
    assert "NOT unseen" in page


def _evaluated(found: Evaluation) -> Evaluated:
    return Evaluated("toy 1", "price", 0.95, found, {"ticks": "a<b>.csv"})


def test_the_page_stands_alone_and_escapes_what_users_name(rows: Rows) -> None:
    page = evaluation_report.page(_evaluated(_evaluate(rows, 0.5)))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<img|\bsrc=|\bhref=|\bnan\b", page)
    assert "a&lt;b&gt;.csv" in page
    assert "75.0\u00a0% [75.0, 75.0]" in page
    opened: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            opened.extend([] if tag in VOID else [tag])

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(page)
    assert opened == []


def test_json_holds_what_the_page_says_and_null_for_what_has_no_value(rows: Rows) -> None:
    found = _evaluate(rows, 0.0)
    content = json.loads(evaluation_json.document(_evaluated(found)))
    assert content["v"] == 1
    assert content["verdict"] == evaluation_report.verdict(found)
    assert [one["horizon"] for one in content["horizons"]] == list(HORIZONS)
    assert content["horizons"][0]["by"]["model"]["below_persistence"]["value"] == pytest.approx(0)
    assert content["horizons"][0]["by"]["model"]["net_mean"] == {"low": None, "value": None, "high": None}
    assert [day["exposure"] for day in content["days"]] == ["unseen", "unseen"]


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["tickcast", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_command_scores_a_bundle_s_own_graphs_beside_baselines(
    exported: Callable[[str], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(baselines, "TREES_MAX", 5)
    ticks, page, figures = tmp_path / "ticks.csv", tmp_path / "report.html", tmp_path / "report.json"
    tick_files.write_csv(ticks, evaluation_ticks.ticks(days=3, per_day=500))
    folder = exported("additive").bundle  # type: ignore[attr-defined]
    made = ["--out", page, "--json", figures, "--draws", "100", "--trained-until", "2024-10-05"]
    assert _run(monkeypatch, ticks, "--bundle", folder, *made) == 0
    content = json.loads(figures.read_text("utf-8"))
    assert set(content["horizons"][0]["by"]) == {"model", "ridge", "trees"}
    assert set(content["horizons"][0]["below"]) == {"ridge", "trees"}
    assert content["counted_days"] == ["2024-10-06"]
    assert "boosted trees" in page.read_text("utf-8")
    said = capsys.readouterr()
    assert "2024-10-06: baselines" in said.err
    assert content["verdict"] in said.out.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "B"], "no such symbol: B; there are A"),
        (["--map", "bid=bid_price"], "bid_price"),
        (["--days", "2024-10-04"], "is the first day"),
    ],
)
def test_command_says_what_is_wrong(
    exported: Callable[[str], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    ticks = tmp_path / "ticks.csv"
    tick_files.write_csv(ticks, evaluation_ticks.ticks(days=2, per_day=100))
    folder = exported("additive").bundle  # type: ignore[attr-defined]
    assert _run(monkeypatch, ticks, "--bundle", folder, *arguments) == 78
    assert message in capsys.readouterr().err
