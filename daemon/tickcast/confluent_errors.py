"""What librdkafka's errors become: one of ours, which keeps whether trying the same again may help.

Stages `poll`, `produce` and `commit` of the way of a tick; used by `client_confluent` and its parts. librdkafka tries
again by itself what may heal, and marks as fatal what never does; in between, what only an operator mends is listed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from tickcast.errors import BrokerError, FencedError, RefusedError, TransactionAbortedError

_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._BAD_COMPRESSION,
        KafkaError._BAD_MSG,
        KafkaError._INVALID_ARG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError._SSL,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.UNSUPPORTED_VERSION,
    }
)

# Another producer has our transactional id.
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


def stays(error: KafkaError) -> bool:
    """Whether trying again is of no use."""
    return error.fatal() or (error.code() in _REFUSED and not error.retriable())


def refusal(what: str, error: KafkaError) -> BrokerError:
    """`error` as the answer to `what`."""
    return _kind(error)(f"{what}: {error.str()} ({error.name()})")


def reason(error: KafkaException) -> KafkaError:
    """What librdkafka's exception carries."""
    carried: KafkaError = error.args[0]
    return carried


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Let what librdkafka says come out as BrokerError, or as the kind of it that says what can be done about it."""
    try:
        yield
    except KafkaException as error:
        raise refusal(what, reason(error)) from error


def _kind(error: KafkaError) -> type[BrokerError]:
    if error.code() in _FENCED:
        return FencedError
    if stays(error):
        return RefusedError
    return TransactionAbortedError if error.txn_requires_abort() else BrokerError
