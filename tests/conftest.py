"""Fixtures that every test may ask for: the development broker, one for the whole session, and topics on it; a bundle
of each model family, made once; daemons that do not outlive their test."""

import contextlib
import functools
import itertools
import os
import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemons import DaemonProcess, Job
from hypothesis import HealthCheck, settings
from made_once import made_once, shared_folder
from secured_broker import SecuredBroker
from tickcast import state_topic
from tickcast.broker import Broker
from tickcast.errors import MissingExtraError

if TYPE_CHECKING:  # tensorflow takes seconds, for the tests that ask for it only
    from exported import Exported

# The same examples on every run, and no verdict about the machine's speed.
settings.register_profile("tickcast", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickcast")

# Several tests run side by side, each with processes of its own: more threads of each would only take turns. And what
# Java's second compiler spends on a broker, no broker here lives long enough to earn back.
ENVIRONMENT = {
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

# How long a test takes, roughly, in seconds; without a mark it is one of many.
SLOW_S, BROKER_S, QUICK_S = 10.0, 1.0, 0.02


def pytest_configure() -> None:
    """What is set already stays as it is."""
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever asks for the broker carries its mark, so that `-m "not broker"` runs all that needs no Java; and what
    asks for an exported model is slow.

    Side by side, the files that take longest come first: else one would be left alone with the last of them.
    """
    seconds: Counter[Path] = Counter()
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if {"broker", "secured_broker"} & asked:
            item.add_marker(pytest.mark.broker)
        if "exported" in asked:
            item.add_marker(pytest.mark.slow)
        marks = {mark.name for mark in item.iter_markers()}
        seconds[item.path] += SLOW_S if "slow" in marks else BROKER_S if "broker" in marks else QUICK_S
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (-seconds[item.path], item.path))


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One Kafka for the whole session: tests keep apart by their own topics and groups."""
    broker = Broker()
    try:
        broker.start()
    except MissingExtraError as error:
        pytest.skip(str(error))
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def secured_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """One Kafka for the whole session that asks for certificates and passwords."""
    try:
        broker = SecuredBroker(tmp_path_factory.mktemp("secured"))
        broker.start()
    except MissingExtraError as error:
        pytest.skip(str(error))
    yield broker
    broker.stop()


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> Callable[..., str]:
    """`topic(partitions=1, config={}, label="")` makes a topic nobody else uses and returns its name."""
    numbers = itertools.count()
    stem = f"{re.sub('[^A-Za-z0-9._-]', '-', request.node.name[:60])}-{uuid.uuid4().hex[:8]}"

    def make(partitions: int = 1, config: dict[str, str] | None = None, label: str = "topic") -> str:
        name = f"{stem}-{label}-{next(numbers)}"
        broker.create_topic(name, partitions, config)
        return name

    return make


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[str], Exported]":
    """`exported(family)` is a small Keras model of the family and its bundle, made when first asked for."""
    shared = shared_folder(tmp_path_factory)

    @functools.cache
    def make(family: str) -> "Exported":
        import exported

        folder = made_once(shared / f"exported-{family}", lambda folder: exported.export(family, folder))
        return exported.Exported(folder / f"{family}.keras", folder / family)

    return make


@pytest.fixture
def job(broker: Broker, topic: Callable[..., str], tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """`job(bundle, partitions=1, of=None)`: new topics for a group; with `of`, the input is that job's."""

    def make(bundle: Path, partitions: int = 1, of: Job | None = None) -> Job:
        source = of.input_topic if of else topic(partitions, label="ticks")
        output, dead_letters = topic(partitions, label="forecasts"), topic(label="dead-letters")
        broker.create_topic(f"{output}-state", partitions, state_topic.SETTINGS)
        files = tmp_path / output
        files.mkdir()
        made = Job(broker.bootstrap_servers, source, output, dead_letters, bundle, files)
        readers.enter_context(made.reader)
        return made

    with contextlib.ExitStack() as readers:
        yield make


@pytest.fixture
def start_daemon() -> Iterator[Callable[..., DaemonProcess]]:
    """`start_daemon(config)` starts a daemon; all are gone after the test, and their logs shown if it failed."""
    started: list[DaemonProcess] = []

    def start(config: Path, environment: Mapping[str, str] | None = None) -> DaemonProcess:
        started.append(DaemonProcess(config, environment))
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()
        sys.stdout.write(f"--- {daemon.log_path.name}\n{daemon.text()}\n")
