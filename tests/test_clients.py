"""Every registered Kafka client fulfils the contract of `clients.Client`."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from check_client import CHECKS, check_client
from client_bench import Bench, publish, until
from tickcast.broker import Broker
from tickcast.clients import CLIENTS, Committed, Partition, connect
from tickcast.config import KafkaConfig
from tickcast.errors import MissingExtraError


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    """A client whose library is not installed is skipped."""
    if "name" in request.fixturenames:
        module, _ = CLIENTS[request.getfixturevalue("name")]
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CLIENTS)
def test_client(name: str, check: str, broker: Broker, topic: Callable[..., str]) -> None:
    check_client(name, broker, topic, check)


@pytest.mark.broker
@pytest.mark.parametrize("name", CLIENTS)
def test_client_goes_on_after_a_restart_of_the_broker(name: str, tmp_path: Path) -> None:
    partition = Partition("ticks", 0)
    with Broker(data=tmp_path) as first:
        first.create_topic("ticks")
        port = int(first.bootstrap_servers.rpartition(":")[2])
        bench = Bench(name, first, lambda: "ticks")
        member = bench.joined("ticks")
        publish(member.client, "ticks", b"before")
        until(lambda: len(member.records) == 1, member)
        member.commit([partition], "note")
    with Broker(port=port, data=tmp_path):
        assert member.poll() == []
        publish(member.client, "ticks", b"after")
        until(lambda: len(member.records) == 2, member)
        assert [record.value for record in member.records] == [b"before", b"after"]
        assert member.client.committed([partition], 10.0) == {partition: Committed(1, "note")}
        member.commit([partition])
        bench.close_all()


def test_client_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLIENTS, "confluent-kafka", ("no_such_library", "Client"))
    config = KafkaConfig(
        client="confluent-kafka",
        bootstrap_servers="127.0.0.1:1",
        group_id="group",
        input_topics=("ticks",),
        output_topic="forecasts",
        dead_letter_topic="dead-letters",
    )
    with pytest.raises(MissingExtraError, match=r"needs no_such_library: pip install 'tickcast\[librdkafka\]'"):
        connect(config, "me")
