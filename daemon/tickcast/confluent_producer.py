"""The producing half of the confluent-kafka client: hands records over and passes on what became of them.

Stage `produce` of the way of a tick; used by `client_confluent` and `confluent_transactions` alone. Callbacks come from
`serve`, `send`, `flush` and `close`, on the thread that calls them.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tickcast import log
from tickcast.clients import Headers, OnDelivery
from tickcast.config import KafkaConfig
from tickcast.confluent_errors import reason, refusal
from tickcast.confluent_settings import producer_settings
from tickcast.errors import BrokerError, DeliveryError

# As librdkafka says: whichever its partitioner chooses.
PARTITION_UA = -1
# With its queue full, how long `send` waits for room before the caller is refused.
FULL_WAIT_MAX_S = 1.0
FULL_LOOK_INTERVAL_S = 0.01

Answered = Callable[[KafkaError | None, Message], None]


class ConfluentProducer:
    """An idempotent `confluent_kafka.Producer`."""

    def __init__(self, config: KafkaConfig, instance_id: str, logger: logging.Logger) -> None:
        self._producer = Producer(producer_settings(config, instance_id), logger=logger)
        self._log = log.get("kafka")
        self._told: OnDelivery | None = None
        self._answered: Answered | None = None  # passes on to `_told`

    @property
    def unanswered(self) -> int:
        """Records whose callback has not come yet."""
        return len(self._producer)

    def serve(self, timeout_s: float = 0.0) -> None:
        """Let the callbacks come that are due; wait for one for up to `timeout_s`.

        Raises RefusedError or FencedError, once, where librdkafka has given up for good.
        """
        try:
            self._producer.poll(timeout_s)
        except KafkaException as error:
            raise refusal("producer", reason(error)) from error

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """Hand one record over. Raises BrokerError where librdkafka refuses it; then `on_delivery` hears nothing."""
        if on_delivery != self._told:  # the same for many records in a row
            self._told, self._answered = on_delivery, self._passing_on(on_delivery)
        try:
            self._produce(topic, value, key, headers, partition)
        except BufferError:
            self._produce_when_there_is_room(topic, value, key, headers, partition)

    def flush(self, timeout_s: float) -> bool:
        """Whether everything is answered within `timeout_s`. Raises as `serve` does.

        librdkafka's own flush goes on with callbacks after one of them has left a fatal error to be raised, and they
        break on it.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.unanswered:
            left_s = deadline_s - time.monotonic()
            self.serve(max(0.0, left_s))
            if left_s <= 0:
                return not self.unanswered
        return True

    def close(self, deadline_s: float, at_least_s: float) -> None:
        """Flush and end. What is not answered by `deadline_s` (monotonic) fails, and its `on_delivery` hears of it."""
        if not self._closed(deadline_s - time.monotonic()):
            self._producer.purge()
            self._closed(at_least_s)

    # -- private

    def _produce(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, partition: int | None
    ) -> None:
        place = PARTITION_UA if partition is None else partition
        try:
            self._producer.produce(topic, value, key, place, on_delivery=self._answered, headers=cast(Any, headers))
        except KafkaException as error:
            raise self._refusal(topic, reason(error)) from error

    def _produce_when_there_is_room(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, partition: int | None
    ) -> None:
        give_up_s = time.monotonic() + FULL_WAIT_MAX_S
        while True:
            self.serve(FULL_LOOK_INTERVAL_S)
            try:
                return self._produce(topic, value, key, headers, partition)
            except BufferError as error:
                if time.monotonic() >= give_up_s:
                    raise BrokerError(f"{topic}: {self.unanswered} records are waiting to be sent already") from error

    def _passing_on(self, on_delivery: OnDelivery) -> Answered:
        def answered(error: KafkaError | None, message: Message) -> None:
            on_delivery(None if error is None else self._failure(cast(str, message.topic()), error))

        return answered

    def _failure(self, topic: str, error: KafkaError) -> BrokerError:
        """What the delivery of a record to `topic` failed with."""
        return DeliveryError(f"{topic}: a record was not delivered: {error.str()}")

    def _refusal(self, topic: str, error: KafkaError) -> BrokerError:
        """Why a record for `topic` was not even taken."""
        return refusal(f"{topic}: the record was refused", error)

    def _closed(self, timeout_s: float) -> bool:
        try:
            return self.flush(timeout_s)
        except BrokerError as error:
            self._log.warning("the producer ends without having delivered everything", error=str(error))
            return False
