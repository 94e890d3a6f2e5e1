"""Every registered Kafka client fulfils the contract of `clients.Client`."""

from collections.abc import Callable

import pytest
from check_client import CHECKS, check_client
from tickcast.broker import Broker
from tickcast.clients import CLIENTS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CLIENTS)
def test_client(name: str, check: str, broker: Broker, topic: Callable[..., str]) -> None:
    check_client(name, broker, topic, check)
