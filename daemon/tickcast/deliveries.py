"""What was handed to the producer and not yet acknowledged, batch by batch.

Stage `(acks)` of the way of a tick. A batch is what one poll gave rise to. Acknowledgements may come on the client's
own thread and only append to a list there; everything else happens on the loop's thread, in `collect`.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tickcast.clients import Headers, OnDelivery
from tickcast.clock import Clock
from tickcast.errors import BrokerError, DeliveryError, TransactionAbortedError


class Send(Protocol):
    """`Client.send`, or what stands before it."""

    def __call__(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """Hand one record over."""


class Batch:
    """The records one poll gave rise to. `on_delivery` is the callback for each of them."""

    __slots__ = ("_acknowledged_ns", "_failures", "_monotonic_ns", "bytes", "handed_ns", "sent")

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self.sent = 0  # counted up by the loop as it hands records over
        self.bytes = 0  # of their values, as well
        self.handed_ns = monotonic_ns()
        self._monotonic_ns = monotonic_ns
        self._acknowledged_ns: list[int] = []
        self._failures: list[BrokerError] = []

    def on_delivery(self, error: BrokerError | None) -> None:
        """Note one record's acknowledgement or final failure. Called on any thread."""
        if error is not None:
            self._failures.append(error)
        self._acknowledged_ns.append(self._monotonic_ns())

    @property
    def answered(self) -> int:
        """Records acknowledged or failed so far."""
        return len(self._acknowledged_ns)

    def latencies_s(self) -> NDArray[np.float64]:
        """Handed over -> acknowledged of each answered record, in seconds."""
        return (np.array(self._acknowledged_ns, np.float64) - self.handed_ns) / 1e9

    def raise_failure(self) -> None:
        """Raise DeliveryError if a record of this batch was finally not delivered.

        TransactionAbortedError where every failure may be healed by sending again in another transaction.
        """
        final = [failure for failure in self._failures if not isinstance(failure, TransactionAbortedError)]
        if final:
            raise DeliveryError(f"a record was not delivered: {final[0]}") from final[0]
        if self._failures:
            raise TransactionAbortedError(str(self._failures[0])) from self._failures[0]


class Deliveries:
    """All batches not yet wholly acknowledged, oldest first. The loop bounds how much is outstanding."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._batches: deque[Batch] = deque()
        self._opened = 0

    def open(self) -> Batch:
        """A batch for the records about to be sent. One of which nothing was sent is used again: none pile up."""
        if self._batches and not self._batches[-1].sent:
            self._batches[-1].handed_ns = self._clock.monotonic_ns()
            return self._batches[-1]
        batch = Batch(self._clock.monotonic_ns)
        self._batches.append(batch)
        self._opened += 1
        return batch

    @property
    def opened(self) -> int:
        """How many batches were ever opened: a checkpoint taken now waits for all of them."""
        return self._opened

    @property
    def settled(self) -> int:
        """How many batches, from the first on, are wholly acknowledged."""
        return self._opened - len(self._batches)

    @property
    def outstanding(self) -> int:
        """Records handed over and not yet answered."""
        return sum(batch.sent - batch.answered for batch in self._batches)

    def load(self, records_max: int, bytes_max: int) -> float:
        """How much is outstanding, as a share of the nearer limit; a batch's bytes are until all of it is answered."""
        outstanding_bytes = sum(batch.bytes for batch in self._batches if batch.answered < batch.sent)
        return max(self.outstanding / records_max, outstanding_bytes / bytes_max)

    def clear(self) -> None:
        """Forget all batches: their transaction was aborted, and what becomes of their records is of no interest."""
        self._batches.clear()

    def collect(self) -> list[Batch]:
        """The batches that became wholly acknowledged. Raises what `Batch.raise_failure` does."""
        done = []
        for batch in self._batches:
            batch.raise_failure()
        while self._batches and self._batches[0].answered >= self._batches[0].sent:
            self._batches[0].raise_failure()  # again: another thread may have reported one since
            done.append(self._batches.popleft())
        return done
