"""What `tickcast bench kafka` measures: the daemon, and the bare echo it is compared with; and the processes around.

Around the whole way of a tick. Each subject has topics of its own and is started anew for every round; the daemon goes
on where its group has committed, as after any restart.
"""

import os
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tickcast import bench_kafka_reader, config, toml_text
from tickcast.bench_kafka_load import Load, Sent
from tickcast.bench_kafka_reader import READY, Reading, Seen
from tickcast.child_processes import Child, DaemonChild, module_command
from tickcast.config import Config
from tickcast.errors import BrokerError
from tickcast.topic_reader import TopicReader

LOOK_INTERVAL_S = 0.1
READY_TIMEOUT_S = 60.0
STALL_MAX_S = 30.0
HTTP_TIMEOUT_S = 10.0
TICKS_PER_SECOND_OF_CPU = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Subject:
    """A configuration, with its topics, and how the process that works on them is started."""

    kind: str  # `daemon` or `echo`
    config_path: Path
    config: Config

    @contextmanager
    def running(self, log: Path) -> Iterator[Child]:
        """Its process, ready for ticks; ended when left. Raises TickcastError where it does not get ready."""
        if self.kind == "daemon":
            with DaemonChild(self.config_path, log) as daemon:
                daemon.wait_until_ready()
                yield daemon
                _check_end(daemon)
        else:
            with worker("bench_kafka_echo", str(self.config_path), log) as echo:
                wait_until_ready(echo, log)
                yield echo
                _check_end(echo)


def subject(kind: str, folder: Path, name: str, bundle: Path, sections: Mapping[str, Mapping[str, object]]) -> Subject:
    """`kind` with a configuration file written for it: topics and group are called after `name`."""
    kafka = {
        "group_id": name,
        "input_topics": [f"{name}-ticks"],
        "output_topic": f"{name}-forecasts",
        "dead_letter_topic": f"{name}-dead-letters",
        "start": "earliest",
        **sections["kafka"],
    }
    rest = {head: body for head, body in sections.items() if head != "kafka"}
    path = folder / f"{name}.toml"
    models = [{"bundle": str(bundle.resolve()), "allow_untrained_symbols": True}]
    whole = {"kafka": kafka, **rest, "http": {"port": 0}, "log": {"format": "json"}}
    path.write_text(toml_text.document(whole, {"models": models}), "utf-8")
    return Subject(kind, path, config.load(path, {}))


def worker(module: str, argument: str, log: Path) -> Child:
    """One of the bench's own programs; what it writes goes to the file beside `log`."""
    return Child(module, module_command(f"tickcast.{module}", [argument]), log, log.with_suffix(".out"))


def wait_until_ready(child: Child, log: Path) -> None:
    """Wait for the line that says so. Raises TickcastError where it does not come."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while READY not in log.with_suffix(".out").read_text("utf-8"):
        if child.ended():
            raise child.failure("ended before it was ready")
        if time.monotonic() > deadline_s:
            raise child.failure(f"was not ready within {READY_TIMEOUT_S:g} s")
        time.sleep(LOOK_INTERVAL_S)


def send(load: Load, log: Path) -> Sent:
    """All of `load`, by a process of its own. Raises TickcastError where it fails."""
    with worker("bench_kafka_load", msgspec.json.encode(load).decode(), log) as child:
        child.wait()
    return msgspec.json.decode(log.with_suffix(".out").read_bytes(), type=Sent)


@contextmanager
def reading(reading: Reading, log: Path) -> Iterator[Child]:
    """A reader at work. When left it reads what is there by then and saves it."""
    with worker("bench_kafka_reader", msgspec.json.encode(reading).decode(), log) as reader:
        wait_until_ready(reader, log)
        yield reader
        _check_end(reader)


def seen(reading: Reading) -> Seen:
    """What a reader has saved."""
    return bench_kafka_reader.load(Path(reading.output))


def wait_until_done(reader: TopicReader, subject: Subject, child: Child) -> None:
    """Wait until every tick there is has been worked on. Raises TickcastError where it ends, or stands still."""
    moved_s, before = time.monotonic(), -1
    while (done := _done(reader, subject)) < (held := count(reader, subject.config.kafka.input_topics[0])):
        if child.ended():
            raise child.failure("ended during the bench")
        if done != before:
            moved_s, before = time.monotonic(), done
        if time.monotonic() - moved_s > STALL_MAX_S:
            raise BrokerError(f"the {subject.kind} has stood at {done:,} of {held:,} ticks for {STALL_MAX_S:g} s")
        time.sleep(LOOK_INTERVAL_S)


def count(reader: TopicReader, topic: str) -> int:
    """Records in `topic`."""
    return sum(held.end - held.first for held in reader.held(reader.partitions(topic)).values())


def cpu_s(pid: int) -> float:
    """CPU time that the process `pid` has used so far, in user and kernel, all threads together."""
    # The second field, the program's name, may hold anything; it ends at the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND_OF_CPU


def stage_seconds(daemon: DaemonChild) -> dict[str, float]:
    """Time the daemon's loop has spent in each stage so far, by its own metrics."""
    url = f"{daemon.said('metrics and health')['url']}/metrics"
    with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    head = 'tickcast_stage_seconds_sum{stage="'
    sums = (line.removeprefix(head).split('"} ') for line in lines if line.startswith(head))
    return {stage: float(value) for stage, value in sums}


def _done(reader: TopicReader, subject: Subject) -> int:
    """Ticks that were worked on: those a daemon has committed, those an echo has answered."""
    kafka = subject.config.kafka
    if subject.kind == "echo":
        return count(reader, kafka.output_topic)
    found = reader.committed(reader.partitions(kafka.input_topics[0]))
    return sum(at.offset for at in found.values() if at is not None)


def _check_end(child: Child) -> None:
    """Stop it. Raises TickcastError where it ends badly."""
    if status := child.stop():
        raise child.failure(f"ended with status {status} when asked to stop")
