"""Transactions of the kafka-python client: a producer whose records and offsets come to count together, or not at all.

Stages `produce` and `commit` of the way of a tick; used by `client_kafka_python`, and by whoever takes partitions over
through `fence`. kafka-python's own `commit_transaction` waits without limit; here every step is asked for once and
waited for until a deadline, and the next call goes on waiting for the same answer. What kafka-python gets wrong
underneath is mended in `kafka_python_transaction_manager`.
"""

import time
from typing import Any

import kafka
from kafka import errors
from kafka.producer.transaction_manager import TransactionState
from kafka.structs import ConsumerGroupMetadata, TopicPartition

from tickcast import log
from tickcast.clients import transactional_id
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, DeliveryError, FencedError, RefusedError, TransactionAbortedError
from tickcast.kafka_python_errors import answering, refusal
from tickcast.kafka_python_offsets import Rows
from tickcast.kafka_python_producer import Producer
from tickcast.kafka_python_settings import opened, producer_settings, transactional_settings
from tickcast.kafka_python_transaction_manager import Manager, mended

# The name of a producer that only fences; what it fences is in its transactional id.
FENCE = "fence"
# A thread that is told to end does so between two looks at its sockets.
END_TIMEOUT_S = 5.0

# Another process has the name: a producer of its own has raised the epoch. Also where the cluster itself has, as the
# transaction was open for too long.
_FENCED = (errors.ProducerFencedError, errors.InvalidProducerEpochError)
# Of records that are none too many or too large, and are allowed: in another transaction, under another epoch, they go.
_HEALS = (
    errors.RetriableError,
    errors.TransactionAbortedError,
    errors.OutOfOrderSequenceNumberError,
    errors.UnknownProducerIdError,
)


class TransactionalProducer(Producer):
    """A `Producer` of which everything is sent in transactions."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        """Abort what an earlier process left open under the same name, and fence that process.

        Raises kafka-python's errors, or BrokerError where the cluster does not answer.
        """
        deadline_s = time.monotonic() + config.request_timeout_ms / 1_000
        self._name = transactional_id(config, instance_id)
        super().__init__(config, instance_id, **transactional_settings(config, self._name))
        self._manager = _initialised(self._producer, deadline_s)
        self._added: set[TopicPartition] = set()  # the partitions that are part of the open transaction
        # The answers to what ends a transaction, once that is asked for.
        self._offsets: Any = None
        self._end: Any = None
        self._renewal: Any = None
        self._aborting = False

    @property
    def committing(self) -> bool:
        """Whether it has been asked to commit the open transaction, and the answer is not known yet."""
        return not self._aborting and (self._offsets is not None or self._end is not None)

    def begin(self) -> None:
        """Raises FencedError, and RefusedError where a transaction is open."""
        try:
            self._manager.begin_transaction()
        except errors.KafkaError as error:
            raise self._judged("begin", error) from error

    def commit(self, rows: Rows, group: ConsumerGroupMetadata, deadline_s: float) -> None:
        """Commit what was sent, together with `rows` for the group. Raises what `Client.commit_transaction` does."""
        try:
            if rows and self._offsets is None:
                self._offsets = self._manager.send_offsets_to_transaction(rows, group)
                self._sender.wakeup()
            self._await("commit of offsets", self._offsets, deadline_s)
            if self._end is None:
                self._added.clear()
                self._end = self._manager.begin_commit()
                self._sender.wakeup()
            self._await("commit", self._end, deadline_s)
        except errors.KafkaError as error:
            raise self._judged("commit", error) from error
        self._forget()

    def abort(self, deadline_s: float) -> None:
        """Raises what `Client.abort_transaction` does."""
        try:
            if not self._aborting:
                self._added.clear()
                self._end = self._manager.begin_abort()
                self._aborting = True
                self._sender.wakeup()
            self._await("abort", self._end, deadline_s)
            if self._manager.renewal_due:
                self._renewal = self._manager.renew()
                self._sender.wakeup()
            self._await("abort: a new epoch", self._renewal, deadline_s)
        except errors.KafkaError as error:
            raise self._judged("abort", error) from error
        self._forget()

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """See `Producer`. An open transaction is aborted; where that is not answered, it is left to the cluster."""
        try:
            self._end_open(max(deadline_s, time.monotonic() + at_least_s))
        except BrokerError as error:
            log.get("kafka").warning("closing with an open transaction", name=self._name, error=str(error))
        super().close(deadline_s, at_least_s)

    def _end_open(self, deadline_s: float) -> None:
        state = self._manager.state
        if state is TransactionState.COMMITTING_TRANSACTION:  # too late to abort it
            self._await("commit", self._end, deadline_s)
        elif state not in (TransactionState.READY, TransactionState.FATAL_ERROR):
            self.abort(deadline_s)

    def _place(self, topic: str, key: bytes | None, partition: int | None) -> TopicPartition:
        """See `Producer`. Once in each transaction, a partition has to be made part of it."""
        place = super()._place(topic, key, partition)
        if place not in self._added:
            try:
                self._manager.maybe_add_partition_to_transaction(place)
            except errors.KafkaError as error:
                raise self._judged(f"{topic}: the record was refused", error) from error
            self._added.add(place)
        return place

    def _failure(self, what: str, error: BaseException) -> BrokerError:
        # Of its own class kafka-python's error is that of a record in one batch with another one that is bad.
        heals = isinstance(error, _HEALS) or type(error) is errors.KafkaError
        return TransactionAbortedError(what) if heals else DeliveryError(what)

    def _await(self, what: str, answer: Any, deadline_s: float) -> None:
        """Wait, if there is anything to wait for. Raises kafka-python's errors, and BrokerError after `deadline_s`."""
        if answer is not None and not answer.wait(max(1, int((deadline_s - time.monotonic()) * 1_000))):
            self._manager._maybe_fail_with_error()
            raise BrokerError(f"{what}: no answer in time")

    def _judged(self, what: str, error: errors.KafkaError) -> BrokerError:
        """What became of the transaction, given what kafka-python raised, which often only says that something has."""
        if self._manager.has_error():
            error = self._manager.last_error
        if isinstance(error, _FENCED):
            return FencedError(
                f"{what}: another process produces as {self._name!r} now, or ours took too long: {error}"
            )
        if self._manager.has_fatal_error() or isinstance(error, errors.AuthorizationError):
            return RefusedError(f"{what}: {error}")
        if self._manager.has_abortable_error():
            return TransactionAbortedError(f"{what}: {error}")
        return refusal(what, error)

    def _forget(self) -> None:
        """The transaction has ended."""
        self._offsets = self._end = self._renewal = None
        self._aborting = False


def fence(config: KafkaConfig, transactional_id: str) -> None:
    """See `clients.Fence`."""
    deadline_s = time.monotonic() + config.request_timeout_ms / 1_000
    settings = {**producer_settings(config, FENCE), **transactional_settings(config, transactional_id)}
    with answering(f"fencing of {transactional_id!r}"):
        producer = opened(kafka.KafkaProducer, settings)
        _initialised(producer, deadline_s)
    _end(producer)


def _initialised(producer: kafka.KafkaProducer, deadline_s: float) -> Manager:
    """The manager of a new producer, ready to begin. Nothing of it stays behind where that fails.

    Raises kafka-python's errors, and BrokerError without an answer by `deadline_s`.
    """
    manager = mended(producer._transaction_manager)
    try:
        answer = manager.initialize_transactions()
        producer._sender.wakeup()
        if not answer.wait(max(1, int((deadline_s - time.monotonic()) * 1_000))):
            raise BrokerError(f"transactions of {manager.transactional_id!r}: no answer in time")
    except (errors.KafkaError, BrokerError):
        _end(producer)
        raise
    return manager


def _end(producer: kafka.KafkaProducer) -> None:
    """Stop a producer's thread, and what it may still be asking, at once."""
    producer._sender.force_close()
    producer.close(timeout=END_TIMEOUT_S)
