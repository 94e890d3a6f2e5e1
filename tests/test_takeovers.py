"""Taking partitions up: a dead owner is fenced once and in time, whatever becomes of the fence."""

import threading
from collections.abc import Iterator

import msgspec
import pytest
from daemons import wait_until
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from tickcast import commit_note
from tickcast.clients import Committed, Partition
from tickcast.errors import BrokerError, OwnershipLostError, RefusedError
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
OWNER = "other"


class Fences:
    """What `fence` was asked, and what it answers: nothing, an error, or not yet."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: list[BrokerError] = []
        self.open = threading.Event()
        self.open.set()
        self.ended = 0

    def __call__(self, owner: str) -> None:
        self.asked.append(owner)
        self.open.wait(10.0)
        self.ended += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def fences() -> Iterator[Fences]:
    fences = Fences()
    yield fences
    fences.open.set()


@pytest.fixture
def cluster() -> MemoryCluster:
    """Ticks, the first of which another member has answered and committed in its name."""
    cluster = MemoryCluster()
    for tick in range(10):
        cluster.append(INPUT, msgspec.json.encode({"symbol": "A", "event_time_ns": tick, "value": tick}))
    cluster.committed[INPUT] = Committed(5, commit_note.CommitNote(0, 2, "0" * 16, OWNER).text())
    return cluster


@pytest.fixture
def client(cluster: MemoryCluster) -> MemoryClient:
    return MemoryClient(cluster, [INPUT])


@pytest.fixture
def line(client: MemoryClient, fences: Fences) -> Iterator[Line]:
    config = config_with(kafka={"delivery": "exactly_once"})
    line = Line(config, client, ToyEngine(WindowRules(window=2), ("value",)), fence=fences)
    yield line
    line.close()


def take_up(line: Line, fences: Fences, ended: int = 1) -> None:
    """Turn until so many fences have ended and the loop has looked again."""
    line.turn()
    wait_until(lambda: fences.ended >= ended, "the fence ends")
    line.turn(3)


def test_while_a_fence_takes_its_time_nothing_is_taken_up_and_the_cluster_is_not_asked_in_every_turn(
    line: Line, client: MemoryClient, fences: Fences, monkeypatch: pytest.MonkeyPatch
) -> None:
    fences.open.clear()
    asked = []
    real = client.last_committed
    monkeypatch.setattr(client, "last_committed", lambda *of: (asked.append(of), real(*of))[1])
    for _ in range(100):  # no time passes
        line.pipeline.turn()
    assert not line.ownership.states
    assert len(asked) < 5
    fences.open.set()
    take_up(line, fences)
    assert INPUT in line.ownership.states


def test_an_owner_whose_release_is_not_written_yet_is_not_fenced(
    line: Line, client: MemoryClient, cluster: MemoryCluster, fences: Fences, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = dict(cluster.committed)
    cluster.committed[INPUT] = Committed(5, commit_note.CommitNote(0, 2, "0" * 16, "").text())
    monkeypatch.setattr(client, "last_committed", lambda partitions, timeout_s: stale)
    line.turn(3)
    assert fences.asked == []
    assert INPUT in line.ownership.states


def test_a_fence_that_may_heal_is_tried_again(line: Line, fences: Fences) -> None:
    fences.errors = [BrokerError("no answer")]
    take_up(line, fences)
    assert len(fences.asked) == 2
    assert INPUT in line.ownership.states


def test_a_fence_that_is_refused_ends_the_process(line: Line, fences: Fences) -> None:
    fences.errors = [RefusedError("not authorised for that transactional id")]
    with pytest.raises(RefusedError):
        take_up(line, fences)
    assert len(fences.asked) == 1


def test_an_owner_fenced_once_is_fenced_again_in_its_next_life(line: Line, fences: Fences) -> None:
    fences.open.clear()
    line.turn()
    line.ownership.lost([INPUT])  # before the fence has ended
    fences.open.set()
    wait_until(lambda: fences.ended == 1, "the fence ends")
    line.clock.advance(3_600)
    line.ownership.assigned([INPUT])
    take_up(line, fences, ended=2)
    assert fences.asked == [OWNER] * 2
    assert INPUT in line.ownership.states


def test_a_partition_that_goes_while_it_is_taken_up_costs_nothing(
    line: Line, client: MemoryClient, fences: Fences, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(partition: Partition, offset: int) -> None:
        raise OwnershipLostError(f"{partition} is not ours at {offset}")

    monkeypatch.setattr(client, "seek", gone)
    take_up(line, fences)
    assert not line.ownership.states
