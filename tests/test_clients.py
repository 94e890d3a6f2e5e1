"""Every registered Kafka client fulfils the contract of `clients.Client`."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from check_client import CHECKS, check_client
from check_client_transactions import send, transact, visible
from client_bench import Bench, Member, publish, until
from tickcast.broker import Broker
from tickcast.clients import CLIENTS, Committed, Partition, connect
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, MissingExtraError, TransactionAbortedError


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
        bench.kafka = {"session_timeout_ms": 60_000}  # longer than a broker takes to start on a busy machine
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


@pytest.mark.broker
@pytest.mark.parametrize("name", CLIENTS)
def test_transaction_is_committed_once_by_a_broker_that_was_killed_meanwhile(name: str, tmp_path: Path) -> None:
    partition = Partition("ticks", 0)
    expected = {partition: Committed(2, "note")}
    with Broker(data=tmp_path) as broker:
        for topic in ("ticks", "forecasts"):
            broker.create_topic(topic)
        bench = Bench(name, broker, lambda: "ticks")
        bench.kafka = {"delivery": "exactly_once", "session_timeout_ms": 60_000}
        member = bench.joined("ticks")
        transact(member.client, "ticks", b"one", b"two", offsets={partition: Committed(0, "before")})
        until(lambda: len(member.records) == 2, member)
        member.client.begin_transaction()
        assert send(member.client, "forecasts", b"forecast") == [None]
        broker.kill()
        with pytest.raises(BrokerError):
            member.client.commit_transaction(expected, 0.5)
        broker.start()
        until(lambda: committed(member, expected), member)
        assert member.client.committed([partition], 10.0) == expected
        until(lambda: visible(bench, "forecasts") == [b"forecast"], member)
        bench.close_all()


def committed(member: Member, offsets: dict[Partition, Committed]) -> bool:
    """Ask once more for the commit that had no answer."""
    try:
        member.client.commit_transaction(offsets, 0.5)
    except TransactionAbortedError:
        raise
    except BrokerError as error:
        if not error.retriable:
            raise
        return False
    return True


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
