"""How long windows take to come back, and who waits meanwhile.

`python -m chaos.recovery` with `tests` on the path. First a restart: a daemon with thousands of symbols is killed and
started again; from its start to the first forecast of each partition. Then a takeover: of two daemons that share the
partitions one is killed; what the other's own ticks take, before, while it rebuilds the windows of those that were the
other's, and while it answers what came for them meanwhile. Ends with a table, in `tests/chaos/results` too.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
from daemons import DaemonProcess, Job, wait_until
from rich.console import Console
from tickcast import bench_machine, records, state_topic
from tickcast.bench_kafka_load import Load
from tickcast.broker import Broker
from tickcast.clients import CLIENTS, Partition
from tickcast.tick_columns import BOOK_COLUMNS

from chaos import recovery_figures
from chaos.recovery_figures import Restart, Takeover, span
from chaos.topics import Topics

WINDOW = 64
PARTITIONS = 4
FAMILY = "additive"
# Event times of the head lie so close that no symbol is silent for long; the rules know no gap all the same.
HEAD_RATE = 20_000.0
PATIENCE_S = 300.0
SETTLING_S = 5.0
BEFORE_S = 15.0
AFTER_S = 5.0
SESSION_MS = 6_000
COMMIT_INTERVAL_MS = 1_000  # the default; tests have others
# Between two looks at a daemon's log: who measures must not be what is measured.
LOOK_INTERVAL_S = 0.5


@dataclass(frozen=True)
class Plan:
    """What to measure, and how large."""

    client: str
    symbols: int
    ticks: int
    rate: float  # ticks a second, of the takeover
    restarts: int
    takeovers: int
    before_s: float = BEFORE_S
    after_s: float = AFTER_S


class Site:
    """A broker with all the ticks, and the daemons on it."""

    def __init__(self, broker: Broker, bundle: Path, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.topics = Topics(broker.bootstrap_servers)
        self.job = Job(broker.bootstrap_servers, "ticks", "forecasts", "dead-letters", bundle, folder)
        for topic in (self.job.input_topic, self.job.output_topic, self.job.dead_letter_topic):
            broker.create_topic(topic, PARTITIONS)
        broker.create_topic("forecasts-state", PARTITIONS, state_topic.SETTINGS)

    def daemon(self, name: str = "daemon") -> DaemonProcess:
        """Start one."""
        settings = {
            "client": self.plan.client,
            "session_timeout_ms": SESSION_MS,
            "commit_interval_ms": COMMIT_INTERVAL_MS,
        }
        return DaemonProcess(self.job.config(name, kafka=settings))

    def send(self, ticks: int, paced: bool = False) -> "subprocess.Popen[bytes]":
        """Ticks on their way: all at once, or at the plan's rate."""
        load = Load(
            client="confluent-kafka",
            bootstrap_servers=self.job.bootstrap_servers,
            topic=self.job.input_topic,
            columns=BOOK_COLUMNS,
            symbols=self.plan.symbols,
            ticks=ticks,
            seed=ticks,
            rate=self.plan.rate if paced else HEAD_RATE,
            paced=paced,
        )
        command = [sys.executable, "-m", "tickcast.bench_kafka_load", msgspec.json.encode(load).decode()]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def wait_committed(self) -> None:
        """Wait until all there is now is answered."""
        self.topics.wait_committed(f"group-of-{self.job.output_topic}", self.job.input_topic, PATIENCE_S)


def main() -> int:
    """All of it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    asked = _asked()
    if asked.make_bundle:
        _make_bundle(Path(asked.make_bundle))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    found: dict[str, tuple[list[Restart], list[Takeover]]] = {}
    for client in asked.client or list(CLIENTS):
        ticks = asked.symbols * (WINDOW + 2)
        plan = Plan(client, asked.symbols, ticks, asked.rate, asked.restarts, asked.takeovers)
        folder = Path(tempfile.mkdtemp(prefix="tickcast-recovery-"))
        console.print(f"{plan}; logs: {folder}")
        with ExitStack() as stack:
            site = Site(stack.enter_context(Broker(data=folder / "broker")), _bundle(folder), folder, plan)
            assert site.send(plan.ticks).wait(PATIENCE_S) == 0
            restarts = _restarts(site, stack, console)
            takeovers = _takeovers(site, stack, console)
        found[client] = restarts, takeovers
    facts = {
        "symbols": asked.symbols,
        "window": WINDOW,
        "partitions": PARTITIONS,
        "ticks/s of takeovers": asked.rate,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{bench_machine.cores()} of {bench_machine.cpu_model()}",
    }
    recovery_figures.write(found, facts)
    console.print(recovery_figures.tables(found))
    return 0


# -- a restart


def _restarts(site: Site, stack: ExitStack, console: Console) -> list[Restart]:
    first = site.daemon()
    stack.callback(first.kill)
    site.wait_committed()
    first.kill()
    found = []
    for _ in range(site.plan.restarts):
        assert site.send(10 * PARTITIONS).wait(PATIENCE_S) == 0  # something to answer in each partition
        found.append(restart(site, stack))
        console.print(found[-1])
    return found


def restart(site: Site, stack: ExitStack) -> Restart:
    """Start a daemon whose windows are all in the topic; it is killed afterwards."""
    started_ns = time.time_ns()
    daemon = site.daemon()
    stack.callback(daemon.kill)
    rebuilt = _wait_rebuilt(daemon, PARTITIONS)
    processor = psutil.Process(daemon.pid).cpu_times()
    site.topics.wait_forecast(site.job.output_topic, started_ns, range(PARTITIONS), PATIENCE_S)
    sent = [f.sent_time_ns for f in _forecasts(site, started_ns)]
    site.wait_committed()
    daemon.kill()
    return Restart(
        ready_s=daemon.events("ready")[0]["after_s"],
        rebuilt_s=(_time_ns(rebuilt[-1]) - started_ns) / 1e9,
        forecast_s=(min(sent) - started_ns) / 1e9,
        replayed=sum(each["records"] for each in rebuilt),
        processor_s=round(processor.user + processor.system, 2),
        load=round(bench_machine.load(), 1),
    )


# -- a takeover


def _takeovers(site: Site, stack: ExitStack, console: Console) -> list[Takeover]:
    if not site.plan.takeovers:
        return []
    survivor = site.daemon("survivor")
    stack.callback(survivor.kill)
    survivor.wait_ready()
    found = []
    for _ in range(site.plan.takeovers):
        found.append(takeover(site, survivor, stack))
        console.print(found[-1])
    return found


def takeover(site: Site, survivor: DaemonProcess, stack: ExitStack) -> Takeover:
    """Have another daemon join `survivor`, under load, and kill it once both are at rest."""
    other = site.daemon("other")
    stack.callback(other.kill)
    wait_until(lambda: len(survivor.owned()) == len(other.owned()) == PARTITIONS // 2, "shared", PATIENCE_S)
    _wait_rebuilt(other, PARTITIONS // 2)
    own = {Partition(topic, int(number)).number for topic, _, number in (p.rpartition("/") for p in survivor.owned())}
    market = site.send(int(site.plan.rate * (site.plan.before_s + site.plan.after_s + PATIENCE_S)), paced=True)
    stack.callback(market.kill)
    settled = time.time_ns() + int(SETTLING_S * 1e9)
    time.sleep(SETTLING_S + site.plan.before_s)
    rebuilt_before = len(survivor.events("windows rebuilt"))
    killed_ns = time.time_ns()
    other.kill()
    rebuilt = _wait_rebuilt(survivor, rebuilt_before + PARTITIONS // 2)[rebuilt_before:]
    time.sleep(site.plan.after_s)
    market.kill()
    market.wait()
    site.wait_committed()
    began_ns = _time_ns(survivor.events("partition taken up")[-PARTITIONS // 2])
    ended_ns = _time_ns(rebuilt[-1])
    sent = [f for f in _forecasts(site, settled) if f.partition in own]
    return Takeover(
        before=span(sent, settled, killed_ns),
        rebuilding=span(sent, began_ns, ended_ns),
        after=span(sent, ended_ns, ended_ns + int(site.plan.after_s * 1e9)),
        replayed=sum(each["records"] for each in rebuilt),
        taken_up_s=(began_ns - killed_ns) / 1e9,
        load=round(bench_machine.load(), 1),
    )


# -- the means


def _wait_rebuilt(daemon: DaemonProcess, partitions: int) -> list[dict[str, object]]:
    wait_until(
        lambda: len(daemon.events("windows rebuilt")) >= partitions, "windows rebuilt", PATIENCE_S, LOOK_INTERVAL_S
    )
    return daemon.events("windows rebuilt")


def _forecasts(site: Site, since_ns: int) -> list[records.Forecast]:
    found = [records.decode(record.value or b"") for record in site.topics.read(site.job.output_topic)]
    return [forecast for forecast in found if forecast.sent_time_ns >= since_ns]


def _time_ns(event: dict[str, object]) -> int:
    """When a line of the log was written, to the millisecond."""
    return round(datetime.fromisoformat(str(event["time"])).timestamp() * 1_000) * 1_000_000


def _bundle(folder: Path) -> Path:
    """Made by a process of its own, with which TensorFlow's memory goes."""
    command = [sys.executable, "-m", "chaos.recovery", "--make-bundle", str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder / FAMILY


def _make_bundle(folder: Path) -> None:
    """`chaos.model` makes one whose rules know gaps; here the head lies minutes before the rest."""
    from exported import export
    from tickcast.manifest import WindowRules

    export(FAMILY, folder, WindowRules(window=WINDOW))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos.recovery", description=__doc__)
    parser.add_argument("--client", choices=list(CLIENTS), action="append", help="default: each of them")
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=500.0, help="ticks a second during the takeover")
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--takeovers", type=int, default=3)
    parser.add_argument("--make-bundle", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
