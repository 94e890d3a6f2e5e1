"""Transactions of kafka-python where it would lose something by itself, beyond the contract of every client."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from check_client_transactions import client_of, member_of, send, transact, visible
from client_bench import ANSWER_TIMEOUT_S, Bench, until
from kafka import errors
from kafka.admin import MemberToRemove
from kafka.future import Future
from kafka.producer.transaction_manager import InitProducerIdHandler, TransactionManager
from kafka.protocol.producer import EndTxnRequest, InitProducerIdRequest, ProduceRequest
from tickcast.broker import HOST, Broker
from tickcast.client_kafka_python import KafkaPythonClient
from tickcast.clients import Committed, Partition, connect, transactional_id
from tickcast.errors import BrokerError, DeliveryError, FencedError, RefusedError, TransactionAbortedError
from tickcast.kafka_python_transaction_manager import mended
from tickcast.kafka_python_transactions import TransactionalProducer, fence

Request = Any  # kafka-python has no types
# Long enough for a refusal at once, short enough to wait for.
SOON_S = 0.2


@pytest.fixture
def bench(broker: Broker, topic: Callable[..., str]) -> Iterator[Bench]:
    bench = Bench("kafka-python", broker, topic)
    bench.kafka = {"delivery": "exactly_once"}
    yield bench
    bench.close_all()


@pytest.fixture
def client(bench: Bench) -> KafkaPythonClient:
    client = client_of(bench)
    assert isinstance(client, KafkaPythonClient)
    return client


def answering(
    client: KafkaPythonClient, monkeypatch: pytest.MonkeyPatch, kind: type, answers: Iterator[Future | None]
) -> None:
    """Requests of `kind` get what comes next in `answers`, and where that is None or nothing the broker's own."""
    connection = client._transactions._sender._client
    really_send = connection.send

    def sent(node: object, request: Request, **settings: object) -> Future:
        answer = next(answers, None) if isinstance(request, kind) else None
        return really_send(node, request, **settings) if answer is None else answer

    monkeypatch.setattr(connection, "send", sent)


def failing(*failures: Exception) -> Iterator[Future]:
    return (Future().failure(failure) for failure in failures)


def test_offsets_of_a_transaction_that_failed_are_not_committed_by_the_next(bench: Bench) -> None:
    source, output = bench.topic(partitions=2), bench.topic()
    stale, fresh = Partition(source, 0), Partition(source, 1)
    member = member_of(bench, source, "removed")
    client = member.client
    client.begin_transaction()
    send(client, output, b"forecast")
    with bench.broker.admin() as admin:
        admin.remove_group_members(bench.group, [MemberToRemove(group_instance_id="removed")])
    with pytest.raises(TransactionAbortedError):
        client.commit_transaction({stale: Committed(9, "stale")}, ANSWER_TIMEOUT_S)
    client.abort_transaction(ANSWER_TIMEOUT_S)
    until(lambda: len(member.events) == 3 and len(client.assignment()) == 2, member)
    transact(client, output, b"forecast", offsets={fresh: Committed(1, "")})
    found = {stale: None, fresh: Committed(1, "")}
    assert client.committed([stale, fresh], ANSWER_TIMEOUT_S) == found


def test_transaction_with_a_record_that_ran_out_of_time_is_aborted_and_the_next_one_goes_through(
    bench: Bench, client: KafkaPythonClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    output = bench.topic()
    transact(client, output, b"before")
    client.begin_transaction()
    assert send(client, output, b"acknowledged") == [None]
    with monkeypatch.context() as patched:
        lost = (Future().failure(errors.RequestTimedOutError()) for _ in iter(int, 1))
        answering(client, patched, ProduceRequest, lost)
        patched.setitem(client._transactions._accumulator.config, "delivery_timeout_ms", 100)
        (failure,) = send(client, output, b"late")
    assert type(failure) is TransactionAbortedError
    with pytest.raises(TransactionAbortedError):
        client.commit_transaction({}, ANSWER_TIMEOUT_S)
    client.abort_transaction(ANSWER_TIMEOUT_S)
    for value in (b"late", b"after"):  # in the old epoch, a number would be missing before them
        transact(client, output, value)
    until(lambda: visible(bench, output) == [b"before", b"late", b"after"])
    assert "Uncaught" not in caplog.text


@pytest.mark.parametrize(
    "failure", [errors.RequestTimedOutError(), errors.Cancelled(), errors.KafkaConnectionError()], ids=repr
)
def test_end_of_a_transaction_whose_connection_was_lost_is_asked_for_again(
    bench: Bench, client: KafkaPythonClient, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    output = bench.topic()
    answering(client, monkeypatch, EndTxnRequest, failing(failure))
    transact(client, output, b"one")
    transact(client, output, b"two")
    until(lambda: visible(bench, output) == [b"one", b"two"])


def test_request_for_which_there_was_no_connection_is_not_forgotten(
    bench: Bench, client: KafkaPythonClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = bench.topic()
    client.begin_transaction()
    assert send(client, output, b"one") == [None]
    connection = client._transactions._sender._client
    really_ready, refusals = connection.await_ready, [errors.KafkaConnectionError("not ready")]

    def ready(*args: object, **settings: object) -> object:
        if refusals:
            raise refusals.pop()
        return really_ready(*args, **settings)

    monkeypatch.setattr(connection, "await_ready", ready)
    client.commit_transaction({}, ANSWER_TIMEOUT_S)
    assert not refusals
    until(lambda: visible(bench, output) == [b"one"])


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_closing_does_not_wait_for_an_end_that_is_never_answered(
    bench: Bench, client: KafkaPythonClient, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    client.begin_transaction()
    assert send(client, bench.topic(), b"one") == [None]
    answering(client, monkeypatch, EndTxnRequest, iter([Future()]))
    with pytest.raises(BrokerError, match="in time") as caught:
        client.commit_transaction({}, SOON_S) if ending == "commit" else client.abort_transaction(SOON_S)
    assert caught.value.retriable
    bench._open.remove(client)
    client.close(SOON_S)
    assert not client._transactions._sender.is_alive()


def test_transaction_that_may_be_committed_already_cannot_be_aborted(
    bench: Bench, client: KafkaPythonClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = bench.topic()
    client.begin_transaction()
    assert send(client, output, b"one") == [None]
    held = Future()
    answering(client, monkeypatch, EndTxnRequest, iter([held]))
    with pytest.raises(BrokerError, match="in time"):
        client.commit_transaction({}, SOON_S)
    with pytest.raises(RefusedError):
        client.abort_transaction(ANSWER_TIMEOUT_S)
    with pytest.raises(BrokerError):
        client.send(output, b"after the end", b"key", [], lambda error: None)
    held.failure(errors.KafkaConnectionError())
    client._transactions._sender.wakeup()
    client.commit_transaction({}, ANSWER_TIMEOUT_S)
    until(lambda: visible(bench, output) == [b"one"])


def test_nothing_can_be_sent_before_a_transaction_is_begun(bench: Bench, client: KafkaPythonClient) -> None:
    output = bench.topic()
    heard: list[BrokerError | None] = []
    with pytest.raises(RefusedError):
        client.send(output, b"early", b"key", [], heard.append)
    transact(client, output, b"one")
    with pytest.raises(RefusedError):
        client.send(output, b"late", b"key", [], heard.append)
    assert heard == []
    with pytest.raises(RefusedError):
        client.abort_transaction(ANSWER_TIMEOUT_S)


def test_what_is_not_allowed_is_not_sent_again_and_again(bench: Bench, client: KafkaPythonClient) -> None:
    client.begin_transaction()
    client._transactions._manager.transition_to_abortable_error(errors.TopicAuthorizationFailedError({"forecasts"}))
    with pytest.raises(RefusedError, match="forecasts"):
        client.commit_transaction({}, ANSWER_TIMEOUT_S)


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (errors.TransactionAbortedError(), TransactionAbortedError),
        (errors.KafkaTimeoutError(), TransactionAbortedError),
        (errors.OutOfOrderSequenceNumberError(), TransactionAbortedError),
        (errors.KafkaError("in a batch with a bad one"), TransactionAbortedError),
        (errors.MessageSizeTooLargeError(), DeliveryError),
        (errors.InvalidRecordError(), DeliveryError),
        (errors.TopicAuthorizationFailedError(), DeliveryError),
        (errors.ProducerFencedError(), DeliveryError),
    ],
    ids=repr,
)
def test_record_hears_whether_another_transaction_may_help(error: Exception, heard: type[BrokerError]) -> None:
    producer = TransactionalProducer.__new__(TransactionalProducer)
    assert type(producer._failure("what", error)) is heard


def test_new_epoch_that_is_refused_does_not_take_the_name_back() -> None:
    manager = mended(TransactionManager(transactional_id="name", api_version=(4, 1)))
    manager.initialize_transactions()
    _answer(manager, error_code=0, producer_id=1, producer_epoch=0)
    manager.begin_transaction()
    renewal = manager.renew()
    _answer(manager, error_code=errors.InvalidProducerEpochError.errno)
    assert renewal.failed
    assert isinstance(renewal.exception, errors.ProducerFencedError)
    assert manager.has_fatal_error()
    assert manager.next_request_handler(False) is None, "asks for no other"
    manager.transition_to_abortable_error(errors.KafkaTimeoutError())
    assert manager.has_fatal_error(), "stays at its end"


def _answer(manager: TransactionManager, **fields: int) -> None:
    handler = manager.next_request_handler(False)
    assert isinstance(handler, InitProducerIdHandler)
    assert isinstance(handler.request, InitProducerIdRequest)
    manager._in_flight_request_correlation_id = 7
    handler.on_complete(7, type("Response", (), fields)())


def test_fencing_leaves_no_thread_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    config = bench.config()
    fence(config, transactional_id(config, "former"))
    assert set(threading.enumerate()) == before
    with socket.create_server((HOST, 0)) as nobody:
        address = f"{HOST}:{nobody.getsockname()[1]}"
        unanswered = bench.config(bootstrap_servers=address, request_timeout_ms=int(SOON_S * 1_000))
        with pytest.raises(BrokerError):
            fence(unanswered, "former")
    assert set(threading.enumerate()) == before
    monkeypatch.setattr("kafka.producer.sender.Sender._maybe_send_pending_request", lambda sender: False)
    with pytest.raises(BrokerError, match="in time"):
        fence(bench.config(request_timeout_ms=1_000), "former")
    assert set(threading.enumerate()) == before


def test_time_out_that_the_cluster_does_not_allow_is_refused_at_once(bench: Bench) -> None:
    before = set(threading.enumerate())
    bench.kafka["transaction_timeout_ms"] = 3_600_000
    with pytest.raises(RefusedError, match="InvalidTransactionTimeout"):
        connect(bench.config(), "instance")
    assert set(threading.enumerate()) == before


def test_transaction_that_the_cluster_has_ended_as_it_took_too_long_is_nobody_s_to_go_on_with(
    client: KafkaPythonClient,
) -> None:
    client.begin_transaction()
    client._transactions._manager.transition_to_fatal_error(errors.InvalidProducerEpochError())
    with pytest.raises(FencedError, match="too long"):
        client.commit_transaction({}, ANSWER_TIMEOUT_S)


def test_without_transactions_there_is_nothing_of_them(bench: Bench) -> None:
    bench.kafka = {}
    client = bench.client()
    assert isinstance(client, KafkaPythonClient)
    assert not isinstance(client._producer, TransactionalProducer)
    assert type(client._producer._producer._transaction_manager) is TransactionManager
    with pytest.raises(AssertionError, match="exactly_once"):
        client.begin_transaction()
