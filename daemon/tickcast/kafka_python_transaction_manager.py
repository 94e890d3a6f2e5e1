"""kafka-python's book of a producer's transactions, mended where it loses a request, a failure, or count.

Stage `commit` of the way of a tick; used by `kafka_python_transactions` alone, and the place that knows the inside of
kafka-python's transactions (3.0.12; the conformance suite holds it). Each method says what would happen without it.
"""

import functools
from typing import Any

from kafka import errors
from kafka.producer.transaction_manager import InitProducerIdHandler, TransactionManager, TransactionState


class Manager(TransactionManager):  # type: ignore[misc]  # kafka-python has no types
    """A `TransactionManager` that the library has made, turned into one of these by `mended`."""

    # Whether sequence numbers may have been given to records that the broker does not have.
    renewal_due = False
    # The request taken last, until it is answered.
    _asked: Any = None

    @property
    def state(self) -> TransactionState:
        """What is under way."""
        return self._current_state

    def begin_transaction(self) -> None:
        """Forget the offsets of an aborted transaction, which the library would commit with this one's."""
        self._pending_txn_offset_commits: dict[Any, Any] = {}
        super().begin_transaction()

    def next_request_handler(self, has_incomplete_batches: bool) -> Any:
        """Take a request that was neither sent nor put back once more.

        The library drops it, and would wait for its answer for ever, where the broker to ask is not reachable.
        """
        with self._lock:
            dropped = self._asked
            if dropped is not None and all(handler is not dropped for _, _, handler in self._pending_requests):
                self.retry(dropped)
            self._asked = handler = super().next_request_handler(has_incomplete_batches)
            if handler is not None:
                handler.on_complete = functools.partial(self._answered, handler)
            return handler

    def _answered(self, handler: Any, correlation_id: int, answer: object) -> None:
        """Send a request again, whatever its connection ended of: for the library that is most often the end."""
        self._asked = None
        if isinstance(answer, errors.RetriableError):
            answer = errors.KafkaConnectionError(str(answer))
        type(handler).on_complete(handler, correlation_id, answer)

    def classify_batch_error(self, error: BaseException, batch: Any, log_start_offset: int = -1) -> str:
        """Let no transaction be committed that lacks a batch, and none go on under a new epoch unknown to its owner.

        The library goes by the error alone: of a batch that ran out of time, the transaction hears nothing.
        """
        found = str(super().classify_batch_error(error, batch, log_start_offset))
        if found == self.ERROR_CLASS_FATAL or isinstance(error, errors.InvalidProducerEpochError):
            return str(self.ERROR_CLASS_FATAL)
        self.renewal_due = True
        return str(self.ERROR_CLASS_ABORTABLE)

    def transition_to_abortable_error(self, exc: BaseException) -> None:
        """What is at its end stays there; the library would raise, and leave the batch that failed unanswered."""
        with self._lock:
            if not self.has_fatal_error():
                super().transition_to_abortable_error(exc)

    def reset_producer_id(self) -> None:
        """Called where a batch that was sent ran out of time: `renew` is due. The library raises, on its own thread."""

    def renew(self) -> Any:
        """Ask for a new epoch, in which sequence numbers begin anew, and return the library's result to wait for.

        A batch that failed leaves a gap in the old ones, which the library does not close: the broker would refuse what
        comes next.
        """
        with self._lock:
            self.renewal_due = False
            self.bump_producer_id_and_epoch()
            handlers = [handler for _, _, handler in self._pending_requests]
            return next(handler.result for handler in handlers if isinstance(handler, InitProducerIdHandler))

    def _restart_epoch_bump_without_producer_id(self, transaction_timeout_ms: int, result: Any) -> None:
        """Our epoch is not the last one any more: another process has the name. The library would take it back."""
        fenced = errors.ProducerFencedError()
        self.transition_to_fatal_error(fenced)
        result.done(error=fenced)


def mended(manager: TransactionManager) -> Manager:
    """`manager` itself, before it is used."""
    manager.__class__ = Manager
    assert isinstance(manager, Manager)
    return manager
