"""Two daemons of one group: they share the partitions, and whoever comes or goes, every tick gets its one forecast."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import feeds
import pytest
from daemons import DaemonProcess, Job, assert_same_forecasts, wait_until
from feeds import Feed, Message

PARTITIONS = 4
SYMBOLS = 8
PART = 1_500
SETTINGS = {"poll_records_max": 100, "session_timeout_ms": 6_000}


@pytest.fixture
def work(exported, job: Callable[..., Job]) -> Job:
    return job(exported("additive").bundle, PARTITIONS)


@pytest.fixture
def configs(work: Job) -> tuple[Path, Path]:
    """Of two members of the group."""
    return work.config("one", kafka=SETTINGS), work.config("two", kafka=SETTINGS)


@pytest.fixture
def feed(work: Job) -> Iterator[Feed]:
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        yield feed


def messages(parts: int) -> Iterator[Message]:
    return feeds.ticks(parts * PART, SYMBOLS, seed=3, silence_every=300)


def share(*daemons: DaemonProcess) -> None:
    """Wait until each has as many partitions as the others, and together they have all."""

    def shared() -> bool:
        owned = [daemon.owned() for daemon in daemons]
        return all(len(own) == PARTITIONS // len(daemons) for own in owned) and len(set().union(*owned)) == PARTITIONS

    wait_until(shared, f"{len(daemons)} daemons share the partitions")


def send_some(work: Job, feed: Feed, part: Iterator[Message]) -> None:
    """Send a part of the stream, and wait until a good deal of it is answered and a good deal is not."""
    before = work.published()
    feed.send(islice(part, PART))
    work.wait_published(before + PART // 3)


def test_one_joins_leaves_and_joins_again_without_a_tick_lost_or_answered_twice(
    work: Job,
    configs: tuple[Path, Path],
    feed: Feed,
    job: Callable[..., Job],
    start_daemon: Callable[..., DaemonProcess],
) -> None:
    stream = messages(parts=5)
    first = start_daemon(configs[0])
    first.wait_ready()
    send_some(work, feed, stream)
    second = start_daemon(configs[1])
    send_some(work, feed, stream)
    share(first, second)
    send_some(work, feed, stream)
    assert second.stop() == 0
    send_some(work, feed, stream)
    share(first)  # a static member is waited for: its partitions move when its session has ended
    second = start_daemon(configs[1])
    send_some(work, feed, stream)
    share(first, second)
    feed.flush()
    work.wait_done()
    assert first.stop() == 0
    assert second.stop() == 0
    whole = work.audit()
    assert (whole["missing"], whole["doubled"], whole["unexpected"]) == (0, 0, 0)
    assert whole["adds_up"]
    assert whole["ticks"] == 5 * PART
    assert_as_undisturbed(work, job, start_daemon)


def test_when_one_is_killed_the_other_takes_over(
    work: Job,
    configs: tuple[Path, Path],
    feed: Feed,
    job: Callable[..., Job],
    start_daemon: Callable[..., DaemonProcess],
) -> None:
    stream = messages(parts=2)
    first, second = start_daemon(configs[0]), start_daemon(configs[1])
    first.wait_ready()
    second.wait_ready()
    share(first, second)
    send_some(work, feed, stream)
    second.kill()
    send_some(work, feed, stream)
    share(first)
    feed.flush()
    work.wait_done()
    assert first.stop() == 0
    whole = work.audit()
    assert (whole["missing"], whole["unexpected"]) == (0, 0)
    assert whole["ticks"] == 2 * PART
    assert_as_undisturbed(work, job, start_daemon)


def assert_as_undisturbed(work: Job, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]) -> None:
    """Every forecast is that of one daemon that ran alone over the same ticks."""
    alone = job(work.bundle, of=work)
    daemon = start_daemon(alone.config())
    alone.wait_done()
    assert daemon.stop() == 0
    assert_same_forecasts(work.forecasts(), alone.forecasts(), work.target_scale)
