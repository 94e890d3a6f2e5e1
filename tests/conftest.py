"""Fixtures that every test may ask for: the development broker, one for the whole session, and topics on it."""

import itertools
import re
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from tickcast.broker import Broker
from tickcast.errors import MissingExtraError

# The same examples on every run, and no verdict about the machine's speed.
settings.register_profile("tickcast", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickcast")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the broker carries its mark, so that `-m "not broker"` runs all that needs no Java."""
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)


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
