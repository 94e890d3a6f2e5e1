"""Windows that come back from whatever a topic still holds and a group has committed: said, counted, and never a hang.

Each daemon is started on a group that somebody else has committed for. What it answers is what an undisturbed run over
the topic as it then is answers from there on.
"""

import functools
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import feeds
import kafka
import pytest
from daemons import DaemonProcess, Job, assert_same_forecasts, wait_until
from feeds import Feed
from kafka.admin import KafkaAdminClient
from kafka.structs import OffsetAndMetadata, TopicPartition
from tickcast import state_topic
from tickcast.broker import Broker
from tickcast.clients import CLIENTS, Partition
from tickcast.commit_note import CommitNote
from tickcast.config import FAULT_VARIABLE
from tickcast.kafka_python_offsets import END_OF_TEXT
from tickcast.kafka_python_settings import opened

TICKS = 3_000
COMMITTED = 2_000
# More than a client fetches ahead.
MANY_TICKS = {"kafka-python": 10_000, "confluent-kafka": 60_000}
OTHER_RULES = CommitNote(COMMITTED - 10, 9, "0" * 16, "").text()
# A topic that is compacted within a moment of being written: every segment but the last.
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": "1048576",
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.001",
    "min.compaction.lag.ms": "0",
}


@contextmanager
def consumer_of(job: Job) -> Iterator[kafka.KafkaConsumer]:
    group_id = f"group-of-{job.output_topic}"
    settings = {"bootstrap_servers": job.bootstrap_servers, "group_id": group_id, "enable_auto_commit": False}
    with closing(opened(kafka.KafkaConsumer, settings)) as consumer:
        consumer.assign([TopicPartition(job.input_topic, 0)])
        yield consumer


def commit(job: Job, offset: int, metadata: str = "") -> None:
    """As whoever was in the group before; with the end that librdkafka, which reads it, would go on without."""
    ended = metadata and metadata + END_OF_TEXT
    with consumer_of(job) as consumer:
        consumer.commit({TopicPartition(job.input_topic, 0): OffsetAndMetadata(offset, ended, -1)})


def delete_before(job: Job, offset: int) -> None:
    """As retention does."""
    with opened(KafkaAdminClient, {"bootstrap_servers": job.bootstrap_servers}) as admin:
        admin.delete_records({TopicPartition(job.input_topic, 0): offset})


def send(job: Job, ticks: Sequence[feeds.Message]) -> None:
    with Feed(job.bootstrap_servers, job.input_topic, 1) as feed:
        feed.send(ticks)
        feed.flush()


@functools.cache
def stream(count: int = TICKS) -> Sequence[feeds.Message]:
    return tuple(feeds.ticks(count, seed=5))


def taken_up(daemon: DaemonProcess) -> tuple[str, int, int]:
    """How its partition was taken up last: kind, and where it read and answered from."""
    event = daemon.events("partition taken up")[-1]
    return event["recovery"], event["replay_from"], event["publish_from"]


def recoveries(daemon: DaemonProcess) -> dict[str, float]:
    found = daemon.samples("tickcast_recoveries_total")
    return {dict(labels)["kind"]: count for labels, count in found.items() if count}


def check(disturbed: Job, undisturbed: Job, answered_from: int) -> None:
    """Whatever `undisturbed`, done here, answers from that offset on, `disturbed` has answered so, and nothing else.

    Bands begin anew where the committed offset was not the daemon's own.
    """
    wanted = {source: copies for source, copies in undisturbed.forecasts().items() if source[1] >= answered_from}
    assert wanted
    found = disturbed.forecasts()
    assert max(map(len, found.values())) == 1
    assert_same_forecasts(found, wanted, disturbed.target_scale, but={"bands"})


@pytest.fixture
def bundle(exported) -> Path:
    return exported("additive").bundle


def run(start_daemon: Callable[..., DaemonProcess], job: Job, client: str = "confluent-kafka") -> None:
    """All of the topic, from its beginning."""
    daemon = start_daemon(job.config(kafka={"client": client}))
    job.wait_done()
    assert daemon.stop() == 0


def test_metadata_that_is_missing_damaged_or_for_other_rules_costs_a_longer_rebuild_and_nothing_else(
    bundle: Path, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    undisturbed = job(bundle)
    send(undisturbed, stream())
    run(start_daemon, undisturbed)
    for metadata, kind in (("", "missing"), ("v=1 replay_from=17", "unreadable"), (OTHER_RULES, "other_rules")):
        disturbed = job(bundle, of=undisturbed)
        commit(disturbed, COMMITTED, metadata)
        daemon = start_daemon(disturbed.config(kafka={"client": "confluent-kafka"}))
        disturbed.wait_done()
        assert taken_up(daemon) == (kind, 0, COMMITTED)
        assert daemon.events("partition taken up")[0]["level"] == "warning"
        assert recoveries(daemon) == {kind: 1}
        assert daemon.total("tickcast_ticks_replayed_total") == COMMITTED
        assert daemon.stop() == 0
        check(disturbed, undisturbed, COMMITTED)


@pytest.mark.parametrize("kept_from", [COMMITTED - 500, COMMITTED + 500])
def test_what_retention_has_deleted_is_said_and_the_rest_goes_on(
    bundle: Path, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess], kept_from: int
) -> None:
    disturbed = job(bundle)
    send(disturbed, stream())
    commit(disturbed, COMMITTED)
    delete_before(disturbed, kept_from)
    daemon = start_daemon(disturbed.config())
    disturbed.wait_done()
    answered_from = max(COMMITTED, kept_from)
    assert taken_up(daemon) == ("truncated", kept_from, answered_from)
    assert recoveries(daemon) == {"truncated": 1}
    assert daemon.stop() == 0
    undisturbed = job(bundle, of=disturbed)
    run(start_daemon, undisturbed)
    check(disturbed, undisturbed, answered_from)


def test_a_topic_that_ends_before_what_was_committed_goes_on_at_its_end(
    bundle: Path, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    disturbed = job(bundle)
    messages = stream()
    send(disturbed, messages[:COMMITTED])
    commit(disturbed, TICKS)
    daemon = start_daemon(disturbed.config(kafka={"client": "confluent-kafka"}))
    daemon.wait_for_event("windows rebuilt")
    send(disturbed, messages[COMMITTED:])
    wait_until(lambda: disturbed.published() == TICKS - COMMITTED, "what came after is answered")
    assert taken_up(daemon) == ("truncated", 0, COMMITTED)
    assert recoveries(daemon) == {"truncated": 1}
    assert daemon.stop() == 0
    undisturbed = job(bundle, of=disturbed)
    run(start_daemon, undisturbed)
    check(disturbed, undisturbed, COMMITTED)


@pytest.mark.parametrize("client", CLIENTS)
def test_records_deleted_while_they_are_read_back_have_it_begin_again_where_the_topic_does(
    bundle: Path, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess], client: str
) -> None:
    disturbed = job(bundle)
    messages = stream(MANY_TICKS[client])
    committed, kept_from = len(messages) - 200, len(messages) - 2_000
    send(disturbed, messages)
    commit(disturbed, committed)
    daemon = start_daemon(disturbed.config(kafka={"client": client}), {FAULT_VARIABLE: "recovery:200:stop"})
    daemon.wait_for_event("fault point reached")
    delete_before(disturbed, kept_from)
    send(disturbed, messages[:100])  # the topic grows meanwhile
    os.kill(daemon.pid, signal.SIGCONT)
    disturbed.wait_done()
    assert taken_up(daemon) == ("truncated", kept_from, committed)
    assert recoveries(daemon) == {"missing": 1, "truncated": 1}
    assert daemon.stop() == 0
    undisturbed = job(bundle, of=disturbed)
    run(start_daemon, undisturbed)
    check(disturbed, undisturbed, committed)


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_but_aborted_records_and_markers_before_what_comes_next_is_no_reason_to_wait(
    bundle: Path, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess], client: str
) -> None:
    disturbed = job(bundle)
    messages = stream(300)
    send(disturbed, messages[:200])
    producer = kafka.KafkaProducer(
        bootstrap_servers=disturbed.bootstrap_servers, transactional_id=disturbed.output_topic
    )
    with closing(producer):
        producer.init_transactions()
        for _ in range(2):
            producer.begin_transaction()
            for message in messages[:50]:
                producer.send(disturbed.input_topic, key=message.key, value=message.value, partition=0)
            producer.flush()
            producer.abort_transaction()
    partition = Partition(disturbed.input_topic, 0)
    # The markers come a moment after the abort.
    wait_until(lambda: disturbed.reader.held([partition])[partition].end > 300, "both transactions ended")
    held = disturbed.reader.held([partition])[partition]
    commit(disturbed, held.end)
    daemon = start_daemon(disturbed.config(kafka={"client": client}))
    daemon.wait_for_event("windows rebuilt")
    assert daemon.total("tickcast_ticks_replayed_total") == 200
    send(disturbed, messages[200:])
    disturbed.wait_done()
    assert daemon.stop() == 0
    undisturbed = job(bundle, of=disturbed)
    run(start_daemon, undisturbed)
    check(disturbed, undisturbed, held.end)


def test_windows_come_back_from_what_compaction_left(
    bundle: Path, tmp_path: Path, start_daemon: Callable[..., DaemonProcess]
) -> None:
    with Broker(settings={"log.cleaner.backoff.ms": "100"}) as broker:
        jobs = []
        for name in ("disturbed", "undisturbed"):
            (tmp_path / name).mkdir()
            for topic in (f"{name}-forecasts", f"{name}-dead-letters"):
                broker.create_topic(topic)
            broker.create_topic(f"{name}-forecasts-state", config=state_topic.SETTINGS)
            topics = ("ticks", f"{name}-forecasts", f"{name}-dead-letters")
            jobs.append(Job(broker.bootstrap_servers, *topics, bundle, tmp_path / name))
        disturbed, undisturbed = jobs
        broker.create_topic("ticks", config=COMPACTED)
        partition = Partition("ticks", 0)
        # A key of its own for each of the first ticks, so that they stay; then the same few, of which one each does.
        early = [each._replace(key=b"%d" % at) for at, each in enumerate(stream(500))]
        with disturbed.reader, undisturbed.reader:
            send(disturbed, [*early, *stream(TICKS)])
            wait_until(lambda: _poke(disturbed) < 700, "compacted")
            kept = [record.offset for record in disturbed.records("ticks")]
            committed = next(end + 1 for end, after in itertools.pairwise(kept) if after > end + 1)
            commit(disturbed, committed)  # is compacted away itself
            daemon = start_daemon(disturbed.config(kafka={"client": "confluent-kafka"}))
            send(disturbed, stream(100))
            disturbed.wait_done()
            assert taken_up(daemon) == ("missing", 0, committed)
            assert daemon.total("tickcast_ticks_replayed_total") == sum(offset < committed for offset in kept)
            assert daemon.stop() == 0
            run(start_daemon, undisturbed)
            check(disturbed, undisturbed, committed)
            assert disturbed.reader.held([partition])[partition].first == 0


def _poke(job: Job) -> int:
    """Write a record, for a segment is closed by the first one after its time; how many the topic holds."""
    send(job, [feeds.Message(0, b"poke", b"{}")])
    return len(job.records(job.input_topic))


def test_a_broker_that_is_away_during_a_rebuild_is_waited_for(
    bundle: Path, tmp_path: Path, start_daemon: Callable[..., DaemonProcess]
) -> None:
    files, messages = tmp_path / "files", stream(MANY_TICKS["confluent-kafka"])
    files.mkdir()
    with Broker(data=tmp_path / "data") as broker:
        for topic in ("ticks", "forecasts", "dead-letters"):
            broker.create_topic(topic)
        broker.create_topic("forecasts-state", config=state_topic.SETTINGS)
        job = Job(broker.bootstrap_servers, "ticks", "forecasts", "dead-letters", bundle, files)
        send(job, messages)
        commit(job, len(messages) - 100)
        patient = {"client": "confluent-kafka", "session_timeout_ms": 60_000}  # or the group gives the partition away
        daemon = start_daemon(job.config(kafka=patient), {FAULT_VARIABLE: "recovery:200:stop"})
        daemon.wait_for_event("fault point reached")
    os.kill(daemon.pid, signal.SIGCONT)
    port = int(job.bootstrap_servers.rpartition(":")[2])
    wait_until(lambda: daemon.get("/readyz")[0] == 503, "not ready")
    with Broker(port=port, data=tmp_path / "data"):
        daemon.wait_for_event("windows rebuilt")
        send(job, stream(100))
        with job.reader:
            job.wait_done()
            assert len(job.forecasts()) == 200
        assert daemon.total("tickcast_ticks_replayed_total") == len(messages) - 100
        assert daemon.stop() == 0
