"""Processes that the demo and the benches start: each a command of its own, and none outlives who started it.

Around the way of a tick. They are started as the development broker is, through `tickcast.broker_child`: whatever ends
the process that started them, kill -9 included, ends them too. Each has its own session, so that Ctrl-C reaches that
process alone, which stops them in its own order.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tickcast import broker_child
from tickcast.config import ENVIRONMENT_PREFIX
from tickcast.errors import TickcastError

STOP_TIMEOUT_S = 20.0  # the daemon drains for at most ten; then SIGKILL
READY_TIMEOUT_S = 60.0  # a second is usual
READY_INTERVAL_S = 0.05
HTTP_TIMEOUT_S = 2.0
LOG_LINES_SHOWN = 15


class Child:
    """A command in a process of its own; a context manager that ends it. `name` is for errors.

    Standard error goes to `log`; standard output is the caller's, or goes to the file `output`. The environment is the
    caller's and `variables`, without overrides of a daemon's configuration: what is run is what the files say.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        output: Path | None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._log = log
        launcher = [sys.executable, "-I", "-S", broker_child.__file__, str(os.getpid()), ""]
        with ExitStack() as opened:
            self._process = subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=opened.enter_context(output.open("wb")) if output else None,
                stderr=opened.enter_context(log.open("wb")),
                env=_environment() | dict(variables or {}),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The command's own process."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether it has come to its end. Raises TickcastError, with the end of its log, if that was a bad one."""
        status = self._process.poll()
        if status:
            raise self.failure(f"ended with status {status}")
        return status is not None

    def wait(self, statuses: Sequence[int] = (0,)) -> None:
        """Wait for its end. Raises TickcastError, with the end of its log, for a status not among `statuses`."""
        status = self._process.wait()
        if status not in statuses:
            raise self.failure(f"ended with status {status}")

    def stop(self) -> int:
        """Ask it to end (SIGTERM), by force after 20 s; its exit status. May be called again."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def log_text(self) -> str:
        """What it has written."""
        return self._log.read_text("utf-8", "replace")

    def failure(self, what: str) -> TickcastError:
        """An error that shows the end of its log."""
        lines = self.log_text().splitlines()[-LOG_LINES_SHOWN:]
        return TickcastError("\n".join([f"{self._name} {what}; the end of {self._log}:", *lines]))


class DaemonChild(Child):
    """`tickcast run`, watched from outside: through its log and its health page."""

    def __init__(self, config: Path, log: Path) -> None:
        super().__init__(
            "tickcast run", tickcast_command(["run", "--config", str(config)]), log, log.with_suffix(".out")
        )
        self._url = ""

    def wait_until_ready(self) -> None:
        """Raises TickcastError when it ends before, or is not ready in time."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self.health().get("ready"):
            if self.ended():
                raise self.failure("ended before it was ready")
            if time.monotonic() > deadline_s:
                raise self.failure(f"was not ready within {READY_TIMEOUT_S:.0f} s")
            time.sleep(READY_INTERVAL_S)

    def health(self) -> dict[str, Any]:
        """What `/readyz` says; empty while nobody answers there."""
        self._url = self._url or str(self.said("metrics and health").get("url", ""))
        if not self._url:
            return {}
        try:
            with urllib.request.urlopen(f"{self._url}/readyz", timeout=HTTP_TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:  # 503: not ready, with the reason in the same form
            with error:
                found = json.load(error)
        except OSError:
            return {}
        return found

    def said(self, event: str) -> dict[str, Any]:
        """The first line of this event in its log; empty where there is none yet."""
        for line in self.log_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                entry: dict[str, Any] = json.loads(line)
                if entry.get("event") == event:
                    return entry
        return {}


def tickcast_command(arguments: Sequence[str]) -> list[str]:
    """`tickcast` with these arguments, in this process's Python."""
    return module_command("tickcast", arguments)


def module_command(module: str, arguments: Sequence[str]) -> list[str]:
    """`module` as a program with these arguments, in this process's Python."""
    # -P: the working folder is no place to import from.
    return [sys.executable, "-P", "-m", module, *arguments]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
