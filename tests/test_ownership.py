"""Partitions that go and come back: what is committed for them, and what is counted."""

from collections.abc import Callable, Iterator

import msgspec
import pytest
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, models_of
from tickcast.clients import Committed, Partition
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
TICKS = 20


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    for tick in range(TICKS):
        cluster.append(INPUT, msgspec.json.encode({"symbol": "A", "event_time_ns": tick, "value": tick}))
    return cluster


@pytest.fixture
def started(cluster: MemoryCluster) -> Iterator[Callable[[bool], Line]]:
    """`started(acknowledges)` is a line over the cluster; closed after the test."""
    lines: list[Line] = []

    def start(acknowledges: bool) -> Line:
        client = MemoryClient(cluster, [INPUT], acknowledges)
        config = config_with(kafka={"poll_records_max": 10})
        lines.append(Line(config, client, ToyEngine(WindowRules(window=2), ("value",))))
        return lines[-1]

    yield start
    for line in lines:
        line.close()


def test_a_partition_that_comes_back_is_not_committed_as_it_stood_before(cluster, started):
    line = started(False)
    line.turn()  # ten ticks answered, a checkpoint waits for their acknowledgement
    line.ownership.revoked([INPUT])
    further = Committed(15, "")  # by whoever had it meanwhile
    cluster.committed[INPUT] = further
    line.ownership.assigned([INPUT])
    line.client.acknowledge()
    line.ownership.advance()
    assert cluster.committed[INPUT].offset == further.offset


def test_what_is_acknowledged_while_partitions_are_given_back_is_counted(started):
    line = started(False)
    line.turn()
    line.client.acknowledge_on_flush()
    line.ownership.revoked([INPUT])
    assert line.client.sent
    assert line.value("tickcast_records_acknowledged_total") == len(line.client.sent)


def test_no_commit_goes_back_when_windows_are_read_again(cluster, started):
    line = started(False)
    line.turn(2)  # a checkpoint of the first half waits for its acknowledgement
    line.client.acknowledge_on_flush()
    line.assembly.swap(models_of(line.config, ToyEngine(WindowRules(window=3), ("value",))))
    line.turn(3)
    offsets = [commit[INPUT].offset for commit in cluster.commits]
    assert offsets == sorted(offsets)
    assert offsets[-1] == TICKS
