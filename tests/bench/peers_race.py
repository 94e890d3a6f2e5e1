"""One system's run in one round: started, watched, ended, its forecasts read and checked."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from bench import peers_results
from bench.peers_reference import References
from bench.peers_results import Look, Run
from bench.peers_systems import SYSTEMS, Job, System
from bench.peers_topics import Topics
from tickcast.broker import Broker

LOOK_INTERVAL_S = 0.2
START_TIMEOUT_S = 60.0  # Faust takes 8 s, Keras 6
STOP_TIMEOUT_S = 10.0
LOG_LINES_SHOWN = 15
TOLERANCE = 1e-5  # of max(1, |forecast|): the target's scale is 1


class SystemFailedError(Exception):
    """A system did not do its job in this round."""


@dataclass(frozen=True)
class Race:
    """What all runs have in common."""

    broker: Broker
    topics: Topics
    references: References
    ticks: int
    seconds_max: float  # from the first forecast on
    models: Path
    folder: Path

    def run(self, name: str, round_number: int) -> Run:
        """One system, from its start to its end. Raises SystemFailedError."""
        system, output = SYSTEMS[name], f"{name}-{round_number}"
        folder = self.folder / output
        folder.mkdir()
        self.topics.make_output(output)
        job = Job(self.broker.bootstrap_servers, output, self.ticks, self.models, folder)
        with _process(system, job) as process:
            first, last = self._watch(process, output, system.expected(self.ticks), folder)
        run = self._judge(system, output, first, last)
        self.topics.delete([output])
        return run

    def _watch(self, process: subprocess.Popen[bytes], output: str, expected: int, folder: Path) -> tuple[Look, Look]:
        """Return when every tick is answered, the time is up or the system has ended: its first and last looks."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        first, last = None, Look(0, 0.0, 0.0)
        while True:
            status = process.poll()  # asked before looking, so that the last look sees all
            look = Look(self.topics.answered(output), _cpu_s(process.pid), _cpu_s(self.broker.pid))
            if status or (status == 0 and not look.answered):
                raise SystemFailedError(f"ended with status {status}\n{_log_end(folder)}")
            if first is None and look.answered:
                first, deadline_s = look, time.monotonic() + self.seconds_max
            last = look if status is None else last  # the times of what has ended are gone
            is_late = time.monotonic() > deadline_s
            if first and (status == 0 or look.answered >= expected or is_late):
                return first, last
            if is_late:
                raise SystemFailedError(f"no forecast within {START_TIMEOUT_S:.0f} s\n{_log_end(folder)}")
            time.sleep(LOOK_INTERVAL_S)

    def _judge(self, system: System, output: str, first: Look, last: Look) -> Run:
        answers = self.topics.read(output)
        ticks_per_s, seconds = peers_results.rate(answers.stamps_ms)
        missing, doubled = peers_results.missing_and_doubled(answers, system.unanswered_first)
        error = peers_results.error_max(answers, self.references[system.reference])
        if not error <= TOLERANCE:
            raise SystemFailedError(f"forecasts are off by {error:.1e}, more than {TOLERANCE:.0e}")
        if missing or doubled:
            raise SystemFailedError(f"{missing} ticks missing, {doubled} answered twice")
        costs = peers_results.us_per_tick(first, last)
        return Run(len(answers.stamps_ms), seconds, ticks_per_s, missing, doubled, error, *costs)


@contextmanager
def _process(system: System, job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """The system's process; asked to end afterwards, and made to."""
    started = system.start(job)
    with (job.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            started.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=job.folder,
            env={**os.environ, **started.environment},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu_s(pid: int) -> float:
    """Processor time that a process and its children have taken so far; 0 where it has just ended."""
    try:
        process = psutil.Process(pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return float(sum(each.user + each.system for each in times))


def _log_end(folder: Path) -> str:
    return "\n".join((folder / "log").read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:])
