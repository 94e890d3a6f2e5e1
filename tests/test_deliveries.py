"""What is outstanding, and since when everything before it is settled."""

import pytest
from manual_clock import ManualClock
from tickcast.deliveries import Batch, Deliveries
from tickcast.errors import BrokerError, DeliveryError


def _sent(deliveries, count):
    batch = deliveries.open()
    batch.sent = count
    return batch


def test_batches_settle_in_order_whatever_order_acknowledgements_come_in():
    deliveries = Deliveries(ManualClock())
    first, second = _sent(deliveries, 2), _sent(deliveries, 1)
    second.on_delivery(None)
    first.on_delivery(None)
    assert deliveries.collect() == []
    assert (deliveries.settled, deliveries.outstanding) == (0, 1)
    first.on_delivery(None)
    assert deliveries.collect() == [first, second]
    assert (deliveries.settled, deliveries.outstanding, deliveries.opened) == (2, 0, 2)


def test_a_batch_without_records_is_settled_at_once():
    deliveries = Deliveries(ManualClock())
    deliveries.open()
    deliveries.collect()
    assert deliveries.settled == 1


def test_a_final_failure_is_raised_even_behind_an_unanswered_batch():
    deliveries = Deliveries(ManualClock())
    _sent(deliveries, 1)
    _sent(deliveries, 1).on_delivery(BrokerError("too large"))
    with pytest.raises(DeliveryError, match="too large"):
        deliveries.collect()


class _LateFailure:
    """Stands for the other thread: what a batch learns of between two looks at it."""

    def __init__(self, batch):
        self._batch = batch

    @property
    def sent(self):
        """Asked after `answered` was, in the comparison that settles."""
        return 1

    @property
    def answered(self):
        self._batch.on_delivery(BrokerError("too late"))
        return 1

    def __getattr__(self, name):
        return getattr(self._batch, name)


def test_a_failure_reported_between_two_looks_settles_nothing():
    deliveries = Deliveries(ManualClock())
    deliveries._batches.append(_LateFailure(Batch(ManualClock().monotonic_ns)))
    with pytest.raises(DeliveryError, match="too late"):
        deliveries.collect()


def test_a_batch_of_which_nothing_was_sent_is_used_again():
    deliveries = Deliveries(ManualClock())
    _sent(deliveries, 1)
    empty = deliveries.open()
    assert deliveries.open() is empty
    assert (deliveries.opened, deliveries.settled) == (2, 0)


def test_latencies_run_from_the_hand_over():
    clock = ManualClock()
    batch = _sent(Deliveries(clock), 2)
    clock.advance(0.5)
    batch.on_delivery(None)
    clock.advance(0.25)
    batch.on_delivery(None)
    assert batch.latencies_s().tolist() == [0.5, 0.75]
