"""Half an hour of market, and a daemon that must be at its end as it was after its warm-up.

`make soak`, or `python -m chaos.soak` with `tests` on the path. From the environment: `DURATION_S` (1,800), `RATE`
(1,000 ticks a second), `CLIENT` (kafka-python), `DELIVERY` (at_least_once). Ends by itself with a table,
which `tests/chaos/results` keeps of a run as long as that; exit status 1 where something does not hold.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from daemons import DaemonProcess, Job
from rich.console import Console
from tickcast import bench_machine, state_topic
from tickcast.broker import Broker

from chaos import model, report, soak_series
from chaos.course import PARTITIONS, PATIENCE_S, SETTINGS, SYMBOLS
from chaos.load import HEAD_SHARE, Load, Market
from chaos.soak_series import LOOP, SIDECAR, Buckets, Check, Footprint, Sample
from chaos.topics import Topics
from chaos.verdict import LIMITS

DURATION_S = 1_800.0
SAMPLE_INTERVAL_S = 5.0
# Of the duration: a sixth of half an hour is the five minutes that are compared.
WARM_SHARE = 1 / 6
SPAN_SHARE = 1 / 6
# By the daemon's own clock, and by Kafka's timestamps of the ticks.
LATENCIES = ("tickcast_received_to_handed_seconds", "tickcast_kafka_to_sent_seconds")
# Half an hour's records need not be kept.
KEPT = {"retention.bytes": "50000000", "segment.bytes": "25000000"}
PROGRESS_EVERY = 12  # samples


@dataclass(frozen=True)
class Size:
    """How long, how much, and of which daemon."""

    duration_s: float
    rate: float
    client: str
    delivery: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Size":
        """As asked for."""
        return cls(
            duration_s=float(environment.get("DURATION_S") or DURATION_S),
            rate=float(environment.get("RATE") or 1_000),
            client=environment.get("CLIENT") or "kafka-python",
            delivery=environment.get("DELIVERY") or "at_least_once",
        )


def main() -> int:
    """All of it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    console, size = Console(highlight=False, soft_wrap=True), Size.of(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="tickcast-soak-"))
    console.print(f"logs: {folder}")
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        job = _job(broker, model.make(folder), folder)
        kafka = {**SETTINGS, "client": size.client, "delivery": size.delivery, "commit_interval_ms": 1_000}
        daemon = DaemonProcess(job.config(kafka=kafka, input=LIMITS))
        stack.callback(daemon.kill)
        daemon.wait_ready()
        head = int(SYMBOLS * (model.WINDOW + 1) * HEAD_SHARE)
        load = Load(broker.bootstrap_servers, job.input_topic, PARTITIONS, SYMBOLS, size.rate, head, seed=0)
        market = stack.enter_context(Market(load))
        samples = _watch(daemon, size, console)
        sent = market.stop()
        Topics(broker.bootstrap_servers).wait_committed(f"group-of-{job.output_topic}", job.input_topic, PATIENCE_S)
        status = daemon.stop()
    made = soak_series.checks(samples, size.duration_s * WARM_SHARE, size.duration_s * SPAN_SHARE)
    made.append(Check("ticks a second", f"{sent.rate:,.0f}", f"{size.rate:,.0f}", sent.rate >= 0.99 * size.rate))
    made.append(Check("exit status", str(status), "0", status == 0))
    console.print(soak_series.table(made))
    if size.duration_s >= DURATION_S:
        _write(made, samples, size)
    if not all(each.holds for each in made):
        return 1
    shutil.rmtree(folder)
    return 0


def _watch(daemon: DaemonProcess, size: Size, console: Console) -> list[Sample]:
    samples: list[Sample] = []
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < size.duration_s:
        samples.append(Sample(at_s, footprints(daemon), {name: _buckets(daemon, name) for name in LATENCIES}))
        if len(samples) % PROGRESS_EVERY == 1:
            console.print(f"{at_s:6.0f} s  {samples[-1].footprints}")
        time.sleep(max(0.0, began_s + len(samples) * SAMPLE_INTERVAL_S - time.monotonic()))
    return samples


def footprints(daemon: DaemonProcess) -> dict[str, Footprint]:
    """The loop's process and its sidecar."""
    loop = psutil.Process(daemon.pid)
    (sidecar,) = loop.children()
    return {name: _footprint(process) for name, process in ((LOOP, loop), (SIDECAR, sidecar))}


def _footprint(process: psutil.Process) -> Footprint:
    with process.oneshot():
        return Footprint(process.memory_info().rss, process.num_fds(), process.num_threads())


def _buckets(daemon: DaemonProcess, name: str) -> Buckets:
    return {float(dict(labels)["le"]): count for labels, count in daemon.samples(f"{name}_bucket").items()}


def _job(broker: Broker, bundle: Path, folder: Path) -> Job:
    job = Job(broker.bootstrap_servers, "ticks", "forecasts", "dead-letters", bundle, folder)
    for topic in (job.input_topic, job.output_topic, job.dead_letter_topic):
        broker.create_topic(topic, 1 if topic == job.dead_letter_topic else PARTITIONS, KEPT)
    broker.create_topic("forecasts-state", PARTITIONS, state_topic.SETTINGS)
    return job


def _write(made: list[Check], samples: list[Sample], size: Size) -> None:
    facts = {
        **asdict(size),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{bench_machine.cores()} of {bench_machine.cpu_model()}",
        "load": round(bench_machine.load(), 1),
    }
    prints = [{"at_s": round(each.at_s), **{n: asdict(f) for n, f in each.footprints.items()}} for each in samples]
    document = {"facts": facts, "checks": [asdict(each) for each in made], "samples": prints}
    report.RESULTS.mkdir(exist_ok=True)
    (report.RESULTS / "soak.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    told = "; ".join(f"{key} {value}" for key, value in facts.items())
    (report.RESULTS / "soak.md").write_text(f"{told}.\n\n{soak_series.table(made)}\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
