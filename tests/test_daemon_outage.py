"""The cluster says nothing for a while: the daemon waits, and no tick is lost for it."""

from collections.abc import Callable
from itertools import islice

import feeds
from daemons import DaemonProcess, Job, halted, wait_until
from feeds import Feed
from tickcast.broker import Broker

PARTITIONS = 2
PART = 800
SETTINGS = {"session_timeout_ms": 6_000, "poll_records_max": 50}
# Each comes a second or more after the one before it: longer than the group waits for a silent member.
WARNINGS = 7


def test_a_cluster_that_is_silent_for_longer_than_a_session_costs_no_tick(
    exported, broker: Broker, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    work = job(exported("stacked").bundle, PARTITIONS)
    daemon = start_daemon(work.config(kafka=SETTINGS))
    stream = feeds.ticks(2 * PART, seed=5)
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        feed.send(islice(stream, PART))
        work.wait_published(PART // 4)
        with halted(broker.pid):
            wait_until(lambda: len(daemon.events("end offsets not known")) >= WARNINGS, "the daemon notices")
            assert daemon.get("/livez")[0] == 200
        feed.send(stream)
        feed.flush()
        work.wait_done()
    assert daemon.stop() == 0
    whole = work.audit()
    assert (whole["ticks"], whole["missing"], whole["unexpected"]) == (2 * PART, 0, 0)
