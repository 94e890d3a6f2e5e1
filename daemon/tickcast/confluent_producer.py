"""The producing half of the confluent-kafka client: hands records over and passes on what became of them.

Stage `produce` of the way of a tick; used by `client_confluent` alone. Callbacks come from `serve`, `send`, `flush` and
`close`, on the thread that calls them.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tickcast.clients import Headers, OnDelivery
from tickcast.config import KafkaConfig
from tickcast.confluent_errors import reason, refusal
from tickcast.confluent_settings import producer_settings
from tickcast.errors import BrokerError, DeliveryError

# With its queue full, how long `send` waits for room before the caller is refused.
FULL_WAIT_MAX_S = 1.0
FULL_LOOK_INTERVAL_S = 0.01

Answered = Callable[[KafkaError | None, Message], None]


class ConfluentProducer:
    """An idempotent `confluent_kafka.Producer`."""

    def __init__(self, config: KafkaConfig, instance_id: str, logger: logging.Logger) -> None:
        self._producer = Producer(producer_settings(config, instance_id), logger=logger)
        self._told: OnDelivery | None = None
        self._answered: Answered | None = None  # passes on to `_told`

    @property
    def unanswered(self) -> int:
        """Records whose callback has not come yet."""
        return len(self._producer)

    def serve(self) -> None:
        """Let the callbacks come that are due."""
        self._producer.poll(0)

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        """Hand one record over. Raises BrokerError where librdkafka refuses it; then `on_delivery` hears nothing."""
        if on_delivery != self._told:  # the same for many records in a row
            self._told, self._answered = on_delivery, _answered(on_delivery)
        try:
            self._produce(topic, value, key, headers)
        except BufferError:
            self._produce_when_there_is_room(topic, value, key, headers)

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        try:
            self._producer.produce(topic, value, key, on_delivery=self._answered, headers=cast(Any, headers))
        except KafkaException as error:
            raise refusal(f"{topic}: the record was refused", reason(error)) from error

    def _produce_when_there_is_room(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        give_up_s = time.monotonic() + FULL_WAIT_MAX_S
        while True:
            self._producer.poll(FULL_LOOK_INTERVAL_S)
            try:
                return self._produce(topic, value, key, headers)
            except BufferError as error:
                if time.monotonic() >= give_up_s:
                    raise BrokerError(f"{topic}: {self.unanswered} records are waiting to be sent already") from error

    def flush(self, timeout_s: float) -> bool:
        """Whether everything is answered within `timeout_s`."""
        return self._producer.flush(max(0.0, timeout_s)) == 0

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """Flush and end. What is not answered by `deadline_s` (monotonic) fails, and its `on_delivery` hears of it."""
        if not self.flush(deadline_s - time.monotonic()):
            self._producer.purge()
            self.flush(at_least_s)


def _answered(on_delivery: OnDelivery) -> Answered:
    def answered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            on_delivery(None)
        else:
            on_delivery(DeliveryError(f"{message.topic()}: a record was not delivered: {error.str()}"))

    return answered
