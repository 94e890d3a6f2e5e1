"""Reloads under load: two bundles in turn, and every forecast held against a fresh run of the bundle that it names.

`python -m chaos.reloads --count 200` with `tests` on the path; ends by itself with a table, exit status 1 where
something does not hold. `tests/test_daemon_reload.py` runs a short version.
"""

import argparse
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from daemons import CLOCKS, DaemonProcess, Job, wait_until
from tickcast import bundle, state_topic
from tickcast.broker import Broker
from tickcast.clients import CLIENTS
from tickcast.records import Forecast

from chaos import model
from chaos.load import HEAD_SHARE, Load, Market
from chaos.topics import Topics, forecast_of
from chaos.verdict import LIMITS, TOLERANCE

PARTITIONS = 4
SYMBOLS = 64
PATIENCE_S = 300.0
# Before the first reload: what is quiet is compared with.
QUIET_S = 8.0
# What a process allocates once, it has allocated after so many reloads.
WARM_RELOADS = 20
GROWTH_MAX = 0.02
LANES = 2  # threads for window runs that a new bundle starts when it first needs them
# A bundle begins with its export's bands when its turn comes, again and again; a fresh run of it did so once.
BESIDE = {*CLOCKS, "bands"}
ENDINGS = ("bundle swapped", "bundle refused", "bundle unchanged")
UNDISTURBED = {"client": "confluent-kafka", "poll_records_max": 2_000}

Source = tuple[int, int]  # partition, offset


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    resident_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Now."""
        process = psutil.Process(pid)
        return cls(process.memory_info().rss, process.num_threads(), process.num_fds())


@dataclass(frozen=True)
class Waits:
    """How long ticks and loop waited in a stretch of time."""

    forecasts: int
    median_ms: float  # tick written -> forecast sent
    p99_ms: float
    longest_ms: float
    gap_ms: float  # between two forecasts

    @classmethod
    def between(cls, sent: list[tuple[int, int]], begin_ns: int, end_ns: int) -> "Waits":
        """Of `sent`, ascending: when each forecast was sent, and when its tick was written."""
        inside = np.array([each for each in sent if begin_ns <= each[0] < end_ns], np.int64)
        waited_ms = (inside[:, 0] - inside[:, 1]) / 1e6
        found = (float(np.median(waited_ms)), float(np.quantile(waited_ms, 0.99)), float(waited_ms.max()))
        return cls(len(inside), *found, float(np.diff(inside[:, 0]).max()) / 1e6)


@dataclass
class Verdict:
    """What became of every tick."""

    forecasts: int = 0
    by_bundle: Counter[str] = field(default_factory=Counter)
    missing: int = 0  # every fresh run has it
    doubled: int = 0
    unexpected: int = 0  # the fresh run of the bundle that it names has none
    different: int = 0
    deviation: float = 0.0
    sent: list[tuple[int, int]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the output is what the bundles, each in its time, would have given undisturbed."""
        wrong = self.missing + self.doubled + self.unexpected + self.different
        return wrong == 0 and self.deviation <= TOLERANCE


def replace(folder: Path, source: Path) -> None:
    """`source` in the place of the bundle in `folder`, as it should be done: by renaming."""
    new, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    shutil.copytree(source, new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def reload(daemon: DaemonProcess) -> str:
    """SIGHUP; how the reload ended."""
    before = sum(len(daemon.events(each)) for each in ENDINGS)
    os.kill(daemon.pid, signal.SIGHUP)
    return wait_reloaded(daemon, before + 1)


def wait_reloaded(daemon: DaemonProcess, count: int) -> str:
    """Wait for so many reloads in all; how the last one ended."""

    def ended() -> list[dict[str, str]]:
        return sorted((e for each in ENDINGS for e in daemon.events(each)), key=lambda event: event["time"])

    wait_until(lambda: len(ended()) >= count or daemon.status is not None, f"{count} reloads", PATIENCE_S, 0.05)
    return ended()[-1]["event"]


def judge(topics: Topics, job: Job, fresh: Mapping[str, Job]) -> Verdict:
    """Every forecast beside that of the fresh run of its bundle; `fresh`: sha256 -> a job of nothing but that."""
    wanted = {sha256: dict(_first(topics, each)) for sha256, each in fresh.items()}
    verdict, met = Verdict(), set[Source]()
    for record in topics.read(job.output_topic):
        forecast = forecast_of(record)
        source = forecast.partition, forecast.offset
        verdict.forecasts += 1
        verdict.by_bundle[forecast.bundle.sha256] += 1
        verdict.sent.append((forecast.sent_time_ns, forecast.tick_time_ns))
        verdict.doubled += source in met
        met.add(source)
        reference = wanted[forecast.bundle.sha256].get(source)
        if reference is None:
            verdict.unexpected += 1
            continue
        verdict.different += _named(forecast) != _named(reference)
        verdict.deviation = max(verdict.deviation, _deviation(forecast, reference, job.target_scale))
    verdict.missing = len(set.intersection(*(set(each) for each in wanted.values())) - met)
    verdict.sent.sort()
    return verdict


def fresh_run(job: Job, topics: Topics, **sections: Any) -> None:
    """Answer all of the input with the job's bundle, undisturbed."""
    daemon = DaemonProcess(job.config(kafka=UNDISTURBED, input=LIMITS, **sections))
    try:
        topics.wait_committed(f"group-of-{job.output_topic}", job.input_topic, PATIENCE_S)
        daemon.stop()
    finally:
        daemon.kill()


def _first(topics: Topics, job: Job) -> Iterator[tuple[Source, Forecast]]:
    for record in topics.read(job.output_topic):
        forecast = forecast_of(record)
        yield (forecast.partition, forecast.offset), forecast


def _named(forecast: Forecast) -> list[object]:
    return [getattr(forecast, name) for name in forecast.__struct_fields__ if name not in BESIDE]


def _deviation(found: Forecast, wanted: Forecast, scale: float) -> float:
    off = [
        abs(value - each) / max(scale, abs(each)) for value, each in zip(found.forecast, wanted.forecast, strict=True)
    ]
    return max(each if each == each else float("inf") for each in off)


# -- the long version


def main() -> int:
    """Reload as often as asked for; whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1_000.0, help="ticks a second")
    parser.add_argument("--client", choices=sorted(CLIENTS), default="kafka-python")
    parser.add_argument("--delivery", choices=["at_least_once", "exactly_once"], default="at_least_once")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="tickcast-reloads-"))
    bundles = [model.make(_made(folder / f"seed-{seed}"), seed) for seed in (1, 2)]
    with ExitStack() as stack:
        broker = Broker()
        stack.callback(broker.stop)
        broker.start()
        place = _Place(broker, folder)
        job = place.job(folder / "bundle")
        replace(job.bundle, bundles[0])
        head = int(SYMBOLS * (model.WINDOW + 1) * HEAD_SHARE)
        load = Load(broker.bootstrap_servers, job.input_topic, PARTITIONS, SYMBOLS, asked.rate, head, seed=1)
        market = stack.enter_context(Market(load))
        kafka = {"client": asked.client, "delivery": asked.delivery, "commit_interval_ms": 1_000}
        daemon = DaemonProcess(job.config(kafka=kafka, input=LIMITS))
        stack.callback(daemon.kill)
        daemon.wait_ready()
        topics = Topics(broker.bootstrap_servers)
        topics.wait_forecast(job.output_topic, time.time_ns(), set(range(PARTITIONS)), PATIENCE_S)
        time.sleep(QUIET_S / 2)
        quiet_ns, usage = time.time_ns(), [Usage.of(daemon.pid)]
        time.sleep(QUIET_S)
        begun_ns, results = time.time_ns(), Counter[str]()
        for source in itertools.islice(itertools.cycle(reversed(bundles)), asked.count):
            replace(job.bundle, source)
            results[reload(daemon)] += 1
            usage.append(Usage.of(daemon.pid))
        ended_ns = time.time_ns()
        sent = market.stop()
        topics.wait_committed(f"group-of-{job.output_topic}", job.input_topic, PATIENCE_S)
        status = daemon.stop()
        fresh = {bundle.load(each).sha256: place.job(each, of=job) for each in bundles}
        for each in fresh.values():
            fresh_run(each, topics)
        verdict = judge(topics, job, fresh)
        quiet = Waits.between(verdict.sent, quiet_ns, begun_ns)
        busy = Waits.between(verdict.sent, begun_ns, ended_ns)
        swaps = daemon.events("bundle swapped")
    return _report(asked, dict(results), status, sent.rate, verdict, usage, (quiet, busy), swaps)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


class _Place:
    """Jobs on a broker of our own."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder

    def job(self, source: Path, of: Job | None = None) -> Job:
        """New topics; with `of`, that job's input."""
        stem = uuid.uuid4().hex[:8]
        ticks, output, dead = (f"{stem}-{what}" for what in ("ticks", "forecasts", "dead"))
        if of is None:
            self._broker.create_topic(ticks, PARTITIONS)
        self._broker.create_topic(output, PARTITIONS)
        self._broker.create_topic(dead)
        self._broker.create_topic(f"{output}-state", PARTITIONS, state_topic.SETTINGS)
        ticks = ticks if of is None else of.input_topic
        return Job(self._broker.bootstrap_servers, ticks, output, dead, source, _made(self._folder / output))


def _report(
    asked: argparse.Namespace,
    results: dict[str, int],
    status: int,
    rate: float,
    verdict: Verdict,
    usage: list[Usage],
    waits: tuple[Waits, Waits],
    swaps: Collection[Mapping[str, float]],
) -> int:
    warm, last = usage[min(WARM_RELOADS, len(usage) - 1)], usage[-1]
    growth = last.resident_bytes / warm.resident_bytes - 1
    held_up_ms = [each["held_up_ms"] for each in swaps]
    resident_mb = [round(each.resident_bytes / 1e6) for each in usage[::WARM_RELOADS]]
    lines = [
        f"{asked.client}, {asked.delivery}: {asked.count} reloads at {rate:.0f} ticks/s: {results}, exit {status}",
        f"forecasts {verdict.forecasts:,}, by each bundle {sorted(verdict.by_bundle.values())}",
        f"missing {verdict.missing}  doubled {verdict.doubled}  unexpected {verdict.unexpected}"
        f"  different {verdict.different}  deviation {verdict.deviation:.1e}",
        *(f"{name}: {each}" for name, each in (("quiet", waits[0]), ("reloads", waits[1]))),
        f"a swap held the loop up for {np.median(held_up_ms):.1f} ms, at most {max(held_up_ms):.1f} ms",
        f"a reload took {np.median([each['took_s'] for each in swaps]):.2f} s",
        f"resident MB, every {WARM_RELOADS} reloads: {resident_mb}",
        f"before {usage[0]}",
        f"after {min(WARM_RELOADS, len(usage) - 1)} {warm}",
        f"after {len(usage) - 1} {last}: memory {growth:+.1%}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    threads_more = last.threads - warm.threads
    flat = growth <= GROWTH_MAX and threads_more <= LANES and last.descriptors == warm.descriptors
    done = results == {"bundle swapped": asked.count} and status == 0
    return 0 if verdict.holds and flat and done else 1


if __name__ == "__main__":
    sys.exit(main())
