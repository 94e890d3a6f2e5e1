"""Windows rebuilt beside partitions that are served: who waits for whom, and topics that lose what is read back."""

from collections.abc import Iterator

import msgspec
import pytest
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from structlog.testing import capture_logs
from tickcast import records
from tickcast.clients import Committed, Partition
from tickcast.errors import BrokerError, OffsetOutOfRangeError, RefusedError
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

REBUILT, SERVED = Partition("ticks", 0), Partition("ticks", 1)
COMMITTED = 100
SLICE = 8
FILLING = 4  # ticks until a window of three rows is full


def _tick(cluster: MemoryCluster, partition: Partition, skip: int = 0) -> int:
    """Write a tick; its offset."""
    at = cluster.end(partition) + skip
    body = {"symbol": f"S{partition.number}", "event_time_ns": at, "value": at % 7}
    cluster.append(partition, msgspec.json.encode(body), skip=skip)
    return at


@pytest.fixture
def cluster() -> MemoryCluster:
    """A partition whose ticks are all answered, and one whose next tick will be the first that is."""
    cluster = MemoryCluster()
    for _ in range(COMMITTED):
        _tick(cluster, REBUILT)
    for _ in range(FILLING):
        _tick(cluster, SERVED)
    cluster.committed[REBUILT] = Committed(COMMITTED, "")
    return cluster


@pytest.fixture
def line(cluster: MemoryCluster) -> Iterator[Line]:
    line = _line(cluster)
    yield line
    line.close()


def _line(cluster: MemoryCluster, *partitions: Partition, acknowledges: bool = True, **kafka: object) -> Line:
    client = MemoryClient(cluster, partitions or (REBUILT, SERVED), acknowledges)
    config = config_with(kafka={"poll_records_max": SLICE, **kafka})
    return Line(config, client, ToyEngine(WindowRules(window=3), ("value",)))


def _answered(line: Line) -> list[tuple[int, int]]:
    """Partition and offset of each forecast, in the order they were sent."""
    sent = [records.decode(value) for topic, value, _, _ in line.client.sent if topic == "forecasts" and value]
    return [(forecast.partition, forecast.offset) for forecast in sent]


def _offsets(line: Line, partition: Partition) -> list[int]:
    return [offset for number, offset in _answered(line) if number == partition.number]


def _until_rebuilt(line: Line) -> int:
    """Turns until nothing is under rebuild."""
    for turn in range(1, COMMITTED):
        line.turn()
        if not len(line.ownership.rebuilds):
            return turn
    raise AssertionError("still rebuilding")


def test_ticks_of_a_partition_that_is_served_are_answered_between_two_slices(cluster: MemoryCluster, line: Line):
    line.turn()
    for _ in range(5):
        at = _tick(cluster, SERVED)
        line.turn()
        assert _answered(line)[-1] == (SERVED.number, at)
        assert line.ownership.states[REBUILT].rebuilding
    _until_rebuilt(line)
    assert line.value("tickcast_ticks_replayed_total", "ticks") == COMMITTED


def test_ticks_of_the_partition_itself_wait_until_its_windows_stand(cluster: MemoryCluster, line: Line):
    line.turn()
    new = [_tick(cluster, REBUILT) for _ in range(3)]  # the topic grows meanwhile
    assert _until_rebuilt(line) > 1
    line.turn()
    assert _offsets(line, REBUILT) == new
    assert _tick(cluster, REBUILT) == line.ownership.states[REBUILT].position


def test_no_commit_made_meanwhile_is_below_what_was_committed(cluster: MemoryCluster, line: Line):
    line.turn()
    while len(line.ownership.rebuilds):
        _tick(cluster, SERVED)
        line.turn()
    line.client.close(1.0)
    offsets = [commit[REBUILT].offset for commit in cluster.commits if REBUILT in commit]
    assert offsets
    assert min(offsets) == COMMITTED


def test_given_back_half_rebuilt_it_is_committed_where_it_was(cluster: MemoryCluster, line: Line):
    line.turn(2)
    line.ownership.revoked([REBUILT])
    assert cluster.committed[REBUILT].offset == COMMITTED
    assert not len(line.ownership.rebuilds)
    assert line.readers[-1].closed


def test_lost_half_rebuilt_it_is_read_no_more_and_others_are_rebuilt_on(cluster: MemoryCluster):
    cluster.committed[SERVED] = Committed(FILLING, "")
    line = _line(cluster, poll_records_max=1)
    line.turn(2)
    line.ownership.lost([SERVED])
    assert list(line.ownership.rebuilds) == [REBUILT]
    assert not line.readers[-1].closed
    line.ownership.lost([REBUILT])
    assert line.readers[-1].closed
    line.turn()
    assert line.value("tickcast_ticks_replayed_total", "ticks") < COMMITTED
    line.close()


def test_a_reader_is_opened_for_a_rebuild_and_closed_after_it(cluster: MemoryCluster, line: Line):
    line.turn()
    assert [reader.closed for reader in line.readers] == [False]
    _until_rebuilt(line)
    assert [reader.closed for reader in line.readers] == [True]


def test_without_anything_to_rebuild_no_reader_is_opened(cluster: MemoryCluster):
    line = _line(cluster, SERVED)
    line.turn(2)
    assert not line.readers
    assert len(_answered(line)) == 0
    line.close()


def test_back_pressure_stops_neither_the_rebuild_nor_is_it_undone_by_it(cluster: MemoryCluster):
    line = _line(cluster, acknowledges=False, outstanding_max=4, poll_records_max=8)
    for _ in range(20):
        _tick(cluster, SERVED)
    line.turn(3)
    assert line.client.paused == {REBUILT, SERVED}
    before = line.ownership.states[REBUILT].position
    line.turn()
    assert line.ownership.states[REBUILT].position == before + SLICE
    line.client.acknowledge()
    line.turn()
    assert line.client.paused == {REBUILT}
    line.client.acknowledge_on_flush()
    line.client.acknowledge()
    _until_rebuilt(line)
    assert not line.client.paused
    line.close()


def test_windows_that_stand_while_back_pressure_lasts_are_not_read_on(cluster: MemoryCluster):
    line = _line(cluster, acknowledges=False, outstanding_max=2, poll_records_max=64)
    for _ in range(20):
        _tick(cluster, SERVED)
        _tick(cluster, REBUILT)
    line.turn(5)
    assert not line.ownership.states[REBUILT].rebuilding
    assert line.client.paused == {REBUILT, SERVED}
    assert {number for number, _ in _answered(line)} == {SERVED.number}
    line.client.acknowledge_on_flush()
    line.client.acknowledge()
    _until_rebuilt(line)
    assert _offsets(line, REBUILT) == list(range(COMMITTED, COMMITTED + 20))
    assert not line.client.paused
    line.close()


# -- what came meanwhile


def test_a_backlog_is_answered_in_slices_beside_the_ticks_of_others(cluster: MemoryCluster):
    line = _line(cluster)
    backlog = [_tick(cluster, REBUILT) for _ in range(5 * SLICE)]
    line.turn()
    while line.ownership.states[REBUILT].rebuilding:
        line.turn()
    for answered in range(5):
        assert _offsets(line, REBUILT) == backlog[: answered * SLICE]
        at = _tick(cluster, SERVED)
        line.turn()
        assert (SERVED.number, at) in _answered(line)
    later = _tick(cluster, REBUILT)  # the consumer's to read
    assert line.client.paused == set()
    line.turn(2)
    assert _offsets(line, REBUILT) == [*backlog, later]
    assert cluster.committed[REBUILT].offset == later + 1
    line.close()


def test_a_backlog_is_left_to_the_consumer_where_no_other_partition_is_served(cluster: MemoryCluster):
    line = _line(cluster, REBUILT)
    backlog = [_tick(cluster, REBUILT) for _ in range(5 * SLICE)]
    _until_rebuilt(line)
    assert not line.client.paused
    assert not _answered(line)
    line.turn(6)
    assert _offsets(line, REBUILT) == backlog
    line.close()


def test_others_that_go_in_the_middle_of_a_backlog_leave_the_rest_to_the_consumer(cluster: MemoryCluster):
    line = _line(cluster)
    backlog = [_tick(cluster, REBUILT) for _ in range(5 * SLICE)]
    line.turn(2)
    while len(_offsets(line, REBUILT)) < 2 * SLICE:
        line.turn()
    line.ownership.lost([SERVED])
    line.turn()
    assert not len(line.ownership.rebuilds)
    line.turn(5)
    assert _offsets(line, REBUILT) == backlog
    line.close()


def test_given_back_in_the_middle_of_a_backlog_what_is_answered_is_committed(cluster: MemoryCluster):
    line = _line(cluster, commit_interval_ms=3_600_000)
    for _ in range(5 * SLICE):
        _tick(cluster, REBUILT)
    line.turn(2)
    while len(_offsets(line, REBUILT)) < 2 * SLICE:
        line.turn()
    line.ownership.revoked([REBUILT])
    assert cluster.committed[REBUILT].offset == COMMITTED + len(_offsets(line, REBUILT))
    line.close()


def test_a_backlog_that_the_topic_loses_is_gone_on_from_what_is_kept(cluster: MemoryCluster):
    line = _line(cluster)
    backlog = [_tick(cluster, REBUILT) for _ in range(5 * SLICE)]
    line.turn(2)
    while len(_offsets(line, REBUILT)) < SLICE:
        line.turn()
    kept_from = backlog[3 * SLICE]
    cluster.topics[REBUILT] = [record for record in cluster.topics[REBUILT] if record.offset >= kept_from]
    line.readers[-1].failures.append(OffsetOutOfRangeError("the test says so"))
    line.turn(8)
    assert line.value("tickcast_recoveries_total", "truncated") == 1
    assert _offsets(line, REBUILT) == [*backlog[:SLICE], *backlog[3 * SLICE + FILLING :]]
    line.close()


@pytest.mark.parametrize("kept_from", [50, COMMITTED + 2])
def test_a_topic_that_loses_what_is_being_read_back_goes_on_at_the_first_offset_kept(cluster: MemoryCluster, kept_from):
    new = [_tick(cluster, REBUILT) for _ in range(8)]
    line = _line(cluster)
    line.turn(2)
    cluster.topics[REBUILT] = [record for record in cluster.topics[REBUILT] if record.offset >= kept_from]
    line.readers[-1].failures.append(OffsetOutOfRangeError("the test says so"))
    with capture_logs() as logged:
        line.turn(2)
    taken_up = next(each for each in logged if each["event"] == "partition taken up")
    assert (taken_up["recovery"], taken_up["replay_from"]) == ("truncated", kept_from)
    assert line.value("tickcast_recoveries_total", "truncated") == 1
    line.turn(COMMITTED // SLICE + 3)
    assert _offsets(line, REBUILT) == (new if kept_from < COMMITTED else new[2 + FILLING :])
    assert not line.client.paused
    line.close()


def test_a_topic_cut_short_behind_what_was_committed_goes_on_at_its_end(cluster: MemoryCluster, line: Line):
    line.turn(2)
    cluster.topics[REBUILT] = cluster.topics[REBUILT][:40]
    line.readers[-1].failures.append(OffsetOutOfRangeError("the test says so"))
    line.turn(2)
    assert line.value("tickcast_recoveries_total", "truncated") == 1
    _until_rebuilt(line)
    at = _tick(cluster, REBUILT)
    line.turn(2)
    assert _answered(line)[-1] == (REBUILT.number, at) == (REBUILT.number, 40)


def test_what_the_topic_holds_is_asked_again_where_it_is_not_known(cluster: MemoryCluster, line: Line, monkeypatch):
    line.turn(2)
    line.readers[-1].failures.append(OffsetOutOfRangeError("the test says so"))
    asked = []

    def no_answer(partitions, timeout_s):
        asked.append(set(partitions))
        raise BrokerError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(line.client, "offset_range", no_answer)
        line.turn(3)
    assert {REBUILT} in asked
    _until_rebuilt(line)
    assert line.value("tickcast_ticks_replayed_total", "ticks") > COMMITTED  # from the beginning


def test_a_reader_that_fails_is_asked_again_after_a_while(cluster: MemoryCluster, line: Line):
    line.turn()
    line.readers[-1].failures.append(BrokerError("no answer"))
    before = line.ownership.states[REBUILT].position
    with capture_logs() as logged:
        line.pipeline.turn()
    assert "no answer" in next(each["error"] for each in logged if each["event"] == "not read back yet")
    at = _tick(cluster, SERVED)
    line.pipeline.turn()  # the clock stands still
    assert _answered(line)[-1] == (SERVED.number, at)
    assert line.ownership.states[REBUILT].position == before
    line.clock.advance(1.0)
    _until_rebuilt(line)


def test_a_reader_that_is_refused_ends_the_loop(cluster: MemoryCluster, line: Line):
    line.turn()
    line.readers[-1].failures.append(RefusedError("not authorised"))
    with pytest.raises(RefusedError):
        line.turn()
    assert cluster.committed[REBUILT].offset == COMMITTED


@pytest.mark.parametrize("left", [range(60, 90, 7), range(0)])
def test_a_topic_that_was_compacted_up_to_what_is_next_is_rebuilt_from_what_is_left(left):
    cluster = MemoryCluster()
    for at in left:
        _tick(cluster, REBUILT, skip=at - cluster.end(REBUILT))
    new = [_tick(cluster, REBUILT, skip=COMMITTED + 20 - cluster.end(REBUILT))]  # the next one is compacted away, too
    new += [_tick(cluster, REBUILT) for _ in range(4)]
    cluster.committed[REBUILT] = Committed(COMMITTED, "")
    line = _line(cluster, REBUILT)
    line.turn(6)
    assert line.value("tickcast_ticks_replayed_total", "ticks") == len(left)
    answered = [offset for _, offset in _answered(line)]
    assert answered == (new if left else new[FILLING:])
    line.close()
