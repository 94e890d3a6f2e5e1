"""What is outstanding, and since when everything before it is settled."""

import pytest
from manual_clock import ManualClock
from tickcast.deliveries import Deliveries
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


def test_latencies_run_from_the_hand_over():
    clock = ManualClock()
    batch = _sent(Deliveries(clock), 2)
    clock.advance(0.5)
    batch.on_delivery(None)
    clock.advance(0.25)
    batch.on_delivery(None)
    assert batch.latencies_s().tolist() == [0.5, 0.75]
