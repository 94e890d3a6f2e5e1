"""Another bundle for a running daemon: nothing missed, nothing doubled, each forecast that of the bundle it names."""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import exported as exports
import pytest
from chaos import reloads
from chaos.load import Load, Market
from chaos.topics import Topics
from chaos.verdict import LIMITS
from daemons import DaemonProcess, Job, wait_until
from tickcast import bundle, manifest
from tickcast.clients import CLIENTS
from tickcast.manifest import MANIFEST_NAME, Manifest, WindowRules, sealed
from tickcast.windows import NANOSECONDS

PARTITIONS = 2
SYMBOLS = 8
RATE = 1_000.0
RELOADS = 10
WATCH_INTERVAL_MS = 50
# Longer than any window, so that every bundle has answered all symbols before the first reload.
HEAD = SYMBOLS * 60


class Bundles(NamedTuple):
    """Three that differ in more and more."""

    first: Path
    second: Path  # other weights; the same rules and rows
    longer: Path  # another window


@pytest.fixture(scope="module")
def bundles(exported, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    folder = tmp_path_factory.mktemp("bundles")
    first = exported("additive").bundle
    second = exports.export("additive", _made(folder / "second"), seed=2).bundle
    rules = exports.RULES.model_copy(update={"window": exports.RULES.window + 8})
    longer = exports.export("additive", _made(folder / "longer"), rules, seed=3).bundle
    return Bundles(first, _with_features_of(first, second), longer)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _with_features_of(source: Path, target: Path) -> Path:
    """Two exports of one process give the same feature graph in other bytes, for their nodes are numbered on."""
    graph = manifest.read(source)[0].graphs["features"]
    shutil.copyfile(source / graph.file, target / graph.file)
    tree = json.loads((target / MANIFEST_NAME).read_text())
    tree["graphs"]["features"] = graph.model_dump(mode="json")
    (target / MANIFEST_NAME).write_text(sealed(Manifest.model_validate(tree)).model_dump_json())
    return target


class Run:
    """A daemon over a bundle that is replaced in its folder, and a market that goes on meanwhile."""

    def __init__(self, work: Job, daemon: DaemonProcess, market: Market, topics: Topics) -> None:
        self.job = work
        self.daemon = daemon
        self.topics = topics
        self._market = market

    def reload(self, source: Path) -> str:
        """Replace the bundle, and tell it; how that ended."""
        reloads.replace(self.job.bundle, source)
        return reloads.reload(self.daemon)

    def wait_answered_by(self, sha256: str) -> None:
        """Wait until forecasts of that bundle come."""
        labels = ("sha256", sha256)
        wait_until(lambda: any(labels in each for each in self.daemon.samples("tickcast_model_info")), "it is named")
        self.topics.wait_forecast(self.job.output_topic, time.time_ns(), range(PARTITIONS), reloads.PATIENCE_S)

    def finish(self) -> None:
        """No more ticks; everything is answered, and the daemon ends."""
        self._market.stop()
        self.topics.wait_committed(f"group-of-{self.job.output_topic}", self.job.input_topic, reloads.PATIENCE_S)
        assert self.daemon.stop() == 0


@pytest.fixture
def run(
    bundles: Bundles,
    job: Callable[..., Job],
    tmp_path: Path,
    start_daemon: Callable[..., DaemonProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., object]:
    """`with run(environment={}, **sections) as run`: the first bundle answers a market that is open."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # the market is a process of its own

    @contextmanager
    def open_run(environment: dict[str, str] | None = None, **sections: object) -> Iterator[Run]:
        folder = tmp_path / "bundle"
        reloads.replace(folder, bundles.first)
        work = job(folder, PARTITIONS)
        load = Load(work.bootstrap_servers, work.input_topic, PARTITIONS, SYMBOLS, RATE, HEAD, seed=5)
        with Market(load) as market:
            daemon = start_daemon(work.config(input=LIMITS, **sections), environment)
            daemon.wait_ready()
            topics = Topics(work.bootstrap_servers)
            topics.wait_forecast(work.output_topic, time.time_ns(), range(PARTITIONS), reloads.PATIENCE_S)
            yield Run(work, daemon, market, topics)

    return open_run


@pytest.fixture
def judged(job: Callable[..., Job]) -> Callable[..., reloads.Verdict]:
    """What became of a run's ticks, beside fresh runs of the bundles that answered."""

    def judge(run: Run, *used: Path, **sections: object) -> reloads.Verdict:
        fresh = {bundle.load(each).sha256: job(each, PARTITIONS, of=run.job) for each in used}
        for each in fresh.values():
            reloads.fresh_run(each, run.topics, **sections)
        return reloads.judge(run.topics, run.job, fresh)

    return judge


@pytest.mark.parametrize("client", CLIENTS)
def test_reloaded_again_and_again_under_load_no_tick_is_missed_or_answered_twice(run, judged, bundles, client) -> None:
    with run(kafka={"client": client}) as running:
        results = [running.reload((bundles.second, bundles.first)[number % 2]) for number in range(RELOADS)]
        running.finish()
    assert results == ["bundle swapped"] * RELOADS
    assert {each["windows"] for each in running.daemon.events("bundle swapped")} == {"went on"}
    verdict = judged(running, bundles.first, bundles.second)
    assert verdict.holds, verdict
    assert len(verdict.by_bundle) == 2
    assert {event["recovery"] for event in running.daemon.events("partition taken up")} == {"fresh"}


@pytest.mark.parametrize(
    ("client", "delivery"), [("kafka-python", "exactly_once"), ("confluent-kafka", "at_least_once")]
)
def test_another_window_is_filled_from_the_topic_before_it_is_answered(run, judged, bundles, client, delivery) -> None:
    with run(kafka={"client": client, "delivery": delivery}) as running:
        for source in (bundles.longer, bundles.second, bundles.longer):
            assert running.reload(source) == "bundle swapped"
            running.wait_answered_by(bundle.load(source).sha256)
        running.finish()
    assert {each["windows"] for each in running.daemon.events("bundle swapped")} == {"are read again"}
    taken_up = running.daemon.events("partition taken up")[PARTITIONS:]
    assert {event["recovery"] for event in taken_up} == {"other_rules"}
    verdict = judged(running, bundles.first, bundles.second, bundles.longer)
    assert verdict.holds, verdict
    assert len(verdict.by_bundle) == 3


def test_a_damaged_bundle_is_refused_and_the_old_one_answers_on(run, judged, bundles, tmp_path: Path) -> None:
    damaged = shutil.copytree(bundles.second, tmp_path / "damaged")
    content = bytearray((damaged / "window.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "window.onnx").write_bytes(content)
    first = bundle.load(bundles.first).sha256
    with run() as running:
        assert running.reload(damaged) == "bundle refused"
        assert "window.onnx: sha256 is " in running.daemon.events("bundle refused")[0]["reason"]
        assert running.daemon.get("/readyz")[0] == 200
        wait_until(lambda: "reload refused" in running.daemon.get("/readyz")[1], "the status says so")
        results = running.daemon.samples("tickcast_reloads_total")
        running.wait_answered_by(first)
        running.finish()
    assert {dict(labels)["result"]: number for labels, number in results.items()} == {
        "refused": 1,
        "swapped": 0,
        "unchanged": 0,
    }
    verdict = judged(running, bundles.first)
    assert verdict.holds, verdict


def test_sighup_reads_the_configuration_again_and_takes_the_bundle_that_it_names(run, bundles) -> None:
    with run() as running:
        folder = running.job.bundle
        running.job.__dict__["bundle"] = bundles.second  # what the file is written anew with
        running.job.config(kafka={"poll_records_max": 77})
        assert reloads.reload(running.daemon) == "bundle swapped"
        running.wait_answered_by(bundle.load(bundles.second).sha256)
        said = {each["setting"] for each in running.daemon.events("takes effect at the next start")}
        running.job.__dict__["bundle"] = folder
        running.finish()
    assert "kafka.poll_records_max" in said
    assert not any(key.startswith("models") for key in said)


def test_a_configuration_that_no_longer_holds_is_refused(run) -> None:
    with run() as running:
        (running.job.files / "daemon.toml").write_text("[kafka]\n")
        assert reloads.reload(running.daemon) == "bundle refused"
        assert "kafka.group_id: required" in running.daemon.events("bundle refused")[0]["reason"]
        running.finish()


def test_a_watched_folder_is_reloaded_without_a_signal(run, judged, bundles) -> None:
    watch = {"TICKCAST_MODELS__0__WATCH_INTERVAL_MS": str(WATCH_INTERVAL_MS)}
    with run(watch) as running:
        reloads.replace(running.job.bundle, bundles.second)
        assert reloads.wait_reloaded(running.daemon, 1) == "bundle swapped"
        running.wait_answered_by(bundle.load(bundles.second).sha256)
        running.finish()
    assert len(running.daemon.events("reload")) == 1
    verdict = judged(running, bundles.first, bundles.second)
    assert verdict.holds, verdict


def test_the_supervisor_hears_of_a_reload_and_of_its_end(run, bundles, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(reloads.PATIENCE_S)
        with run({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"}) as running:
            before_us = time.monotonic_ns() // 1_000
            reloads.replace(running.job.bundle, bundles.second)
            os.kill(running.daemon.pid, signal.SIGHUP)
            told = []
            while "RELOADING" not in "".join(told) or "READY" not in told[-1]:
                told.append(supervisor.recv(4_096).decode())
            running.finish()
    begins = next(number for number, text in enumerate(told) if text.startswith("RELOADING=1"))
    name, _, stamp = told[begins].partition("\n")[2].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before_us <= int(stamp) <= before_us + NANOSECONDS  # of the same clock, in microseconds
    assert told[-1] == "READY=1\nSTATUS=reload: additive 2 answers"
    assert sum(text.startswith("READY=1") for text in told[:begins]) == 1


def test_a_hang_up_before_it_is_ready_waits_until_it_is(
    bundles: Bundles, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    daemon = start_daemon(job(bundles.first).config())
    daemon.wait_for_event("metrics and health")
    assert reloads.reload(daemon) == "bundle unchanged"
    assert daemon.events("ready")
    assert daemon.stop() == 0


def test_the_mode_carried_starts_every_state_anew(run, judged, bundles) -> None:
    """Of the old model's state nothing goes on, though rules and rows are the same."""
    carried = {"mode": "carried", "provider": "cpu"}
    with run(inference=carried) as running:
        assert running.reload(bundles.second) == "bundle swapped"
        running.wait_answered_by(bundle.load(bundles.second).sha256)
        running.finish()
    assert [each["windows"] for each in running.daemon.events("bundle swapped")] == ["are read again"]
    verdict = judged(running, bundles.first, bundles.second, inference=carried)
    assert verdict.holds, verdict


def test_window_rules_of_the_bundles_are_as_the_tests_need_them(bundles: Bundles) -> None:
    rules = [manifest.read(each)[0].rules for each in bundles]
    assert rules[0] == rules[1]
    assert rules[2] == WindowRules(**{**rules[0].model_dump(), "window": rules[0].window + 8})
