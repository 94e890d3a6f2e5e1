"""Transactions of the confluent-kafka client: records and the offsets they answer, committed together or not at all.

Stages `produce` and `commit` of the way of a tick; used by `client_confluent`, and by whoever has to end a dead
process's transaction (`fence`). Exactly-once processing is KIP-98 and, for the group's generation, KIP-447.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from tickcast.config import KafkaConfig
from tickcast.confluent_errors import answering, reason
from tickcast.confluent_producer import ConfluentProducer
from tickcast.confluent_settings import fence_settings
from tickcast.errors import BrokerError, DeliveryError, FencedError, TransactionAbortedError

# A step whose turn comes when the time is up is at least begun: the same call again then finds it under way.
STEP_TIMEOUT_MIN_S = 0.001

# What a delivery fails with once another process has our name.
_FENCED = (KafkaError._FATAL, KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
# What a delivery fails with that may go through in another transaction. All else would fail there, too.
_PASSING = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._MSG_TIMED_OUT)


class Progress(NamedTuple):
    """Offsets to commit, in the name of a member of a group."""

    offsets: list[TopicPartition]
    member: object  # librdkafka's own, with its generation


class TransactionalProducer(ConfluentProducer):
    """A producer that sends in transactions only."""

    def __init__(self, config: KafkaConfig, instance_id: str, logger: logging.Logger) -> None:
        """Aborts what an earlier process left open under the same name. Raises BrokerError without an answer."""
        super().__init__(config, instance_id, logger)
        self._timeout_s = config.transaction_timeout_ms / 1_000
        self._open = False
        self._fenced: FencedError | None = None
        self._handing_over: Future[None] | None = None  # of the offsets, in this transaction
        with answering("init_transactions"):
            self._producer.init_transactions(config.request_timeout_ms / 1_000)

    def serve(self, timeout_s: float = 0.0) -> None:
        """See `ConfluentProducer.serve`."""
        try:  # no context manager: this is called in every turn of the loop
            super().serve(timeout_s)
        except FencedError as error:
            self._fenced = error
            raise

    def begin(self) -> None:
        """See `Client.begin_transaction`."""
        self._require(is_open=False)
        with self._until_fenced(), answering("begin_transaction"):
            self._producer.begin_transaction()
        self._open = True

    def commit(self, progress: Callable[[], Progress], timeout_s: float) -> None:
        """See `Client.commit_transaction`. `progress` is asked once the records are there; what it raises is passed on.

        Three steps: acknowledgements, offsets, the end. A call after one that has failed goes on with the step at
        which that one stopped.
        """
        self._require(is_open=True)
        deadline_s = time.monotonic() + timeout_s
        if not self.flush(timeout_s):
            raise BrokerError(f"commit_transaction: {self.unanswered} records are not acknowledged yet")
        with self._until_fenced(), answering("commit_transaction"):
            if self._handing_over is None:
                self._handing_over = self._begin_to_hand_over(progress())
            self._hand_over(self._handing_over, deadline_s)
            self._producer.commit_transaction(_left_s(deadline_s))
        self._open, self._handing_over = False, None

    def abort(self, timeout_s: float) -> None:
        """See `Client.abort_transaction`."""
        self._require(is_open=True)
        deadline_s = time.monotonic() + timeout_s
        if self._handing_over is not None:
            wait([self._handing_over], _left_s(deadline_s))  # librdkafka does one thing at a time
        with self._until_fenced(), answering("abort_transaction"):
            self._producer.abort_transaction(_left_s(deadline_s))
        self._open, self._handing_over = False, None

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """See `ConfluentProducer.close`. Aborts what is open."""
        if self._open and self._fenced is None:  # else whoever has our name has aborted it
            try:
                self.abort(max(at_least_s, deadline_s - time.monotonic()))
            except BrokerError as error:
                self._log.warning("a transaction is left open, the cluster will abort it", error=str(error))
        super().close(deadline_s, at_least_s)

    # -- private

    @contextmanager
    def _until_fenced(self) -> Iterator[None]:
        """Once fenced, fenced for ever."""
        try:
            yield
        except FencedError as error:
            self._fenced = error
            raise

    def _require(self, is_open: bool) -> None:
        if self._fenced is not None:
            raise FencedError(str(self._fenced))
        assert self._open is is_open, "a transaction is begun, then ended"

    def _begin_to_hand_over(self, progress: Progress) -> Future[None]:
        """In a thread of its own: librdkafka waits for as long as a request takes, and fails the transaction then."""
        done: Future[None] = Future()
        if not progress.offsets:
            done.set_result(None)
            return done

        def hand_over() -> None:
            try:
                self._producer.send_offsets_to_transaction(*progress, self._timeout_s)
            except KafkaException as error:
                done.set_exception(error)
            except BaseException as error:  # a mistake of ours: not to be waited for in vain
                done.set_exception(error)
                raise
            else:
                done.set_result(None)

        threading.Thread(target=hand_over, daemon=True).start()
        return done

    def _hand_over(self, under_way: Future[None], deadline_s: float) -> None:
        try:
            under_way.result(_left_s(deadline_s))
        except TimeoutError as error:
            raise BrokerError("commit_transaction: no answer to the offsets yet") from error
        except KafkaException:
            self._handing_over = None  # sent again, the same offsets replace those that may have arrived
            raise

    def _failure(self, topic: str, error: KafkaError) -> BrokerError:
        return delivery_failure(topic, error)

    def _refusal(self, topic: str, error: KafkaError) -> BrokerError:
        if error.code() == KafkaError._STATE:
            assert self._open, "nothing is sent outside of a transaction"
            return TransactionAbortedError(f"{topic}: the transaction has failed already")
        return super()._refusal(topic, self._fatal() if error.code() == KafkaError._FATAL else error)

    def _fatal(self) -> KafkaError:
        """What librdkafka has given up for: it answers whatever it is asked for with that."""
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            return reason(error)
        raise AssertionError("unreachable")


def delivery_failure(topic: str, error: KafkaError) -> BrokerError:
    """`error` as what a delivery to `topic` failed with: whether another transaction may help."""
    said = f"{topic}: a record was not delivered: {error.str()}"
    if error.code() in _FENCED:
        return FencedError(said)
    return TransactionAbortedError(said) if error.code() in _PASSING else DeliveryError(said)


def fence(config: KafkaConfig, transactional_id: str) -> None:
    """See `clients.Fence`."""
    with answering(f"fence {transactional_id}"):
        producer = Producer(fence_settings(config, transactional_id), logger=logging.getLogger("librdkafka"))
        producer.init_transactions(config.request_timeout_ms / 1_000)


def _left_s(deadline_s: float) -> float:
    return max(STEP_TIMEOUT_MIN_S, deadline_s - time.monotonic())
