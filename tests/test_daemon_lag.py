"""A daemon that answers only the newest ticks of a backlog, killed in the middle of it: what it answers is right, what
it passed over is told, and each symbol's newest tick is answered."""

from collections.abc import Callable

import feeds
import pytest
from daemons import DaemonProcess, Job
from feeds import Feed

PARTITIONS = 2
TICKS = 6_000
# Many polls, and a few commits, within the backlog.
SMALL_STEPS = {"poll_records_max": 60, "commit_interval_ms": 50}


def test_of_a_backlog_the_newest_ticks_are_answered_as_an_undisturbed_run_would(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    behind = job(exported("stacked").bundle, PARTITIONS)
    every = job(behind.bundle, PARTITIONS, of=behind)
    lag = {"on_lag": "latest"}
    config = behind.config(kafka=SMALL_STEPS, lag=lag)
    with Feed(behind.bootstrap_servers, behind.input_topic, PARTITIONS) as feed:
        feed.send(feeds.ticks(TICKS, seed=3, silence_every=500))
        feed.flush()
    first = start_daemon(config)
    behind.wait_published(100)
    first.kill()
    second = start_daemon(config)
    behind.wait_done()
    skipped = second.samples("tickcast_skipped_ticks_total")[frozenset({("reason", "latest")})]
    assert second.stop() == 0
    reference = start_daemon(every.config())
    every.wait_done()
    assert reference.stop() == 0

    whole = behind.audit(lag=lag)
    assert (whole["ticks"], whole["missing"], whole["unexpected"], whole["miscounted"]) == (TICKS, 0, 0, 0)
    assert whole["skipped_by_reason"]["passed_over"] >= skipped > 0
    found, wanted = behind.forecasts(), every.forecasts()
    assert whole["forecasts"] == len(found) < len(wanted)
    for source, copies in found.items():
        (expected,) = wanted[source]
        for copy in copies:
            assert copy.forecast == pytest.approx(expected.forecast, rel=1e-6, abs=1e-6 * behind.target_scale)
    assert newest(found) == newest(wanted)


def newest(forecasts) -> dict[str, int]:
    """Symbol -> the last of its ticks that is answered."""
    return {copies[0].symbol: offset for (_, offset), copies in sorted(forecasts.items(), key=lambda each: each[0][1])}
