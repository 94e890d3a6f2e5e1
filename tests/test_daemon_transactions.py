"""Exactly once, in whole daemons: killed in a transaction, taken over by another host, moved between the clients."""

from collections.abc import Callable
from itertools import islice

import feeds
import pytest
from daemons import DaemonProcess, Job, assert_same_forecasts, wait_until
from feeds import Feed
from tickcast.clients import CLIENTS

PARTITIONS = 3
TICKS = 4_000
LIMITS = {"record_bytes_max": feeds.OVERSIZE_BYTES, "dead_letter_bytes_max": 500}
EXACTLY_ONCE = {"delivery": "exactly_once", "poll_records_max": 40}


@pytest.fixture
def work(exported, job: Callable[..., Job]) -> Job:
    return job(exported("additive").bundle, PARTITIONS)


def stream() -> list[feeds.Message]:
    """The same ticks each time, some of them bad."""
    return list(feeds.with_bad_records(feeds.ticks(TICKS, seed=1, silence_every=200), every=50))


def check(work: Job, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]) -> None:
    """Nothing is missing, nothing doubled, and every forecast is that of an undisturbed run, at least once."""
    undisturbed = job(work.bundle, PARTITIONS, of=work)
    reference = start_daemon(undisturbed.config(input=LIMITS))
    undisturbed.wait_done()
    assert reference.stop() == 0
    whole, wanted = work.audit(), undisturbed.audit()
    assert (whole["missing"], whole["doubled"], whole["unexpected"]) == (0, 0, 0)
    assert whole["forecasts"] == wanted["forecasts"] > TICKS // 2
    assert whole["dead_letters"] == wanted["dead_letters"] > 0
    assert_same_forecasts(work.forecasts(), undisturbed.forecasts(), work.target_scale)


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_killed_in_a_transaction_another_host_takes_over_and_each_forecast_is_there_once(
    client, work: Job, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    kafka = {**EXACTLY_ONCE, "client": client}
    messages = iter(stream())
    one, two = (work.config(name, input=LIMITS, kafka=kafka) for name in ("one", "two"))
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        first = start_daemon(one, {"TICKCAST_FAULT": "transaction:500"})
        first.wait_ready()
        feed.send(islice(messages, TICKS // 2))
        wait_until(lambda: "fault point reached" in first.text(), "killed in a transaction")
        second = start_daemon(two)
        feed.send(messages)
        feed.flush()
        work.wait_done()
    assert second.stop() == 0
    assert [event["owner"] for event in second.events("fencing the former owner")] == ["one"]
    check(work, job, start_daemon)


@pytest.mark.parametrize("order", [sorted(CLIENTS), sorted(CLIENTS, reverse=True)], ids=["to-kafka-python", "back"])
def test_a_running_group_is_moved_from_one_client_to_the_other(
    order, work: Job, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    messages = iter(stream())
    configs = [work.config(f"on-{client}", input=LIMITS, kafka={**EXACTLY_ONCE, "client": client}) for client in order]
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        first = start_daemon(configs[0])
        first.wait_ready()
        feed.send(islice(messages, TICKS // 2))
        second = start_daemon(configs[1])
        wait_until(lambda: second.owned() and first.owned(), "both have partitions")
        feed.send(islice(messages, TICKS // 4))
        assert first.stop() == 0
        feed.send(messages)
        feed.flush()
        wait_until(lambda: len(second.owned()) == PARTITIONS, "the second has all partitions")
        work.wait_done()
    assert second.stop() == 0
    assert second.events("fencing the former owner") == []
    check(work, job, start_daemon)
