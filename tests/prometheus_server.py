"""The real Prometheus, as Debian packages it: `prometheus` over given rules and targets, and `promtool`.

`with PrometheusServer(folder, {"tickcast": ["127.0.0.1:9464"]}, rules) as prometheus:` scrapes, evaluates and answers
PromQL until the block ends. Both programs are looked for on the path; a test that needs one is skipped without it.
"""

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil
import pytest
from daemons import HTTP_TIMEOUT_S, wait_until

PACKAGE = "prometheus"
# Between scrapes, and between evaluations of rules; rates need two scrapes. A slow machine answers one in time.
INTERVAL_S = 1.0
QUERY_INTERVAL_S = 0.1
# It closes its write-ahead log when asked to end.
END_TIMEOUT_S = 10.0


class Sample(NamedTuple):
    """One series of an instant query's answer. The name is the label `__name__`."""

    labels: Mapping[str, str]
    value: float


def program(name: str) -> str:
    """Where Debian's `prometheus` or `promtool` is; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGE}")
    return found


def promtool(*arguments: object, given: str = "", folder: Path | None = None) -> str:
    """What promtool says to `arguments`, run in `folder` and `given` that input. Fails the test where it refuses."""
    command = [program("promtool"), *map(str, arguments)]
    ended = subprocess.run(command, input=given, cwd=folder, capture_output=True, text=True, check=False)
    said = ended.stdout + ended.stderr
    if ended.returncode != 0:
        pytest.fail(f"promtool {' '.join(command[1:])} ended with {ended.returncode}\n{said}")
    return said


class PrometheusServer:
    """`prometheus`, as a process of its own on a free port of this host. Whoever starts it ends it: `close`."""

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, Sequence[str]],
        rules: Iterable[Path] = (),
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`targets`: job -> addresses; files and the log go to `folder`."""
        executable = program("prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / "prometheus.log"
        self._targets = sum(map(len, targets.values()))
        config = folder / "prometheus.yml"
        config.write_text(json.dumps(_config(targets, rules, interval_s)))  # JSON is YAML too
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    executable,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.url = f"http://127.0.0.1:{self._port()}"
            wait_until(self._is_ready, "Prometheus is ready")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, by its own process id; may be called again."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def query(self, promql: str) -> list[Sample]:
        """What an instant query finds now; a scalar is one sample without labels. Fails the test on bad PromQL."""
        answer = self.api("query", query=promql)
        if answer["resultType"] == "scalar":
            return [Sample({}, float(answer["result"][1]))]
        assert answer["resultType"] == "vector", f"no instant vector: {promql}"
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def wait_for(self, promql: str) -> list[Sample]:
        """Wait until `promql` finds something, and return it."""
        found: list[Sample] = []

        def finds() -> bool:
            found[:] = self.query(promql)
            return bool(found)

        wait_until(finds, f"data for {promql}", interval_s=QUERY_INTERVAL_S)
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule that is loaded, as `/api/v1/rules` tells of it."""
        return [rule for group in self.api("rules")["groups"] for rule in group["rules"]]

    def wait_evaluated(self) -> list[dict[str, Any]]:
        """Wait until each rule has been evaluated, and return them."""
        wait_until(lambda: all(rule["health"] != "unknown" for rule in self.rules()), "all rules are evaluated")
        return self.rules()

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that is pending or firing."""
        alerts: list[dict[str, Any]] = self.api("alerts")["alerts"]
        return alerts

    def wait_scraped(self) -> None:
        """Wait until every target has answered a scrape."""

        def scraped() -> bool:
            known = self.api("targets")["activeTargets"]
            return len(known) == self._targets and all(target["health"] == "up" for target in known)

        wait_until(scraped, "every target is up", interval_s=QUERY_INTERVAL_S)

    def api(self, path: str, **parameters: str) -> Any:
        """`data` of the answer of `/api/v1/PATH`. Fails the test on any error."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                pytest.fail(f"{path} {parameters}: {error.code} {error.read().decode()}")

    def _port(self) -> int:
        """Which port it was given."""
        ports: list[int] = []

        def listens() -> bool:
            if self._process.poll() is not None:
                pytest.fail(f"Prometheus ended with {self._process.returncode}\n{self.log_path.read_text()}")
            connections = psutil.Process(self._process.pid).net_connections("tcp")
            ports[:] = [each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN]
            return bool(ports)

        wait_until(listens, "Prometheus listens")
        return ports[0]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=HTTP_TIMEOUT_S) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:  # it reads its write-ahead log
            error.close()
            return False


def _config(targets: Mapping[str, Sequence[str]], rules: Iterable[Path], interval_s: float) -> dict[str, Any]:
    interval = f"{round(interval_s * 1_000)}ms"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path.absolute()) for path in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]} for job, addresses in targets.items()
        ],
    }
