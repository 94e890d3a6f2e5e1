"""Dead letters for a topic that takes less than most, and symbols on two partitions, through the whole loop."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import feeds
import msgspec
import pytest
from daemons import DaemonProcess, Job
from feeds import Feed
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from tickcast import records
from tickcast.clients import Partition
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

TOPIC_BYTES_MAX = 6_000
BAD_BYTES = 50_000
BAD = 40


@pytest.mark.parametrize(
    ("client", "delivery"), [("kafka-python", "at_least_once"), ("confluent-kafka", "exactly_once")]
)
def test_letters_too_long_for_their_topic_are_cut_and_nothing_stops(
    exported: Callable[[str], Any],
    job: Callable[..., Job],
    topic: Callable[..., str],
    start_daemon: Callable[..., DaemonProcess],
    client: str,
    delivery: str,
) -> None:
    small = topic(config={"max.message.bytes": str(TOPIC_BYTES_MAX)}, label="small")
    work = replace(job(exported("stacked").bundle), dead_letter_topic=small)
    value = b"{" + b" " * BAD_BYTES
    with Feed(work.bootstrap_servers, work.input_topic, 1) as feed:
        feed.send([feeds.Message(0, b"k" * 3_000, value)] * BAD)
        feed.send(feeds.ticks(50, symbols=1))
    daemon = start_daemon(work.config(kafka={"client": client, "delivery": delivery}))
    daemon.wait_ready()
    work.wait_done()
    assert daemon.stop() == 0
    whole = work.audit()
    assert (whole["adds_up"], whole["dead_letters"], whole["missing"], whole["doubled"]) == (True, BAD, 0, 0)
    for letter in work.records(small):
        said = dict(letter.headers)
        assert records.source_of(letter.headers)[0] == Partition(work.input_topic, 0)
        assert letter.value is not None
        assert value.startswith(letter.value)
        assert len(letter.value) > TOPIC_BYTES_MAX // 3
        assert said["original-length"] == b"%d" % len(value)
        assert said["original-sha256"] == hashlib.sha256(value).hexdigest().encode()
        assert said["original-key-length"] == b"3000"
    work.reader.__exit__(None, None, None)


def test_a_dead_letter_topic_that_takes_no_letter_is_refused_at_the_start(
    exported: Callable[[str], Any],
    job: Callable[..., Job],
    topic: Callable[..., str],
    start_daemon: Callable[..., DaemonProcess],
) -> None:
    tiny = topic(config={"max.message.bytes": "1000"}, label="tiny")
    work = replace(job(exported("stacked").bundle), dead_letter_topic=tiny)
    daemon = start_daemon(work.config())
    assert daemon.wait() == 78
    assert f"{tiny} takes 1000 bytes at most" in daemon.text()


def test_a_symbol_on_two_partitions_is_counted_by_the_loop() -> None:
    cluster = MemoryCluster()
    partitions = [Partition("ticks", number) for number in range(2)]
    for number in range(20):
        fields = {"symbol": "A" if number < 10 else f"S{number}", "event_time_ns": number, "value": 1}
        cluster.append(partitions[number % 2], msgspec.json.encode(fields))
    line = Line(config_with(), MemoryClient(cluster, partitions), ToyEngine(WindowRules(window=2), ("value",)))
    line.turn(3)
    assert line.value("tickcast_symbols_on_two_partitions_total") == 1
    line.close()
