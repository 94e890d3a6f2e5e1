"""The producing half of the confluent-kafka client: hands records over and passes on what became of them.

Stage `produce` of the way of a tick; used by `client_confluent` alone. Callbacks come from `serve`, `send`, `flush` and
`close`, on the thread that calls them.
"""

import logging
import time
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


class ConfluentProducer:
    """An idempotent `confluent_kafka.Producer`."""

    def __init__(self, config: KafkaConfig, instance_id: str, logger: logging.Logger) -> None:
        self._producer = Producer(producer_settings(config, instance_id), logger=logger)

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

        def answered(error: KafkaError | None, _message: Message) -> None:
            on_delivery(None if error is None else DeliveryError(f"{topic}: a record was not delivered: {error.str()}"))

        give_up_s = time.monotonic() + FULL_WAIT_MAX_S
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=answered, headers=cast(Any, headers))
            except KafkaException as error:
                raise refusal(f"{topic}: the record was refused", reason(error)) from error
            except BufferError as error:
                if time.monotonic() >= give_up_s:
                    raise BrokerError(f"{topic}: {self.unanswered} records are waiting to be sent already") from error
                self._producer.poll(FULL_LOOK_INTERVAL_S)
            else:
                self.serve()
                return

    def flush(self, timeout_s: float) -> bool:
        """Whether everything is answered within `timeout_s`."""
        return self._producer.flush(max(0.0, timeout_s)) == 0

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """Flush and end. What is not answered by `deadline_s` (monotonic) fails, and its `on_delivery` hears of it."""
        if not self.flush(deadline_s - time.monotonic()):
            self._producer.purge()
            self.flush(at_least_s)
