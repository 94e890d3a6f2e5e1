"""The demo's report: one HTML page that needs nothing beside itself, on any screen, in light and dark.

Behind the way of a tick. Figures come from the run's results and from `tickcast audit`; the page's frame is
`report.html`, its pictures are drawn by `report_pictures`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape

from tickcast.audit import Account

from tickcast_export import report_parts
from tickcast_export import report_pictures as pictures
from tickcast_export.demo_attention import Attention
from tickcast_export.demo_results import Results
from tickcast_export.figures import duration, percent
from tickcast_export.report_parts import key, section
from tickcast_export.svg import tag

ACCOUNT_COLUMNS = ("ticks", "forecasts", "warming", "skipped", "dead_letters", "missing", "doubled")


@dataclass(frozen=True)
class Summary:
    """The figures of a run: the demo's last line is this as JSON."""

    ticks: int
    forecasts: int
    warming: int
    skipped: int
    dead_letters: int
    missing: int
    doubled: int
    latency_us_p50: float | None  # from the Kafka timestamp to sent
    latency_us_p99: float | None
    error_vs_persistence: float | None  # 1 - squared error / persistence's: positive is better than no change
    family: str
    client: str
    provider: str
    report: str

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Reported:
    """All that the page shows."""

    summary: Summary
    source: str  # the tick file's name, or what was simulated
    simulated: bool
    unit: str
    results: Results
    accounts: Mapping[str, Account]  # by input partition, from `tickcast audit`
    attention: Attention | None  # None where the family has none
    facts: Mapping[str, str]  # what was run: a label and its text


def page(reported: Reported) -> str:
    """The page as HTML."""
    summary = reported.summary
    whole = not (summary.missing or summary.doubled)
    sections = [_fans(reported), _quality(reported), _latency(reported), _attention(reported)]
    sections += [_accounting(reported), _facts(reported)]
    return report_parts.page(
        heading=f"{summary.forecasts:,} forecasts from {summary.ticks:,} ticks",
        lead=_lead(reported),
        verdict=f"{summary.missing:,} missing, {summary.doubled:,} doubled: {_verdict(whole)}",
        is_good=whole,
        tiles=_tiles(summary),
        sections=sections,
        footer="Made by <code>tickcast demo</code>. Missing and doubled are counted by <code>tickcast audit</code>, "
        "a separate reader of the topics, not by the daemon.",
    )


def _lead(reported: Reported) -> str:
    badge = tag("span", "simulated", class_="badge") if reported.simulated else ""
    family = escape(reported.summary.family)
    return (
        f"A small <b>{family}</b> model, trained, exported and certified a moment ago, answered ticks from a real "
        f"Apache Kafka. Ticks: {escape(reported.source)}{badge}"
    )


def _verdict(whole: bool) -> str:
    return "every tick is accounted for" if whole else "the accounts do not add up"


def _tiles(summary: Summary) -> Sequence[tuple[str, str, str]]:
    error = summary.error_vs_persistence
    return (
        ("ticks in", f"{summary.ticks:,}", ""),
        ("forecasts out", f"{summary.forecasts:,}", ""),
        ("missing", f"{summary.missing:,}", "bad" if summary.missing else "good"),
        ("doubled", f"{summary.doubled:,}", "bad" if summary.doubled else "good"),
        ("latency, median", duration(summary.latency_us_p50), ""),
        ("latency, p99", duration(summary.latency_us_p99), ""),
        ("error below persistence", percent(error), "bad" if error is not None and error < 0 else "good"),
    )


def _fans(reported: Reported) -> str:
    found = pictures.stretch(reported.results.series)
    if found is None:
        return ""
    series, rows = found
    horizons = reported.results.horizons
    words = key(("ink", "", "mid"), ("up", "", "forecast path, rising"), ("down", "", "falling"))
    return section(
        "Forecast against what happened",
        f"{escape(series.symbol)}, {rows.stop - rows.start} sampled ticks where forecasts were strongest, right or "
        f"wrong. Above: the mid, and from every {pictures.FAN_EVERY}th tick the forecast for the next {horizons[-1]}, "
        "true to scale. Below: the forecast (blue line) and the change that came (bars).",
        words,
        tag("div", pictures.fans(series, rows, horizons), class_="scroll"),
    )


def _quality(reported: Reported) -> str:
    results = reported.results
    scores = results.scores()
    if not scores or results.error_vs_persistence() is None:
        return section("Error against persistence", "The mid never moved where a forecast could be checked.")
    checked = len(results.checked()[0])
    bars = section(
        "Squared error below persistence",
        f"Percent saved against forecasting no change, on {checked:,} forecasts of ticks the model never saw. "
        f"All horizons pooled: {percent(results.error_vs_persistence())}.",
        pictures.errors(scores),
    )
    dots = section(
        "Does it mean what it says?",
        f"Forecasts for {results.horizons[-1]} ticks ahead in tenths, lowest to highest ({escape(reported.unit)}): "
        "what was forecast (across) and what happened (up), with two standard errors.",
        pictures.calibration(results),
    )
    return tag("div", bars, dots, class_="pair")


def _latency(reported: Reported) -> str:
    results = reported.results
    if not len(results.latency_us):
        return ""
    return section(
        "Latency",
        "From the tick's Kafka timestamp, which is cut to whole milliseconds, until its forecast was sent; and the "
        "daemon's own share of it, from received to sent. Broker, player, daemon and this demo shared one machine.",
        key(("blue", "box", "received to sent"), ("amber", "box", "Kafka timestamp to sent")),
        tag("div", pictures.latency(results), class_="scroll"),
    )


def _attention(reported: Reported) -> str:
    heading, found = "Attention", reported.attention
    if found is None:
        family = escape(reported.summary.family)
        return section(heading, f"The family <b>{family}</b> has no attention: there are no weights to show.")
    return section(
        heading,
        f"How much each tick of a window weighs in its forecast. Strips: single windows, each shaded "
        "from its least weight to its greatest, with the mid drawn over it. "
        f"Bars: the mean over {found.windows:,} windows of this run.",
        tag("div", pictures.attention(found.examples), class_="scroll"),
        tag("div", pictures.attention_profile(found.mean_weights), class_="scroll"),
    )


def _accounting(reported: Reported) -> str:
    rows = [
        (name, [getattr(account, column) for column in ACCOUNT_COLUMNS])
        for name, account in sorted(reported.accounts.items())
    ]
    rows.append(("all", [sum(numbers) for numbers in zip(*(numbers for _, numbers in rows), strict=True)]))
    head = [name.replace("_", " ") for name in ("partition", *ACCOUNT_COLUMNS)]
    cells = [(name, *(f"{number:,}" for number in numbers)) for name, numbers in rows]
    return section(
        "Accounting",
        "Every tick is a forecast, warming (its window was not full yet), skipped by the window rules, or a dead "
        "letter.",
        report_parts.table(head, cells, class_="summed"),
    )


def _facts(reported: Reported) -> str:
    facts = "".join(tag("dt", escape(label)) + tag("dd", escape(text)) for label, text in reported.facts.items())
    figures = tag("pre", escape(json.dumps(asdict(reported.summary), indent=2)))
    return section(
        "What was run",
        "",
        tag("dl", facts, class_="facts"),
        tag("details", tag("summary", "the summary as JSON"), figures),
    )
