"""A daemon that is killed or stopped mid-stream, and started again: every tick has its forecast, and the same one."""

import threading
from collections.abc import Callable

import feeds
from daemons import DaemonProcess, Job, assert_same_forecasts
from feeds import Feed

PARTITIONS = 3
TICKS = 6_000
# Some windows are cut by a silence; some records are bad; the dead letters of all kinds stay small.
LIMITS = {"record_bytes_max": feeds.OVERSIZE_BYTES, "dead_letter_bytes_max": 500}
# Many commits on the way, and other batches than the undisturbed run has.
SMALL_STEPS = {"poll_records_max": 40, "commit_interval_ms": 20}
# What some forecasts lean on is compared, too.
ATTENTION = {"attention": ["SIM-[0-2]"]}


def stream() -> list[feeds.Message]:
    """The same ticks each time."""
    return list(feeds.with_bad_records(feeds.ticks(TICKS, seed=1, silence_every=200), every=50))


def sent_in_the_background(feed: Feed, messages: list[feeds.Message]) -> threading.Thread:
    """Ticks go on arriving while the test does something else."""
    thread = threading.Thread(target=feed.send, args=(messages,))
    thread.start()
    return thread


def test_killed_again_and_again_every_tick_gets_the_forecast_of_an_undisturbed_run(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    disturbed = job(exported("additive").bundle, PARTITIONS)
    undisturbed = job(disturbed.bundle, PARTITIONS, of=disturbed)
    config = disturbed.config(input=LIMITS, kafka=SMALL_STEPS, output=ATTENTION)
    messages = stream()
    parts = 4
    size = len(messages) // parts
    with Feed(disturbed.bootstrap_servers, disturbed.input_topic, PARTITIONS) as feed:
        for part in range(parts):
            daemon = start_daemon(config)
            arriving = sent_in_the_background(feed, messages[part * size :][: None if part == parts - 1 else size])
            if part < parts - 1:
                disturbed.wait_published(disturbed.published() + size // 2)
                daemon.kill()
            arriving.join()
        feed.flush()
        disturbed.wait_done()
        assert daemon.stop() == 0
        reference = start_daemon(undisturbed.config(input=LIMITS, output=ATTENTION))
        undisturbed.wait_done()
        assert reference.stop() == 0
        check(disturbed, undisturbed)
    recoveries = daemon.events("partition taken up")
    assert {event["recovery"] for event in recoveries} == {"metadata"}
    assert any(event["replay_from"] < event["publish_from"] for event in recoveries)
    # And bands, which `check` compares to the last digit, went on where they were.
    restored = daemon.events("live state restored")
    assert sum(event["symbols"] for event in restored) > 0
    assert all(event["begun_anew"] == {} for event in restored)
    made = [each.bands for copies in disturbed.forecasts().values() for each in copies]
    assert len({tuple(bands.half_widths) for bands in made if bands is not None}) > 100


def test_stopped_mid_stream_it_commits_all_it_published(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    disturbed = job(exported("stacked").bundle, PARTITIONS)
    undisturbed = job(disturbed.bundle, PARTITIONS, of=disturbed)
    config = disturbed.config(input=LIMITS, kafka=SMALL_STEPS)
    messages = stream()
    with Feed(disturbed.bootstrap_servers, disturbed.input_topic, PARTITIONS) as feed:
        first = start_daemon(config)
        first.wait_ready()
        arriving = sent_in_the_background(feed, messages)
        disturbed.wait_published(len(messages) // 4)
        assert first.stop() == 0
        answered = disturbed.published()
        second = start_daemon(config)
        arriving.join()
        feed.flush()
        disturbed.wait_done()
        second.wait_ready()
        assert second.stop() == 0
        assert answered < disturbed.published()  # it was mid-stream
        reference = start_daemon(undisturbed.config(input=LIMITS))
        undisturbed.wait_done()
        assert reference.stop() == 0
        whole = check(disturbed, undisturbed)
    assert whole["doubled"] == 0


def check(disturbed: Job, undisturbed: Job) -> dict[str, int]:
    """The undisturbed run adds up; nothing is missing in the other, and every copy of a forecast is the same one."""
    wanted, whole = undisturbed.audit(), disturbed.audit()
    assert wanted["adds_up"]
    assert min(wanted[part] for part in ("forecasts", "warming", "dead_letters")) > 0
    assert wanted["warming"] > 6 * 17  # windows were cut
    for part in ("ticks", "forecasts", "warming", "skipped", "dead_letters", "missing", "unexpected"):
        assert whole[part] == wanted[part], part
    found = disturbed.forecasts()
    assert_same_forecasts(found, undisturbed.forecasts(), disturbed.target_scale)
    return whole
