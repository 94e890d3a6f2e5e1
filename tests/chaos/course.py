"""One run of one scenario: its topics, its market, its daemons, and what came of them beside an undisturbed run."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from daemons import DaemonProcess, Job, wait_until
from tickcast import state_topic
from tickcast.broker import HOST, Broker

from chaos import verdict
from chaos.load import HEAD_SHARE, Load, Market, Sent
from chaos.members import Life, Member
from chaos.proxy import Proxy
from chaos.topics import Topics
from chaos.verdict import LIMITS, Verdict

PARTITIONS = 4
SYMBOLS = 64
# Longer than anything here takes, an open transaction of a dead process included.
PATIENCE_S = 150.0
# What is promised from the start of a process to its first forecast, of 64 even symbols.
RESTART_S = 3.0
SETTINGS = {"poll_records_max": 256}
# The undisturbed run: the quickest way there is.
UNDISTURBED = {"client": "confluent-kafka", "poll_records_max": 2_000}
POLL_INTERVAL_S = 0.05
IN_TOPICS = str.maketrans(" ", "-")


@dataclass(frozen=True)
class Site:
    """What all runs have in common."""

    broker: Broker
    proxy: Proxy
    bundle: Path
    window: int
    folder: Path
    rate: float
    session_s: float
    settled_s: float  # how long the market goes on after what was done


@dataclass(frozen=True)
class Variant:
    """Which daemon is disturbed, and how its luck is drawn."""

    client: str
    delivery: str
    seed: int


@dataclass
class Notes:
    """What a scenario writes down."""

    strikes: Counter[str] = field(default_factory=Counter)
    unreached: Counter[str] = field(default_factory=Counter)
    restarts_s: list[float] = field(default_factory=list)  # start of a process -> its first forecast
    takeovers_s: dict[str, list[float]] = field(default_factory=dict)  # what happened -> seconds, as a reader sees it
    problems: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def takeover(self, what: str, seconds: float, limit_s: float = float("inf")) -> None:
        """A figure, and what was promised where it is above that."""
        self.takeovers_s.setdefault(what, []).append(seconds)
        if seconds > limit_s:
            self.late.append(f"{what}: {seconds:.1f} s, promised {limit_s:.1f}")


class Course:
    """A context manager: the market opens when it is entered; leaving it ends every process."""

    def __init__(self, site: Site, variant: Variant, name: str) -> None:
        self.site = site
        self.variant = variant
        self.chance = random.Random(f"{name}-{variant}")
        self.notes = Notes()
        self.topics = Topics(site.broker.bootstrap_servers)
        self.members: list[Member] = []
        self.departed: list[Member] = []  # stopped, or dead for good
        self._stem = f"{name}-{variant.client}-{variant.delivery}-{time.monotonic_ns()}".translate(IN_TOPICS)
        self._stack = ExitStack()
        site.broker.create_topic(f"{self._stem}-ticks", PARTITIONS)
        self.job = self._job("disturbed", site.broker.bootstrap_servers)
        self._market: Market | None = None
        self.sent = Sent(0, 1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in (*self.members, *self.departed):
            member.end()
        self._stack.close()

    def member(
        self,
        name: str,
        environments: Iterable[Mapping[str, str]] = (),
        through_proxy: bool = False,
        **kafka: Any,
    ) -> Member:
        """An instance of the group under a supervisor."""
        variant = {"client": self.variant.client, "delivery": self.variant.delivery}
        session = {"session_timeout_ms": round(self.site.session_s * 1_000)}
        settings = {**SETTINGS, **variant, **session, **kafka}
        if through_proxy:
            settings["bootstrap_servers"] = f"{HOST}:{self.site.proxy.port}"
        config = self.job.config(name, kafka=settings, input=LIMITS, recovery={"drain_timeout_ms": 10_000})
        self.members.append(Member(config, environments))
        return self.members[-1]

    def depart(self, member: Member) -> None:
        """`member` is no part of the group any more."""
        self.members.remove(member)
        self.departed.append(member)

    def leave(self, member: Member) -> None:
        """`member` is asked to end.

        One that its supervisor has just started again may not hear the signal yet and dies of it: it holds nothing.
        And one that is back from a kill may be fenced by who takes up what the killed one had: it would come back.
        """
        status = member.stop()
        unheard = status == -signal.SIGTERM and not member.process.events("ready")
        last_words = member.process.text().rstrip().rpartition("\n")[2].lower()
        if status != 0 and not unheard and not (status == 1 and "fenced" in last_words):
            self.notes.problems.append(f"{member.name} ended with {status} when it was stopped")

    def open_market(self) -> None:
        """Ticks come from now on, after as many at once as fill the windows."""
        site, head = self.site, int(SYMBOLS * (self.site.window + 1) * HEAD_SHARE)
        load = Load(
            site.broker.bootstrap_servers,
            self.job.input_topic,
            PARTITIONS,
            SYMBOLS,
            site.rate,
            head,
            self.chance.randrange(2**31),
        )
        self._market = self._stack.enter_context(Market(load))

    def wait_forecasts(self, since_ns: int, sources: Iterable[int] = range(PARTITIONS)) -> float:
        """Seconds from `since_ns` until a reader has a forecast sent later, of each of these input partitions."""
        return self.topics.wait_forecast(self.job.output_topic, since_ns, set(sources), PATIENCE_S)

    def wait_shared(self, *members: Member) -> None:
        """Wait until the members own all partitions, each about as many."""

        def shared() -> bool:
            owned = [owned_by(member) for member in members]
            least, most = PARTITIONS // len(members), -(-PARTITIONS // len(members))
            whole = sorted(number for own in owned for number in own)
            return whole == list(range(PARTITIONS)) and all(least <= len(own) <= most for own in owned)

        wait_until(shared, f"{len(members)} share the partitions", PATIENCE_S, POLL_INTERVAL_S * 4)

    def let_run(self, seconds: float) -> None:
        """The market goes on, and nothing else is done to anybody."""
        time.sleep(seconds)

    def finish(self) -> Verdict:
        """Close the market, let the daemons answer all of it, stop them, and compare with an undisturbed run."""
        assert self._market is not None
        self.sent = self._market.stop()
        self.topics.wait_committed(self._group, self.job.input_topic, PATIENCE_S)
        for member in self.members:
            self.leave(member)
        undisturbed = self._undisturbed()
        found = verdict.judge(self.topics, self.job, undisturbed)
        self.notes.problems += found.problems(self.variant.delivery)
        if len(self.members) == 1 and not self.departed:  # else a forecast does not tell which of them was the first
            self.notes.restarts_s += restarts(found.sent_ns, self.lives())
            slow = [seconds for seconds in self.notes.restarts_s if seconds > RESTART_S]
            self.notes.late += [f"restart: {seconds:.1f} s, promised {RESTART_S:.1f}" for seconds in slow]
        return found

    def lives(self) -> list[Life]:
        """Of all members."""
        return [life for member in (*self.departed, *self.members) for life in member.lives]

    @property
    def _group(self) -> str:
        return f"group-of-{self.job.output_topic}"

    def _undisturbed(self) -> Job:
        job = self._job("undisturbed", self.site.broker.bootstrap_servers)
        daemon = DaemonProcess(job.config(kafka=UNDISTURBED, input=LIMITS))
        self._stack.callback(daemon.kill)
        self.topics.wait_committed(f"group-of-{job.output_topic}", job.input_topic, PATIENCE_S)
        daemon.stop()
        return job

    def _job(self, label: str, bootstrap_servers: str) -> Job:
        files = self.site.folder / f"{self._stem}-{label}"
        files.mkdir()
        output, dead_letters = f"{self._stem}-{label}-forecasts", f"{self._stem}-{label}-dead"
        self.site.broker.create_topic(output, PARTITIONS)
        self.site.broker.create_topic(dead_letters)
        self.site.broker.create_topic(f"{output}-state", PARTITIONS, state_topic.SETTINGS)
        return Job(bootstrap_servers, f"{self._stem}-ticks", output, dead_letters, self.site.bundle, files)


def owned_by(member: Member) -> set[int]:
    """The partitions of the input topic that it owns now; none while it starts."""
    process = member.process
    if process.status is not None or not process.events("metrics and health"):
        return set()
    try:
        return {int(each.rpartition("/")[2]) for each in process.owned()}
    except (OSError, HTTPException, pytest.fail.Exception):  # it ends at this very moment
        return set()


def wait_until_struck(condition: Callable[[], object], timeout_s: float) -> bool:
    """Whether `condition` holds within `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def restarts(sent_ns: list[int], lives: list[Life]) -> list[float]:
    """Seconds from the start of each process after the first to its first forecast, where it came so far."""
    found = []
    for life in lives[1:]:
        sent = next((each for each in sent_ns if life.started_ns <= each < (life.ended_ns or each + 1)), None)
        if sent is not None:
            found.append((sent - life.started_ns) / 1e9)
    return found
