"""The producing half of the kafka-python client: hands records over and counts what is not answered yet.

Stage `produce` of the way of a tick; used by `client_kafka_python` alone.
"""

import threading
import time

import kafka

from tickcast.clients import Headers, OnDelivery
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, DeliveryError
from tickcast.kafka_python_errors import answering
from tickcast.kafka_python_settings import NULL, opened, producer_settings


class Producer:
    """An idempotent `kafka.KafkaProducer` whose flush and close keep to their time."""

    def __init__(self, config: KafkaConfig, instance_id: str) -> None:
        """Raises kafka-python's errors where the cluster does not answer."""
        self._producer = opened(kafka.KafkaProducer, producer_settings(config, instance_id))
        self._unanswered = 0
        self._answered = threading.Condition()

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        """Hand one record over. Raises BrokerError where kafka-python refuses it; then `on_delivery` hears nothing."""

        def delivered(_metadata: object) -> None:
            on_delivery(None)
            self._count(-1)

        def failed(error: BaseException) -> None:
            on_delivery(DeliveryError(f"{topic}: a record was not delivered: {error}"))
            self._count(-1)

        self._count(+1)
        try:
            with answering(f"{topic}: the record was refused"):
                future = self._producer.send(topic, value=NULL if value is None else value, key=key, headers=headers)
        except BrokerError:
            self._count(-1)
            raise
        future.add_callback(delivered)
        future.add_errback(failed)

    def flush(self, timeout_s: float) -> bool:
        """Whether everything is answered within `timeout_s`.

        Waiting is enough, as nothing lingers; the library's own flush may take its timeout once per batch.
        """
        with self._answered:
            return self._answered.wait_for(lambda: not self._unanswered, timeout_s)

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """Flush and end. What is not answered by `deadline_s` (monotonic) fails, and its `on_delivery` hears of it."""
        if not self.flush(max(0.0, deadline_s - time.monotonic())):
            # `KafkaProducer.close` would raise and leave its thread running; forced, it first fails what is left.
            self._producer._sender.force_close()
        self._producer.close(timeout=max(at_least_s, deadline_s - time.monotonic()))

    def _count(self, change: int) -> None:
        with self._answered:
            self._unanswered += change
            if not self._unanswered:
                self._answered.notify_all()
