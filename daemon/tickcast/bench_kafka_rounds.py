"""One round of `tickcast bench kafka`: a subject is started, fed and read, and what was seen of it measured.

Around the whole way of a tick. A paced round takes the time of each tick, a saturated one that of all of them.
"""

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast import bench_kafka_subjects as subjects
from tickcast.bench_kafka_load import Load, Sent
from tickcast.bench_kafka_reader import PATHS, Reading, Seen
from tickcast.bench_kafka_subjects import Subject
from tickcast.child_processes import Child, DaemonChild
from tickcast.topic_reader import TopicReader
from tickcast.windows import NANOSECONDS

# Of a paced load: the first ticks find what the warm-up has left behind.
SETTLING_NS = NANOSECONDS
# Of a saturated run: at first queues fill, and memory is touched for the first time.
SETTLING_SHARE = 0.1
LOOK_INTERVAL_S = 0.2

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Feed:
    """What a round is fed with. The warm-up fills every window; what is measured comes after it."""

    warm_up: Load
    measured: Load
    folder: Path
    name: str  # of the round, for its files

    def file(self, name: str) -> Path:
        """A file of this round."""
        return self.folder / f"{self.name}-{name}"


class Paced(NamedTuple):
    """What a paced round came to."""

    sent: Sent
    end_to_end: Seconds  # [records] due -> in the reader's hand
    stretches: dict[str, Seconds]  # the parts of it, as far as a daemon tells; empty for an echo
    paths: dict[str, int]
    missing: int
    doubled: int
    cpu_us_per_tick: float


class Sample(NamedTuple):
    """Where a saturated round stood at some time."""

    monotonic_s: float
    cpu_s: float
    forecasts: int


class Saturated(NamedTuple):
    """What a saturated round came to."""

    forecasts: int  # those that were counted
    ticks_per_s: float
    cpu_us_per_tick: float
    stages_us_per_tick: dict[str, float]  # by the daemon's own metrics
    paths: dict[str, int]


def paced(subject: Subject, feed: Feed) -> Paced:
    """Fill windows, then send at a pace. Raises TickcastError where a process fails."""
    watched = _reading(subject, feed, from_start=False)
    with TopicReader(subject.config.kafka) as reader, subject.running(feed.file("subject.log")) as child:
        subjects.send(feed.warm_up, feed.file("warm-up.log"))
        subjects.wait_until_done(reader, subject, child)
        with subjects.reading(watched, feed.file("reader.log")):
            before_s = subjects.cpu_s(child.pid)
            sent = subjects.send(feed.measured, feed.file("load.log"))
            used_s = subjects.cpu_s(child.pid) - before_s
            subjects.wait_until_done(reader, subject, child)
    return of_paced(sent, subjects.seen(watched), used_s / sent.ticks * 1e6)


def of_paced(sent: Sent, seen: Seen, cpu_us_per_tick: float) -> Paced:
    """What was seen of a paced load. Ticks are told apart by when they were due; all were to be answered."""
    different = len(np.unique(seen.due_ns))
    counted = seen.due_ns > seen.due_ns.min(initial=sent.last_ns) + SETTLING_NS
    moments = {"due": seen.due_ns, "received": seen.received_ns, "sent": seen.sent_ns, "read": seen.seen_ns}
    between = {f"{a} to {b}": (moments[b] - moments[a])[counted] / NANOSECONDS for a, b in _pairs(list(moments))}
    return Paced(
        sent=sent,
        end_to_end=(seen.seen_ns - seen.due_ns)[counted] / NANOSECONDS,
        stretches=between if seen.received_ns.all() else {},
        paths=_paths(seen, counted),
        missing=sent.ticks - different,
        doubled=len(seen.due_ns) - different,
        cpu_us_per_tick=cpu_us_per_tick,
    )


def saturated(subject: Subject, feed: Feed) -> Saturated:
    """Fill the topic, then let the daemon work it off. Raises TickcastError where a process fails."""
    subjects.send(feed.warm_up, feed.file("warm-up.log"))
    subjects.send(feed.measured, feed.file("load.log"))
    with TopicReader(subject.config.kafka) as reader, subject.running(feed.file("subject.log")) as child:
        assert isinstance(child, DaemonChild)
        before = _wait_until_settled(subject, child, reader, feed.measured.ticks)
        stages_before = subjects.stage_seconds(child)
        after = _watch(subject, child, reader)
        stages_after = subjects.stage_seconds(child)
        subjects.wait_until_done(reader, subject, child)
    watched = _reading(subject, feed, from_start=True)
    with subjects.reading(watched, feed.file("reader.log")):
        pass  # it reads all there is before it ends
    answered = max(1, after.forecasts - before.forecasts)
    stages = {stage: (at - stages_before[stage]) / answered * 1e6 for stage, at in stages_after.items()}
    return of_saturated(subjects.seen(watched), (after.cpu_s - before.cpu_s) / answered * 1e6, stages)


def of_saturated(seen: Seen, cpu_us_per_tick: float, stages_us_per_tick: dict[str, float]) -> Saturated:
    """What was seen of a saturated run: forecasts by the time at which Kafka took them."""
    stored_ms = np.sort(seen.stored_ms)
    counted_ms = stored_ms[int(len(stored_ms) * SETTLING_SHARE) :]
    took_s = float(counted_ms[-1] - counted_ms[0]) / 1e3 if len(counted_ms) else 0.0
    everything = np.ones(len(seen.path), bool)
    return Saturated(
        forecasts=len(counted_ms),
        ticks_per_s=len(counted_ms) / took_s if took_s else 0.0,
        cpu_us_per_tick=cpu_us_per_tick,
        stages_us_per_tick=stages_us_per_tick,
        paths=_paths(seen, everything),
    )


def _wait_until_settled(subject: Subject, child: Child, reader: TopicReader, ticks: int) -> Sample:
    """The first sample with the settling behind it."""
    while (sample := _sample(subject, child, reader)).forecasts < ticks * SETTLING_SHARE:
        _pause(child)
    return sample


def _watch(subject: Subject, child: Child, reader: TopicReader) -> Sample:
    """The last sample taken while forecasts were still being published."""
    last = _sample(subject, child, reader)
    while True:
        _pause(child)
        sample = _sample(subject, child, reader)
        if sample.forecasts == last.forecasts:
            return last
        last = sample


def _sample(subject: Subject, child: Child, reader: TopicReader) -> Sample:
    used_s = subjects.cpu_s(child.pid)
    return Sample(time.monotonic(), used_s, subjects.count(reader, subject.config.kafka.output_topic))


def _pause(child: Child) -> None:
    if child.ended():
        raise child.failure("ended during the bench")
    time.sleep(LOOK_INTERVAL_S)


def _reading(subject: Subject, feed: Feed, from_start: bool) -> Reading:
    kafka = subject.config.kafka
    output = str(feed.file("seen.npz"))
    where = (feed.measured.client, kafka.bootstrap_servers, kafka.output_topic)
    return Reading(*where, from_start, output, kafka.security.model_dump())


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(names))


def _paths(seen: Seen, counted: NDArray[np.bool_]) -> dict[str, int]:
    tally = np.bincount(seen.path[counted], minlength=len(PATHS)).tolist()
    return {path: tally[place] for place, path in enumerate(PATHS) if path is not None}
