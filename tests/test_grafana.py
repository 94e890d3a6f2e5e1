"""The Grafana dashboard: it is what its generator makes, can be imported anywhere, and every query finds something."""

import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import feeds
import pytest
from daemons import DaemonProcess, Job, wait_until
from feeds import Feed
from prometheus_server import INTERVAL_S, PrometheusServer
from tickcast.metrics import METRICS

DEPLOY = Path(__file__).parents[1] / "deploy"
FOLDER = DEPLOY / "grafana"
RULES = [DEPLOY / "prometheus" / name for name in ("tickcast.rules.yml", "tickcast.alerts.yml")]
GENERATOR = "dashboard.py"

# What Prometheus itself has.
OF_PROMETHEUS = {"up", "ALERTS"}
# Panels and annotations that a healthy daemon may leave empty, and why.
MAY_BE_EMPTY = {
    "Alerts": "nothing fires",
    "Coverage of the bands, by horizon": "the bundle need not have any",
}
# Not narrowed to the chosen instances: budgets are for all, and so are alerts on a whole group.
FOR_ALL = re.compile(r"latency:tickcast_latency_budget:seconds\{[^}]*\}|ALERTS\{[^}]*\}")

WIDTH = 24
JOB = "tickcast"
PARTITIONS = 3
# Rates look back over four scrapes, as Grafana's `$__rate_interval` does at least.
LOOK_BACK_S = 4
SCRAPES = 6
TICKS_A_SCRAPE = 250
LIMITS = {"record_bytes_max": feeds.OVERSIZE_BYTES}

Json = dict[str, Any]


class Asked(NamedTuple):
    """One query of the dashboard, and the labels that its legend shows."""

    title: str
    expr: str
    instant: bool
    labels: frozenset[str]


@pytest.fixture
def board() -> Json:
    loaded: Json = json.loads((FOLDER / "tickcast.json").read_text("utf-8"))
    return loaded


def panels_of(board: Json) -> list[Json]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked_by(board: Json) -> Iterator[Asked]:
    """Every query of a panel or an annotation."""
    for panel in panels_of(board):
        for target in panel["targets"]:
            labels = frozenset(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            yield Asked(panel["title"], target["expr"], target.get("instant", False), labels)
    for annotation in board["annotations"]["list"]:
        labels = frozenset(re.findall(r"{{(\w+)}}", annotation["titleFormat"]))
        yield Asked(annotation["name"], annotation["expr"], False, labels)


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("grafana_foundation_sdk", reason="pip install grafana-foundation-sdk")
    command = [sys.executable, str(folder / GENERATOR), *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


# -- the generator


def test_the_dashboard_is_what_its_generator_makes() -> None:
    ended = generate(FOLDER, "--check")
    assert ended.returncode == 0, ended.stderr


def test_a_dashboard_changed_by_hand_is_noticed_and_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "grafana"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (FOLDER / "tickcast.json").read_text("utf-8")
    (folder / "tickcast.json").write_text(text.replace("Good: 0", "Good: 1"))
    noticed = generate(folder, "--check")
    assert noticed.returncode == 1
    assert "run it" in noticed.stderr
    assert generate(folder).returncode == 0
    assert (folder / "tickcast.json").read_text("utf-8") == text


def test_an_unknown_option_of_the_generator_is_refused() -> None:
    assert generate(FOLDER, "--help-me").returncode == 2


def test_the_file_is_a_dashboard_by_grafana_s_own_types(board: Json) -> None:
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="pip install grafana-foundation-sdk")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    again = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(board)))
    for annotation in board["annotations"]["list"]:  # what the types have no field for
        assert annotation.pop("titleFormat")
        assert annotation.pop("step")
    assert again == board


# -- what it is


def test_it_can_be_imported_beside_any_prometheus(board: Json) -> None:
    found = list(_named(board, "datasource"))
    assert len(found) > len(board["panels"])
    assert {(each["type"], each["uid"]) for each in found} == {("prometheus", "${datasource}")}
    assert board["uid"] == "tickcast"
    assert "id" not in board or board["id"] is None
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance"]


def _named(tree: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from _named(value, key)
    elif isinstance(tree, list):
        for each in tree:
            yield from _named(each, key)


def test_panels_have_room_and_numbers_of_their_own(board: Json) -> None:
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = {panel["title"]: panel["gridPos"] for panel in board["panels"]}
    assert len(places) == len(numbers)  # titles are their own, too
    for name, place in places.items():
        assert place["x"] >= 0, name
        assert place["x"] + place["w"] <= WIDTH, name
    for (name, one), (other_name, other) in itertools.combinations(places.items(), 2):
        assert not _overlap(one, other), f"{name} and {other_name}"


def _overlap(one: Json, other: Json) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or apart)


def test_every_panel_says_what_it_shows_and_in_which_unit(board: Json) -> None:
    for panel in panels_of(board):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        assert len(panel["description"]) > 40, panel["title"]
        assert "Good: " in panel["description"], panel["title"]


def test_every_column_of_a_table_is_asked_for(board: Json) -> None:
    tables = [panel for panel in panels_of(board) if panel["type"] == "table"]
    assert tables
    for panel in tables:
        steps = {step["id"]: step["options"] for step in panel["transformations"]}
        targets = {f"Value #{target['refId']}": target for target in panel["targets"]}
        for name in steps["filterFieldsByName"]["include"]["names"]:
            grouped = [target for target in targets.values() if re.search(rf"by \([^)]*\b{name}\b", target["expr"])]
            assert name in targets or grouped or panel["title"] in MAY_BE_EMPTY, f"{panel['title']}: {name}"
            assert name in steps["organize"]["renameByName"], f"{panel['title']}: {name}"
        titles = set(steps["organize"]["renameByName"].values())
        assert {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]} <= titles, panel["title"]
        assert {each["displayName"] for each in panel.get("options", {}).get("sortBy", [])} <= titles, panel["title"]
        assert all(target["instant"] and target["format"] == "table" for target in targets.values()), panel["title"]


def test_every_query_is_of_the_chosen_instances(board: Json) -> None:
    for asked in asked_by(board):
        for selector in re.findall(r"\{([^}]*)\}", FOR_ALL.sub("", asked.expr)):
            assert 'job=~"$job"' in selector, asked
            assert 'instance=~"$instance"' in selector, asked


def test_every_metric_it_names_is_there(board: Json) -> None:
    rules = {name for path in RULES for name in re.findall(r"record: (\S+)", path.read_text("utf-8"))}
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    known = {metric.name + suffix for metric in METRICS.values() for suffix in suffixes.get(metric.kind, ("",))}
    for asked in asked_by(board):
        named = set(re.findall(r"[\w:]+(?=\{)", asked.expr))
        assert named, asked
        assert named <= known | rules | OF_PROMETHEUS, asked


# -- on the real thing


@pytest.mark.slow
def test_every_query_finds_something_on_real_daemons(
    board: Json,
    exported: Any,
    job: Callable[..., Job],
    start_daemon: Callable[..., DaemonProcess],
    tmp_path: Path,
) -> None:
    work = job(exported("additive").bundle, PARTITIONS)
    daemons = [start_daemon(work.config(name, input=LIMITS)) for name in ("one", "two")]
    wait_until(lambda: all(daemon.owned() for daemon in daemons), "both have partitions")
    addresses = sorted(each.wait_for_event("metrics and health")["url"].removeprefix("http://") for each in daemons)
    with (
        Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed,
        PrometheusServer(tmp_path / "prometheus", {JOB: addresses}, RULES) as prometheus,
    ):
        answer_ticks(feed, daemons[0], prometheus)
        problems = [problem for asked in asked_by(board) if (problem := missing(prometheus, asked))]
        assert not problems, "\n".join(problems)
        assert variables(prometheus, board) == {"job": [JOB], "instance": addresses}
        work.wait_done()
        (accounts,) = {asked.expr for asked in asked_by(board) if asked.title == "Ticks not accounted for"}
        left = filled_in(accounts)
        wait_until(lambda: [each.value for each in prometheus.query(left)] == [0.0, 0.0], "the accounts add up")


def answer_ticks(feed: Feed, daemon: DaemonProcess, prometheus: PrometheusServer) -> None:
    """Some ticks before each scrape, a few of them bad; and a reload, which finds the same bundle."""
    ticks = feeds.with_bad_records(feeds.ticks(SCRAPES * TICKS_A_SCRAPE, seed=6), every=100)
    prometheus.wait_scraped()
    os.kill(daemon.pid, signal.SIGHUP)
    for scrape in range(SCRAPES):
        feed.send(itertools.islice(ticks, TICKS_A_SCRAPE))
        feed.flush()
        prometheus.wait_for(f"min(count_over_time(up[1h])) > {scrape + 1}")
    prometheus.wait_evaluated()


def missing(prometheus: PrometheusServer, asked: Asked) -> str:
    """What the query lacks; empty where there is data, of the labels that are shown, and a number among it."""
    if asked.instant:
        answer = prometheus.api("query", query=filled_in(asked.expr))["result"]
        series = [(each["metric"], [float(each["value"][1])]) for each in answer]
    else:
        now_s = time.time()
        span = {"start": f"{now_s - SCRAPES}", "end": f"{now_s}", "step": f"{INTERVAL_S}"}
        answer = prometheus.api("query_range", query=filled_in(asked.expr), **span)["result"]
        series = [(each["metric"], [float(value) for _, value in each["values"]]) for each in answer]
    if not any(math.isfinite(value) for _, values in series for value in values):
        return "" if asked.title in MAY_BE_EMPTY else f"{asked.title} finds nothing: {asked.expr}"
    if not all(asked.labels <= labels.keys() for labels, _ in series):
        return f"{asked.title} has not the labels of its legend, {sorted(asked.labels)}: {asked.expr}"
    return ""


def variables(prometheus: PrometheusServer, board: Json) -> dict[str, list[str]]:
    """What the variables other than the data source offer."""
    offered = {}
    for variable in board["templating"]["list"][1:]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        assert found
        metric, label = found.groups()
        offered[variable["name"]] = prometheus.api(f"label/{label}/values", **{"match[]": filled_in(metric)})
    return offered


def filled_in(expr: str) -> str:
    """With the variables as Grafana fills them in for all instances of one job."""
    interval = f"{round(LOOK_BACK_S * INTERVAL_S)}s"
    filled = expr.replace("$__rate_interval", interval).replace("$__range", "1m")
    filled = filled.replace("$job", JOB).replace("$instance", ".+")
    assert "$" not in filled
    return filled
