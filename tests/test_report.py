"""The demo's report: it stands alone, and its figures are those it was given."""

import json
import re
from dataclasses import asdict, replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from tickcast.audit import Account
from tickcast_export import report
from tickcast_export.demo_attention import Attention
from tickcast_export.demo_results import Results, Series
from tickcast_export.report import Reported, Summary
from tickcast_export.report_pictures import AttentionWindow

HORIZONS = (1, 2, 5)
VOID = {"meta", "br", "link", "img"}
SUMMARY = Summary(
    ticks=1_234,
    forecasts=1_111,
    warming=120,
    skipped=2,
    dead_letters=1,
    missing=0,
    doubled=0,
    latency_us_p50=812.0,
    latency_us_p99=4_321.0,
    error_vs_persistence=0.1234,
    family="additive",
    client="kafka-python",
    provider="cpu",
    report="demo-out/report.html",
)


def _series(symbol: str, rows: int = 400) -> Series:
    random = np.random.default_rng(len(symbol))
    mid = 100 + 0.01 * np.cumsum(random.integers(-1, 2, rows))
    happened = np.full((rows, len(HORIZONS)), np.nan)
    for at, ahead in enumerate(HORIZONS):
        happened[:-ahead, at] = mid[ahead:] - mid[:-ahead]
    forecast = 0.5 * np.nan_to_num(happened) + random.normal(0, 0.002, happened.shape)
    forecast[:20] = np.nan
    times = np.arange(rows, dtype=np.int64)
    return Series(symbol, times, np.zeros(rows, np.int64), mid, np.zeros((rows, 2, 5)), forecast, happened)


def _attention() -> Attention:
    weights = np.linspace(0.1, 1, 8)
    weights /= weights.sum()
    return Attention(weights, 42, (AttentionWindow("UP", weights, np.linspace(1, 2, 8), 0.02),))


@pytest.fixture
def reported() -> Reported:
    """An ordinary run."""
    latency_us = np.random.default_rng(1).lognormal(7, 0.5, 500)
    results = Results(HORIZONS, (_series("UP"), _series("DOWN")), latency_us * 4, latency_us)
    account = Account(ticks=617, forecasts=555, warming=60, skipped=1, dead_letters=1)
    accounts = {"ticks/0": account, "ticks/1": account}
    facts = {"bundle": "demo 1", "command": "tickcast demo --ticks 'a<b>.csv'"}
    return Reported(SUMMARY, "a simulated market", True, "price", results, accounts, _attention(), facts)


class Checker(HTMLParser):
    """Every element that is opened is closed, in order; collects the words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def _checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_page_names_no_address_outside_itself(reported: Reported) -> None:
    page = report.page(reported)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<img|\bsrc=|\bhref=", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_page_is_well_formed_and_escapes_what_users_name(reported: Reported) -> None:
    page = report.page(replace(reported, source="x<script>alert(1)</script>.csv"))
    words = " ".join(_checked(page).words)
    assert "x<script>alert(1)</script>.csv" in words
    assert "a<b>.csv" in words
    assert "<script" not in page


def test_headline_figures_are_those_of_the_summary(reported: Reported) -> None:
    page = report.page(reported)
    tiles = dict(re.findall(r"<dt>([^<]*)</dt><dd[^>]*>([^<]*)</dd></div>", page))
    assert tiles == {
        "ticks in": "1,234",
        "forecasts out": "1,111",
        "missing": "0",
        "doubled": "0",
        "latency, median": "812 µs",
        "latency, p99": "4.32 ms",
        "error below persistence": "+12.3 %",
    }
    shown = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert shown is not None
    assert json.loads(unescape(shown[1])) == asdict(SUMMARY)


def test_accounting_table_holds_each_partition_and_their_sum(reported: Reported) -> None:
    rows = re.findall(r"<tr><th scope=\"row\">([^<]*)</th>(.*?)</tr>", report.page(reported))
    cells = {name: re.findall(r"<td>([^<]*)</td>", numbers) for name, numbers in rows}
    assert cells["ticks/0"] == cells["ticks/1"] == ["617", "555", "60", "1", "1", "0", "0"]
    assert cells["all"] == ["1,234", "1,110", "120", "2", "2", "0", "0"]


def test_bars_are_the_scores_at_each_horizon(reported: Reported) -> None:
    page = report.page(reported)
    shown = dict(re.findall(r"(\d+) ticks ahead: (-?[\d.]+) % below persistence", page))
    scores = {str(score.horizon): f"{100 * score.below_persistence:.1f}" for score in reported.results.scores()}
    assert shown == scores
    assert len(scores) == len(HORIZONS)


def test_latency_histogram_counts_every_forecast_once_from_each_start(reported: Reported) -> None:
    counts = [int(count.replace(",", "")) for count in re.findall(r": ([\d,]+) forecasts<", report.page(reported))]
    assert sum(counts) == 2 * len(reported.results.latency_us)


def test_simulated_ticks_are_called_so_and_others_are_not(reported: Reported) -> None:
    assert 'class="badge">simulated' in report.page(reported)
    recorded = report.page(replace(reported, simulated=False, source="quotes.csv.gz"))
    assert "simulated" not in recorded
    assert "quotes.csv.gz" in recorded


def test_family_without_attention_is_said_to_have_none(reported: Reported) -> None:
    stacked = replace(reported, attention=None, summary=replace(SUMMARY, family="stacked"))
    assert "The family <b>stacked</b> has no attention" in report.page(stacked)


def test_a_missing_forecast_is_not_green(reported: Reported) -> None:
    page = report.page(replace(reported, summary=replace(SUMMARY, missing=3)))
    assert 'class="verdict bad">3 missing, 0 doubled: the accounts do not add up' in page
    assert '<dd class="bad">3</dd>' in page


def test_run_without_a_single_forecast_still_has_a_page(reported: Reported) -> None:
    nothing = Results(HORIZONS, (), np.array([]), np.array([]))
    none = replace(SUMMARY, forecasts=0, latency_us_p50=None, latency_us_p99=None, error_vs_persistence=None)
    page = report.page(replace(reported, results=nothing, summary=none, attention=None))
    _checked(page)
    assert "The mid never moved where a forecast could be checked" in page


def test_stretch_shown_is_the_one_with_the_strongest_forecasts_within_one_run() -> None:
    quiet, loud = _series("Q"), _series("L")
    quiet.forecast[20:] *= 0.01
    loud.forecast[200:210] = np.nan
    found = report.pictures.stretch([quiet, loud])
    assert found is not None
    series, rows = found
    assert series is loud
    assert np.isfinite(series.forecast[rows]).all()
    assert np.isfinite(series.happened[rows]).all()
