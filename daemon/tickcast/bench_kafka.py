"""`tickcast bench kafka`, round by round: topics, daemon and echo in turn, and the account of every tick.

Around the whole way of a tick: the real broker, the real daemon, and a load generator and a reader outside of them.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from pydantic import ValidationError

from tickcast import audit as accounting
from tickcast import bench_kafka_rounds as rounds
from tickcast import bench_kafka_subjects as subjects
from tickcast import manifest as manifests
from tickcast import state_topic
from tickcast.audit import Account
from tickcast.bench_kafka_load import Load
from tickcast.bench_kafka_rounds import Feed, Paced, Saturated
from tickcast.bench_kafka_subjects import Subject
from tickcast.broker import Broker
from tickcast.cluster import Cluster
from tickcast.commands.audit import accounts_of
from tickcast.errors import ConfigurationError
from tickcast.manifest import Manifest
from tickcast.security_config import SecurityConfig

# The section of the daemon's configuration that load, reader and administration need, too.
SECURITY = "kafka.security"
# Ticks of a symbol beyond a full window: the one that primes, and one to spare.
WARM_UP_MORE = 2
# Kafka's own time of each record: forecasts are counted by when they were there, not by when they were made.
BROKER_TIME = {"message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True)
class Settings:
    """What the user asked for."""

    bundle: Path
    clients: tuple[str, ...]
    load_client: str  # of the generator and the reader
    bootstrap_servers: str  # empty: a broker of the bench's own
    rate: float
    saturate: bool
    rounds: int
    symbols: int
    partitions: int
    ticks: int  # measured in each round
    seed: int
    delivery: str = "at_least_once"  # of the daemon; an echo has one only
    overrides: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # of the daemon's configuration


@dataclass
class Found:
    """What came of one client."""

    daemon: list[Paced] = field(default_factory=list)
    echo: list[Paced] = field(default_factory=list)
    saturated: list[Saturated] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)

    @property
    def account(self) -> Account:
        """What became of all the daemon's ticks, as `tickcast audit` finds it."""
        return accounting.total(self.accounts)

    @property
    def adds_up(self) -> bool:
        """Whether every tick has met its fate once, the echo's included."""
        return self.account.adds_up and not any(each.missing or each.doubled for each in self.echo)


def run(settings: Settings) -> dict[str, Found]:
    """All rounds, by client; the clients take turns. Raises TickcastError for whatever cannot be done."""
    manifest = manifests.read(settings.bundle)[0]
    found = {client: Found() for client in settings.clients}
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="tickcast-bench-")))
        cluster = opened.enter_context(_cluster(settings))
        jobs = {client: _Job(settings, manifest, cluster, folder, client) for client in settings.clients}
        for job in jobs.values():
            opened.callback(job.delete_topics)
        for number in range(settings.rounds):
            for client, job in jobs.items():
                job.saturated(number, found[client]) if settings.saturate else job.paced(number, found[client])
        for client, job in jobs.items():
            found[client].accounts += job.accounts()
    return found


class _Job:
    """The rounds of one client."""

    def __init__(self, settings: Settings, manifest: Manifest, cluster: Cluster, folder: Path, client: str) -> None:
        self._settings = settings
        self._manifest = manifest
        self._cluster = cluster
        self._folder = folder
        self._client = client
        self._subjects: dict[str, Subject] = {}
        self._last_ns: dict[str, int] = {}  # name of the subject -> event time of the last tick it was fed

    def paced(self, number: int, found: Found) -> None:
        """A round of the echo and one of the daemon."""
        for kind, results in (("echo", found.echo), ("daemon", found.daemon)):
            name = f"bench-{self._client}-{kind}"
            subject = self._subject(kind, name)
            feed = self._feed(subject, name, number)
            results.append(rounds.paced(subject, feed))
            self._last_ns[name] = results[-1].sent.last_ns

    def saturated(self, number: int, found: Found) -> None:
        """A round of the daemon on topics of its own, which are full before it starts."""
        name = f"bench-{self._client}-{number}"
        subject = self._subject("daemon", name)
        found.saturated.append(rounds.saturated(subject, self._feed(subject, name, number)))

    def accounts(self) -> list[Account]:
        """Of every daemon's input topic, whole."""
        daemons = [subject for subject in self._subjects.values() if subject.kind == "daemon"]
        return [each for one in daemons for each in accounts_of(one.config, [self._manifest], None, "end").values()]

    def delete_topics(self) -> None:
        """Leave nothing behind on the cluster."""
        for subject in self._subjects.values():
            self._cluster.delete_topics([*_topics(subject), *_state_topics(subject)])

    def _subject(self, kind: str, name: str) -> Subject:
        if name in self._subjects:
            return self._subjects[name]
        overrides = self._settings.overrides
        kafka = {"bootstrap_servers": self._cluster.bootstrap_servers, "client": self._client}
        if kind == "daemon":
            kafka["delivery"] = self._settings.delivery
        sections = {**overrides, "kafka": {**kafka, **overrides.get("kafka", {})}}
        subject = subjects.subject(kind, self._folder, name, self._settings.bundle, sections)
        for topic in _topics(subject):
            self._cluster.create_topic(topic, self._settings.partitions, BROKER_TIME)
        for topic in _state_topics(subject):
            self._cluster.create_topic(topic, self._settings.partitions, state_topic.SETTINGS)
        self._subjects[name] = subject
        return subject

    def _feed(self, subject: Subject, name: str, number: int) -> Feed:
        settings = self._settings
        warm_up = Load(
            client=settings.load_client,
            bootstrap_servers=self._cluster.bootstrap_servers,
            topic=subject.config.kafka.input_topics[0],
            columns=self._manifest.record_columns,
            symbols=settings.symbols,
            ticks=(self._manifest.rules.window + WARM_UP_MORE) * settings.symbols,
            seed=settings.seed + number,
            rate=settings.rate,
            paced=False,
            after_ns=self._last_ns.get(name, 0),
            security=subject.config.kafka.security.model_dump(),
        )
        measured = {"ticks": settings.ticks, "paced": not settings.saturate}
        return Feed(warm_up, msgspec.structs.replace(warm_up, **measured), self._folder, f"{name}-{number}")


def _topics(subject: Subject) -> list[str]:
    kafka = subject.config.kafka
    return [*kafka.input_topics, kafka.output_topic, kafka.dead_letter_topic]


def _state_topics(subject: Subject) -> list[str]:
    return [] if (topic := subject.config.state_topic) is None else [topic]


def _security(settings: Settings) -> SecurityConfig:
    try:
        return SecurityConfig.model_validate(settings.overrides.get(SECURITY, {}))
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ConfigurationError(f"{SECURITY}: {problems}") from error


@contextmanager
def _cluster(settings: Settings) -> Iterator[Cluster]:
    if settings.bootstrap_servers:
        yield Cluster(settings.bootstrap_servers, _security(settings))
        return
    with Broker() as broker:
        yield broker
