"""What kafka-python's errors become: one of ours, which keeps whether trying the same again may help.

Stages `poll`, `produce` and `commit` of the way of a tick; used by `client_kafka_python`, its parts and `topic_reader`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors

from tickcast.errors import BrokerError, RefusedError


def refusal(what: str, error: errors.KafkaError) -> BrokerError:
    """`error` as the answer to `what`. A rebalance passes, whatever kafka-python says of it."""
    heals = error.retriable or isinstance(error, errors.RebalanceInProgressError)
    return (BrokerError if heals else RefusedError)(f"{what}: {error}")


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Let what kafka-python says come out as BrokerError, or as RefusedError where trying again is of no use."""
    try:
        yield
    except errors.KafkaError as error:
        raise refusal(what, error) from error
