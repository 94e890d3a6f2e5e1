"""One instance of the daemon under a supervisor that starts it again whenever it ends, as systemd would."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daemons import DaemonProcess, wait_until
from tickcast import faults

POLL_INTERVAL_S = 0.01
# A daemon that can never start would be started for ever.
LIVES_MAX = 500


@dataclass
class Life:
    """One process of an instance. Times are wall clocks: forecasts say when they were sent."""

    process: DaemonProcess
    started_ns: int
    ended_ns: int = 0

    @property
    def stage(self) -> str:
        """The stage that it ended or stopped in, by its own log; empty where no fault point was reached."""
        reached = self.process.events(faults.EVENT)
        return str(reached[0]["stage"]) if reached else ""

    def last_words(self) -> str:
        """The end of its log."""
        return self.process.text().rstrip().rpartition("\n")[2]


class Member:
    """`environments` are those of its successive processes, one each; afterwards it gets none of its own."""

    def __init__(self, config: Path, environments: Iterable[Mapping[str, str]] = ()) -> None:
        self.name = config.stem
        self.lives: list[Life] = []
        self._config = config
        self._environments: Iterator[Mapping[str, str]] = iter(environments)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self.lives, f"{self.name} is started")

    @property
    def process(self) -> DaemonProcess:
        """The one that runs, or ran last."""
        return self.lives[-1].process

    def kill(self) -> int:
        """kill -9, from outside; when, by the wall clock."""
        os.kill(self.process.pid, signal.SIGKILL)
        return time.time_ns()

    def kill_for_good(self) -> int:
        """kill -9, and no start after it; when, by the wall clock."""
        self._stopping.set()
        killed_ns = self.kill()
        self._thread.join()
        return killed_ns

    def abandon(self) -> None:
        """It is not started again."""
        self._stopping.set()

    def stop(self) -> int:
        """SIGTERM; its exit status. It is not started again."""
        self._stopping.set()
        status = self.process.stop() if self.process.status is None else self.process.wait()
        self._thread.join()
        return status

    def end(self) -> None:
        """Whatever state it is in: gone."""
        self._stopping.set()
        for life in self.lives:
            life.process.kill()
        self._thread.join()

    def ended_by_themselves(self) -> list[int]:
        """The exit statuses of processes that nobody killed or stopped."""
        statuses = [life.process.status for life in self.lives]
        return [status for status in statuses if status not in (None, 0, -signal.SIGKILL)]

    def _run(self) -> None:
        while not self._stopping.is_set() and len(self.lives) < LIVES_MAX:
            environment = next(self._environments, {})
            started_ns = time.time_ns()
            life = Life(DaemonProcess(self._config, environment), started_ns)
            self.lives.append(life)
            while life.process.status is None:
                time.sleep(POLL_INTERVAL_S)
            life.ended_ns = time.time_ns()
