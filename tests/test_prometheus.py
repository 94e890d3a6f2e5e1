"""What is shipped for Prometheus, held against promtool and against a real Prometheus that watches a real daemon."""

import json
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import feeds
import pytest
import yaml
from daemons import DaemonProcess, Job, wait_until
from feeds import Feed
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_server import PrometheusServer, program, promtool
from tickcast import state_topic
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.broker import Broker
from tickcast.clock import SystemClock
from tickcast.exposition import BoardCollector
from tickcast.health import Health
from tickcast.metrics import METRICS, STAGES, Metric

DEPLOY = Path(__file__).parents[1] / "deploy"
FOLDER = DEPLOY / "prometheus"
GUIDE = DEPLOY / "README.md"
RULES, ALERTS, CASES = (FOLDER / f"tickcast.{name}.yml" for name in ("rules", "alerts", "tests"))

SEVERITIES = {"critical", "warning", "info"}
# Labels that Prometheus or the rules put on series, beside the metrics' own.
GIVEN_LABELS = {"job", "instance", "le", "latency"}
HISTOGRAM_SERIES = re.compile(r"_(bucket|sum|count)$")

# A healthy daemon does not show these, for a reason.
ABSENT_WHEN_HEALTHY = {
    "tickcast_last_reload_successful": "nobody has asked for a reload; the test of a refused one asks for it",
    "tickcast_last_reload_timestamp_seconds": "the same",
}
# Nor these, of a shadow that nobody asked for.
OF_SHADOWS = "tickcast_shadow_"
# True for a while on a machine that does other things beside the test; they need ten minutes of it to fire.
MACHINE_DEPENDENT = {"TickcastLatencyOverBudget", "TickcastForecastsExpired"}
# A model with its first weights errs as much as who says that nothing changes: 1.000 to 1.016 times, by which of the
# ticks lie between the scrapes.
MODEL_DEPENDENT = {"TickcastErrorAbovePersistence"}

PARTITIONS = 2
TICKS = 1_500
# What moves when ticks are answered, beside counters of what goes wrong.
MOVING = (
    "tickcast_ticks_processed_total",
    "tickcast_forecasts_total",
    "tickcast_warming_ticks_total",
    "tickcast_rows_total",
    "tickcast_records_acknowledged_total",
    "tickcast_commits_total",
    "tickcast_forecasts_scored_total",
    "tickcast_forecast_squared_error_total",
    "tickcast_persistence_squared_error_total",
    "tickcast_event_to_sent_seconds_count",
    "tickcast_kafka_to_sent_seconds_count",
    "tickcast_received_to_handed_seconds_count",
    "tickcast_handed_to_acknowledged_seconds_count",
    "tickcast_gc_pause_seconds_count",
    "tickcast_last_progress_timestamp_seconds",
    "tickcast_model_info",
    "tickcast_build_info",
    'tickcast_provider_info{provider="cpu",requested="cpu"}',
    'tickcast_certificate_error_ratio{path="finish"}',
    "tickcast_certificate_tolerance_ratio",
    *(f'tickcast_stage_seconds_count{{stage="{stage}"}}' for stage in STAGES),
)


def _rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


RECORDED, ALARMS = _rules(RULES), _rules(ALERTS)
RECORDS = {rule["record"] for rule in RECORDED}
ALARM_PARAMETERS = pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm["alert"])
RULE_PARAMETERS = pytest.mark.parametrize(
    "promql", [rule["expr"] for rule in (*RECORDED, *ALARMS)], ids=lambda promql: promql[:60]
)


def names_in(promql: str) -> set[str]:
    """The series of ours that an expression asks for, recorded ones too."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", promql)
    return {name for name in re.findall(r"[A-Za-z_:][\w:]*", bare) if "tickcast_" in name}


def table_name(series: str) -> str:
    """The metric that a series belongs to, as the table has it."""
    return series if series in METRICS else HISTOGRAM_SERIES.sub("", series)


def asked_by_dashboards() -> Iterator[str]:
    """Every query of the dashboards: of panels, and of variables."""

    def queries(node: Any) -> Iterator[str]:
        if isinstance(node, Mapping):
            yield from (node[key] for key in ("expr", "query", "definition") if isinstance(node.get(key), str))
            for each in node.values():
                yield from queries(each)
        elif isinstance(node, list):
            for each in node:
                yield from queries(each)

    for file in sorted((DEPLOY / "grafana").rglob("*.json")):
        yield from queries(json.loads(file.read_text("utf-8")))


# -- the files


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", RULES.name, ALERTS.name),
        ("check", "config", "prometheus.yml"),
        pytest.param(("test", "rules", CASES.name), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_promtool_accepts_what_is_shipped(arguments: tuple[str, ...]) -> None:
    said = promtool(*arguments, folder=FOLDER)
    assert "SUCCESS" in said
    assert "FAILED" not in said


def test_promtool_has_nothing_against_any_metric() -> None:
    board = Board.create(SystemClock())
    for metric in METRICS.values():
        labels = {label: next(iter(values), "any") for label, values in metric.labels.items()}
        handle = getattr(board, metric.kind)(metric.name, **labels)
        if metric.kind == "gauge":
            handle.set(1.0)
    registry = CollectorRegistry(auto_describe=False)
    reader = BoardReader(board.fd)
    registry.register(BoardCollector(reader, Health(reader, live_timeout_s=1e12)))
    shown = generate_latest(registry).decode()
    board.close()
    assert set(re.findall(r"^# TYPE (\w+)", shown, flags=re.MULTILINE)) == set(METRICS)
    assert promtool("check", "metrics", given=shown) == ""


@ALARM_PARAMETERS
def test_an_alert_says_how_bad_it_is_what_it_saw_and_what_to_do_first(alarm: dict[str, Any]) -> None:
    assert alarm["alert"].startswith("Tickcast")
    assert alarm["labels"]["severity"] in SEVERITIES
    assert re.fullmatch(r"\d+m", alarm["for"])
    notes = alarm["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert re.search(r"\bfirst\b", notes["description"])
    assert len(notes["summary"]) <= 100


@ALARM_PARAMETERS
def test_an_alert_s_runbook_is_a_heading_of_the_guide(alarm: dict[str, Any]) -> None:
    file, _, anchor = alarm["annotations"]["runbook_url"].partition("#")
    assert DEPLOY.parent / file == GUIDE
    assert anchor == alarm["alert"].lower()
    headings = re.findall(r"^#+ (.+)$", GUIDE.read_text("utf-8"), flags=re.MULTILINE)
    assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test.get("alert_rule_test", ())]
    names = {alarm["alert"] for alarm in ALARMS}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


def test_nothing_is_silent_about_a_healthy_daemon_by_leaving_it_out() -> None:
    (healthy,) = (test for test in yaml.safe_load(CASES.read_text())["tests"] if test["name"] == "healthy daemons")
    assert {case["alertname"] for case in healthy["alert_rule_test"]} == {alarm["alert"] for alarm in ALARMS}
    assert not any(case["exp_alerts"] for case in healthy["alert_rule_test"])
    fed = {name for series in healthy["input_series"] for name in names_in(series["series"])}
    asked = {name for rule in (*RECORDED, *ALARMS) for name in names_in(rule["expr"]) if ":" not in name}
    assert asked - fed == set()


def test_every_recording_rule_has_a_case() -> None:
    tests = yaml.safe_load(CASES.read_text())["tests"]
    asked = {name for test in tests for case in test.get("promql_expr_test", ()) for name in names_in(case["expr"])}
    assert asked >= RECORDS


def test_recorded_names_are_level_metric_operations() -> None:
    assert [name for name in RECORDS if not re.fullmatch(r"[a-z_]*:tickcast_[a-z_]+:[a-z0-9_]+", name)] == []


@RULE_PARAMETERS
def test_a_rule_asks_for_what_there_is(promql: str) -> None:
    for name in names_in(promql):
        if ":" in name:
            assert name in RECORDS
        else:
            assert table_name(name) in METRICS
    for name, braces in re.findall(r"(tickcast_\w+)\{([^}]*)\}", promql):
        metric = METRICS[table_name(name)]
        for label, value in re.findall(r'(\w+)\s*=\s*"([^"]*)"', braces):
            assert not metric.labels[label] or value in metric.labels[label]
    known = GIVEN_LABELS | {label for metric in METRICS.values() for label in metric.labels}
    for labels in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", promql):
        assert set(re.findall(r"\w+", labels)) <= known


def test_names_are_found_in_any_expression() -> None:
    promql = (
        'sum by (job) (rate(tickcast_a_total{reason="tickcast_no"}[5m])) / on () :tickcast_b:sum > job:tickcast_c:x'
    )
    assert names_in(promql) == {"tickcast_a_total", ":tickcast_b:sum", "job:tickcast_c:x"}


# -- the real thing: one daemon for all that follows, in this order


class Watched(NamedTuple):
    """A daemon that has answered ticks, what watches it, and what feeds it."""

    daemon: DaemonProcess
    prometheus: PrometheusServer
    feed: Feed
    config: Path


@pytest.fixture(scope="module")
def prometheus_program() -> str:
    """Asked for before the broker is started, which takes longer."""
    return program("prometheus")


@pytest.fixture(scope="module")
def watched(
    prometheus_program: str, broker: Broker, exported: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """It has answered ticks before the first scrape and after it."""
    folder = tmp_path_factory.mktemp("watched")
    ticks, forecasts, dead_letters = (f"watched-{name}-{uuid.uuid4().hex[:8]}" for name in ("in", "out", "dead"))
    for topic in (ticks, forecasts, dead_letters):
        broker.create_topic(topic, PARTITIONS)
    broker.create_topic(f"{forecasts}-state", PARTITIONS, state_topic.SETTINGS)
    job = Job(broker.bootstrap_servers, ticks, forecasts, dead_letters, exported("additive").bundle, folder)
    config = job.config(output={"attention": ["*"]})
    daemon = DaemonProcess(config)
    try:
        daemon.wait_ready()
        url = daemon.wait_for_event("metrics and health")["url"]
        targets = {"tickcast": [url.removeprefix("http://")]}
        stream = list(feeds.ticks(2 * TICKS, seed=2))
        with (
            job.reader,
            Feed(broker.bootstrap_servers, ticks, PARTITIONS) as feed,
            PrometheusServer(folder / "prometheus", targets, (RULES, ALERTS)) as prometheus,
        ):
            for count, part in ((TICKS, stream[:TICKS]), (2 * TICKS, stream[TICKS:])):
                feed.send(part)
                feed.flush()
                job.wait_done()
                prometheus.wait_for(f"sum(tickcast_ticks_processed_total) >= {count}")
            prometheus.wait_evaluated()
            yield Watched(daemon, prometheus, feed, config)
    finally:
        daemon.kill()


@pytest.mark.slow
def test_promtool_has_nothing_against_what_a_daemon_shows(watched: Watched) -> None:
    status, shown = watched.daemon.get("/metrics")
    assert status == 200
    assert promtool("check", "metrics", given=shown) == ""


@pytest.mark.slow
def test_prometheus_takes_every_metric_with_its_kind_and_help(watched: Watched) -> None:
    known = {each["metric"]: each for each in watched.prometheus.api("targets/metadata")}
    shown = [metric for metric in METRICS.values() if metric.name not in ABSENT_WHEN_HEALTHY]
    for metric in (metric for metric in shown if not metric.name.startswith(OF_SHADOWS)):
        family = known[_family(metric)]
        assert (family["type"], family["help"]) == (metric.kind, metric.help), metric.name


def _family(metric: Metric) -> str:
    """Its name in OpenMetrics, which this Prometheus asks for."""
    return metric.name.removesuffix("_total")


@pytest.mark.slow
@pytest.mark.parametrize("promql", MOVING)
def test_ticks_that_are_answered_move(watched: Watched, promql: str) -> None:
    assert watched.prometheus.wait_for(f"{promql} > 0")


@pytest.mark.slow
def test_everything_that_a_rule_or_a_dashboard_names_has_data(watched: Watched) -> None:
    queries = [*(rule["expr"] for rule in (*RECORDED, *ALARMS)), *asked_by_dashboards()]
    names = {name for promql in queries for name in names_in(promql)}
    assert len(names) > len(RECORDS)
    for name in sorted(names - ABSENT_WHEN_HEALTHY.keys()):
        assert watched.prometheus.wait_for(name)


@pytest.mark.slow
def test_every_rule_is_evaluated_without_an_error_and_records_a_number(watched: Watched) -> None:
    rules = watched.prometheus.wait_evaluated()
    assert len(rules) == len(RECORDED) + len(ALARMS)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    for record in RECORDS:
        assert watched.prometheus.wait_for(f"{record} == {record}"), record  # nothing equals NaN


@pytest.mark.slow
def test_the_accounts_of_a_daemon_at_rest_add_up(watched: Watched) -> None:
    assert [each.value for each in watched.prometheus.wait_for("instance:tickcast_ticks_unaccounted:sum == 0")] == [0.0]


@pytest.mark.slow
def test_a_healthy_daemon_gives_no_cause_for_any_alert(watched: Watched) -> None:
    causes: set[str] = set()

    def quiet() -> bool:
        """Pending ones too: none is to be waited for here."""
        found = {alert["labels"]["alertname"] for alert in watched.prometheus.alerts()}
        causes.clear()
        causes.update(found - MACHINE_DEPENDENT - MODEL_DEPENDENT)
        return not causes

    try:
        wait_until(quiet, "no cause for any alert")
    except pytest.fail.Exception:
        pytest.fail(f"causes for alerts: {causes}")


@pytest.mark.slow
def test_bad_records_are_a_cause_for_an_alert_that_names_their_reason(watched: Watched) -> None:
    watched.feed.send(feeds.with_bad_records(feeds.ticks(12, seed=3), every=1))
    watched.feed.flush()
    found = watched.prometheus.wait_for('ALERTS{alertname="TickcastDeadLetters"}')
    assert {each.labels["reason"] for each in found} >= {"undecodable"}


@pytest.mark.slow
def test_a_refused_reload_is_a_cause_for_an_alert_until_one_is_taken(watched: Watched) -> None:
    alert = 'ALERTS{alertname="TickcastReloadRefused"}'
    as_it_was = watched.config.read_text()
    watched.config.write_text(as_it_was.replace("bundle = ", "bundle = 'no such folder'\n# "))
    os.kill(watched.daemon.pid, signal.SIGHUP)
    watched.daemon.wait_for_event("bundle refused")
    assert watched.prometheus.wait_for(alert)
    watched.config.write_text(as_it_was)
    os.kill(watched.daemon.pid, signal.SIGHUP)
    watched.daemon.wait_for_event("bundle unchanged")
    wait_until(lambda: not watched.prometheus.query(alert), "the alert ends")
    for name in ABSENT_WHEN_HEALTHY:
        assert watched.prometheus.query(name)
