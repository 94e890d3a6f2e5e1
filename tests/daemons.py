"""The daemon as an operator has it: a process started from a file, watched over HTTP, ended by signals.

`Job` is what a group of daemons works on, with what came of it; `DaemonProcess` is one of them.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tickcast import config as configuration
from tickcast import manifest, records
from tickcast.cli import main
from tickcast.clients import Partition, Record
from tickcast.records import Forecast
from tickcast.topic_reader import TopicReader

# Far above what any step takes on a loaded machine: reached only when it will never come.
PATIENCE_S = 120.0
# Between two looks, and at most, after some seconds: who looks takes time from what is waited for.
POLL_INTERVAL_S = 0.02
POLL_INTERVAL_MAX_S = 0.1
# Of what was waited so far.
POLL_INTERVAL_SHARE = 0.05
HTTP_TIMEOUT_S = 10.0

# What two runs may differ in; forecasts and weights are compared to a tolerance.
CLOCKS = {"received_time_ns", "sent_time_ns", "path", "forecast", "attention"}

Source = tuple[Partition, int]


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S, interval_s: float = POLL_INTERVAL_S
) -> None:
    """Return as soon as `condition` holds. Fails the test when it does not within `timeout_s`."""
    started_s = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - started_s
        if waited_s > timeout_s:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(max(interval_s, min(POLL_INTERVAL_MAX_S, POLL_INTERVAL_SHARE * waited_s)))


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """All threads of the process stand still meanwhile: the signal alone reaches them one by one."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(map(_is_halted, Path(f"/proc/{pid}/task").iterdir())), f"{pid} stands still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class DaemonProcess:
    """`tickcast run`, as a process of its own. Whoever starts it ends it: `kill` may be called again."""

    def __init__(self, config: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log_path = config.with_name(f"{config.stem}.{time.monotonic_ns()}.log")
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tickcast", "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The loop's process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def text(self) -> str:
        """What it wrote to standard error so far."""
        return self.log_path.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Every line of the log with this event, in order."""
        whole, named = self.text().rpartition("\n")[0], json.dumps(name)
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{") and named in line]
        return [line for line in lines if line["event"] == name]

    def wait_for_event(self, name: str) -> dict[str, Any]:
        """The first line of the log with this event."""
        self._wait_until(lambda: self.events(name), f"event {name!r}")
        return self.events(name)[0]

    def wait_ready(self) -> None:
        """Wait until `/readyz` says so."""
        self.wait_for_event("metrics and health")
        self._wait_until(lambda: self.get("/readyz")[0] == 200, "ready")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        url = self.wait_for_event("metrics and health")["url"]
        try:
            with urllib.request.urlopen(url + path, timeout=HTTP_TIMEOUT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        """Labels -> value of each sample of a metric, as `/metrics` shows it."""
        status, text = self.get("/metrics")
        assert status == 200
        asked = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(name))  # reading all takes 10 ms
        found = [sample for family in text_string_to_metric_families(asked) for sample in family.samples]
        return {frozenset(each.labels.items()): each.value for each in found if each.name == name}

    def total(self, name: str) -> float:
        """The sum over a metric's labels."""
        return sum(self.samples(name).values())

    def owned(self) -> set[str]:
        """The partitions it owns, `topic/number`, as `/readyz` last showed them."""
        return set(json.loads(self.get("/readyz")[1])["detail"].get("partitions", {}))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {PATIENCE_S:g} s\n{self.text()}")

    def kill(self) -> None:
        """kill -9, and wait until its sidecar is gone with it."""
        if self._process.poll() is not None:
            return
        children = psutil.Process(self.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        wait_until(lambda: not any(map(_runs, children)), "the sidecar is gone")

    def _wait_until(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> object:
            if self._process.poll() is not None:
                pytest.fail(f"ended with {self._process.returncode}, waited for {what}\n{self.text()}")
            return condition()

        wait_until(holds, what)


@dataclass(frozen=True)
class Job:
    """An input topic, and one group's output of it. `files` is a folder for configurations and logs."""

    bootstrap_servers: str
    input_topic: str
    output_topic: str
    dead_letter_topic: str
    bundle: Path
    files: Path

    @cached_property
    def reader(self) -> TopicReader:
        """A reader of its topics, opened once; whoever makes the job closes it."""
        return TopicReader(configuration.load(self.config("reader"), {}).kafka)

    def config(
        self, name: str = "daemon", *, models: Sequence[Mapping[str, Any]] = (), **sections: Mapping[str, Any]
    ) -> Path:
        """The configuration file of the group's member `name`; `sections` are merged into it.

        Without `models` the job's bundle answers every symbol.
        """
        tree: dict[str, dict[str, Any]] = {
            "kafka": {
                "bootstrap_servers": self.bootstrap_servers,
                "group_id": f"group-of-{self.output_topic}",
                "input_topics": [self.input_topic],
                "output_topic": self.output_topic,
                "dead_letter_topic": self.dead_letter_topic,
                "start": "earliest",
                "commit_interval_ms": 100,
            },
            "inference": {"provider": "cpu"},
            "http": {"port": 0},
        }
        for section, changes in sections.items():
            tree.setdefault(section, {}).update(changes)
        path = self.files / f"{name}.toml"
        entries = models or [{"bundle": str(self.bundle), "allow_untrained_symbols": True}]
        path.write_text("\n".join([toml(tree), *(toml({"[models]": entry}) for entry in entries)]))
        return path

    def published(self) -> int:
        """Records in the output topic so far."""
        held = self.reader.held(self.reader.partitions(self.output_topic))
        return sum(end - first for first, end in held.values())

    def wait_published(self, count: int) -> None:
        """Wait until there are `count` records in the output topic."""
        wait_until(lambda: self.published() >= count, f"{count} forecasts")

    def wait_done(self) -> None:
        """Wait until the group has committed all there is now."""
        ends = {p: held.end for p, held in self.reader.held(self.reader.partitions(self.input_topic)).items()}

        def done() -> bool:
            committed = self.reader.committed(ends)
            return all((at := committed[p]) is not None and at.offset >= end for p, end in ends.items())

        wait_until(done, "everything answered and committed")

    def records(self, topic: str) -> list[Record]:
        """Everything in `topic`."""
        return list(self.reader.read(self.reader.held(self.reader.partitions(topic))))

    def forecasts(self) -> dict[Source, list[Forecast]]:
        """Every copy of every forecast, by the source record that its headers name."""
        found: dict[Source, list[Forecast]] = defaultdict(list)
        for record in self.records(self.output_topic):
            assert record.value is not None
            found[records.source_of(record.headers)].append(records.decode(record.value))
        return dict(found)

    def audit(self, **sections: Any) -> dict[str, Any]:
        """What `tickcast audit --to end` says of all partitions together; `sections` as for `config`."""
        printed = io.StringIO()
        with redirect_stdout(printed), pytest.raises(SystemExit) as ended:
            main(["audit", "--config", str(self.config("audit", **sections)), "--to", "end", "--json"])
        whole: dict[str, Any] = json.loads(printed.getvalue())["total"]
        assert ended.value.code == (0 if whole["adds_up"] else 1)
        return whole

    @property
    def target_scale(self) -> float:
        """The unit of every tolerance."""
        return manifest.read(self.bundle)[0].target_scale


def assert_same_forecasts(
    found: Mapping[Source, Collection[Forecast]],
    wanted: Mapping[Source, Collection[Forecast]],
    target_scale: float,
    but: Collection[str] = (),
) -> None:
    """Every copy in `found` is the undisturbed run's, forecasts to 1e-6 of max(target_scale, |forecast|).

    The fields `but` are not compared.
    """
    assert found.keys() == wanted.keys()
    for source, copies in found.items():
        (reference,) = wanted[source]
        for copy in copies:
            assert _without({*CLOCKS, *but}, copy) == _without({*CLOCKS, *but}, reference), source
            for value, expected in zip(copy.forecast, reference.forecast, strict=True):
                assert abs(value - expected) <= 1e-6 * max(target_scale, abs(expected)), source
            for weight, expected in zip(copy.attention or (), reference.attention or (), strict=True):
                assert abs(weight - expected) <= 1e-6, source


def toml(tree: Mapping[str, Mapping[str, Any]]) -> str:
    """One level of sections as TOML; JSON's scalars and arrays of them are TOML's too."""
    lines = []
    for section, settings in tree.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    return "\n".join([*lines, ""])


def _without(names: Collection[str], forecast: Forecast) -> dict[str, Any]:
    return {name: getattr(forecast, name) for name in forecast.__struct_fields__ if name not in names}


def _is_halted(thread: Path) -> bool:
    """Whether a thread of a process, by its folder below /proc, is stopped, or gone."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
