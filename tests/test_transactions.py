"""Exactly once, over an in-memory Kafka: what readers of committed records see, whatever becomes of a transaction."""

from typing import Any

import msgspec
import pytest
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from tickcast import commit_note, records
from tickcast.clients import Partition
from tickcast.errors import BrokerError, DeliveryError, FencedError, TransactionAbortedError
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

FIRST, SECOND = Partition("ticks", 0), Partition("ticks", 1)
WINDOW = 3
WARMING = WINDOW + 1  # the first tick has none before it, the second none that is sampled
NO_ANSWER = BrokerError("no answer in time")
ABORTED = TransactionAbortedError("the group moved on")


def _cluster(ticks: int, partitions: tuple[Partition, ...] = (FIRST,)) -> MemoryCluster:
    cluster = MemoryCluster()
    for tick in range(ticks):
        for partition in partitions:
            _append(cluster, partition, tick)
    return cluster


def _append(cluster: MemoryCluster, partition: Partition, tick: int) -> None:
    body = {"symbol": f"S{partition.number}", "event_time_ns": 1_700_000_000_000_000_000 + tick, "value": tick * tick}
    cluster.append(partition, msgspec.json.encode(body), key=b"k")


def _line(
    cluster: MemoryCluster, partitions: tuple[Partition, ...] = (FIRST,), acknowledges: bool = True, **kafka: Any
) -> tuple[Line, MemoryClient]:
    client = MemoryClient(cluster, partitions, acknowledges)
    config = config_with(kafka={"delivery": "exactly_once", **kafka})
    return Line(config, client, ToyEngine(WindowRules(window=WINDOW), ("value", "seconds_since_previous"))), client


def _seen(client: MemoryClient) -> dict[tuple[Partition, int], list[float]]:
    """What a reader of committed records finds: source -> forecast. Fails on a source that is there twice."""
    found = {}
    for topic, value, _, headers in client.visible:
        source = records.source_of(headers)
        assert source not in found, "a doubled forecast"
        found[source] = records.decode(value).forecast if topic == "forecasts" and value is not None else []
    return found


def _undisturbed(ticks: int, partitions: tuple[Partition, ...] = (FIRST,)) -> dict[tuple[Partition, int], list[float]]:
    line, client = _line(_cluster(ticks, partitions), partitions)
    line.turn(ticks)
    seen = _seen(client)
    assert len(seen) == (ticks - WARMING) * len(partitions)
    return seen


def test_forecasts_and_the_offsets_they_answer_become_visible_together():
    cluster = _cluster(10)
    line, client = _line(cluster, acknowledges=False)
    line.turn()
    assert (client.visible, cluster.committed[FIRST].offset) == ([], 0)
    client.acknowledge()
    line.turn()
    assert (len(_seen(client)), cluster.committed[FIRST].offset) == (10 - WARMING, 10)


def test_dead_letters_are_in_the_same_transaction():
    cluster = _cluster(2)
    cluster.append(FIRST, b"{", key=b"k")
    line, client = _line(cluster)
    line.turn(0)
    client.commit_answers.append(NO_ANSWER)
    line.turn()
    assert (len(client.sent), client.visible) == (1, [])
    line.turn()
    assert [topic for topic, *_ in client.visible] == ["dead-letters"]


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_an_aborted_transaction_goes_again_with_the_same_bytes_and_is_seen_once(attempts):
    line, client = _line(_cluster(10))
    line.turn(0)
    client.commit_answers.extend([ABORTED] * attempts)
    line.turn(1)
    for tick in range(10, 20):
        _append(client.cluster, FIRST, tick)
    line.turn(attempts + 10)
    assert _seen(client) == _undisturbed(20)
    first, again = client.sent[: 10 - WARMING], client.sent[10 - WARMING : 2 * (10 - WARMING)]
    assert first == again
    assert line.value("tickcast_transactions_total", "aborted") == attempts


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not-committed"])
def test_a_commit_without_an_answer_is_asked_for_again_and_nothing_else_goes_on_meanwhile(committed):
    cluster = _cluster(10)
    line, client = _line(cluster)
    line.turn(0)
    client.commits_unheard = committed
    client.commit_answers.extend([NO_ANSWER] * 3)
    line.turn()
    sent = len(client.sent)
    _append(cluster, FIRST, 10)
    line.turn(2)
    assert (client.paused, len(client.sent)) == ({FIRST}, sent)
    line.turn(5)
    assert _seen(client) == _undisturbed(11)


def test_a_failure_that_sending_again_may_heal_aborts_and_sends_again():
    line, client = _line(_cluster(10), acknowledges=False)
    line.turn()
    client.failing = ABORTED
    client.acknowledge(1)
    line.turn()
    client.failing = None
    client.acknowledge_on_flush()
    line.turn(5)
    assert _seen(client) == _undisturbed(10)


def test_a_record_that_is_finally_not_delivered_ends_the_loop_and_nothing_of_it_is_seen():
    cluster = _cluster(10)
    line, client = _line(cluster, acknowledges=False)
    line.turn()
    client.fail()
    client.acknowledge(1)
    with pytest.raises(DeliveryError):
        line.turn()
    client.close(1.0)
    assert (client.visible, cluster.committed[FIRST].offset) == ([], 0)


def test_a_fenced_process_ends():
    line, client = _line(_cluster(10))
    line.turn(0)
    client.commit_answers.append(FencedError("another one has this name"))
    with pytest.raises(FencedError):
        line.turn()
    assert client.visible == []


def test_what_was_lost_is_not_sent_again_and_what_is_kept_is():
    both = (FIRST, SECOND)
    line, client = _line(_cluster(10, both), both, acknowledges=False)
    line.turn()
    line.ownership.lost([SECOND])
    client.acknowledge_on_flush()
    line.turn(3)
    assert _seen(client) == _undisturbed(10)
    assert SECOND not in {partition for commit in client.cluster.commits[1:] for partition in commit}


def test_what_was_lost_while_the_commit_had_no_answer_counts_if_that_was_committed_and_only_then():
    for unheard in (True, False):
        both = (FIRST, SECOND)
        line, client = _line(_cluster(10, both), both)
        line.turn(0)
        client.commits_unheard = unheard
        client.commit_answers.append(NO_ANSWER)
        line.turn()
        line.ownership.lost([SECOND])
        client.commit_answers.extend([] if unheard else [ABORTED])
        line.turn(4)
        assert _seen(client) == _undisturbed(10, both if unheard else (FIRST,))
        assert client.cluster.committed[SECOND].offset == (10 if unheard else 0)


def test_a_partition_that_comes_back_is_answered_from_its_committed_offset():
    both = (FIRST, SECOND)
    line, client = _line(_cluster(10, both), both, acknowledges=False)
    line.turn()
    line.ownership.lost([SECOND])
    line.ownership.assigned([SECOND])
    client.acknowledge_on_flush()
    line.turn(5)
    assert _seen(client) == _undisturbed(10, both)


def test_partitions_given_back_are_committed_first_in_nobodys_name():
    line, client = _line(_cluster(10))
    line.turn()
    line.ownership.revoked([FIRST])
    committed = client.cluster.committed[FIRST]
    assert (committed.offset, commit_note.parse(committed.metadata).owner) == (10, "")
    assert _seen(client) == _undisturbed(10)


def test_a_transaction_is_ended_when_it_holds_as_much_as_may_be_outstanding():
    line, client = _line(_cluster(30), commit_interval_ms=59_000, outstanding_max=10, poll_records_max=5)
    line.turn(30)
    assert len(client.visible) == 1 + 5 + 5 + 5 + 5  # one ended at 11, one at 10; the last five of 26 wait


def test_a_resend_that_breaks_off_half_way_is_not_committed_as_it_is():
    cluster = _cluster(10)
    line, client = _line(cluster)
    line.turn(0)
    client.commit_answers.append(ABORTED)
    line.turn()
    client.send_answers.extend([None, None, BrokerError("no leader of the output topic is known yet")])
    line.turn(5)
    assert (_seen(client), cluster.committed[FIRST].offset) == (_undisturbed(10), 10)


def test_a_partition_that_came_back_within_the_interval_goes_again_with_the_others_after_an_abort():
    both = (FIRST, SECOND)
    cluster = _cluster(10, both)
    line, client = _line(cluster, both, commit_interval_ms=59_000)
    line.turn()
    line.clock.advance(60)
    line.turn()  # all is committed in our name
    line.ownership.lost([SECOND])
    line.ownership.assigned([SECOND])
    line.turn(3)
    for tick in range(10, 15):
        for partition in both:
            _append(cluster, partition, tick)
    line.turn(2)
    client.commit_answers.append(ABORTED)
    line.clock.advance(60)
    line.turn(4)
    assert (_seen(client), cluster.committed[SECOND].offset) == (_undisturbed(15, both), 15)


@pytest.mark.parametrize("unheard", [False, True], ids=["not-committed", "committed"])
def test_records_in_hand_while_a_transaction_is_being_ended_wait_for_the_next_one(unheard):
    both = (FIRST, SECOND)
    cluster = _cluster(10, both)
    line, client = _line(cluster, both)
    line.turn(3)
    for tick in range(10, 14):
        _append(cluster, FIRST, tick)
    client.revoked_next = [SECOND]
    client.commits_unheard = unheard
    client.commit_answers.extend([NO_ANSWER] * 100)  # until the drain timeout
    line.turn()
    client.commit_answers.clear()
    for _ in range(4):
        line.turn()
        newest = max(offset for partition, offset in _seen(client) if partition == FIRST)
        assert newest < cluster.committed[FIRST].offset
    assert _seen(client) == _undisturbed(14) | {at: f for at, f in _undisturbed(10, both).items() if at[0] == SECOND}


def test_a_partition_that_comes_back_while_its_commit_has_no_answer_waits_for_it():
    both = (FIRST, SECOND)
    line, client = _line(_cluster(10, both), both)
    line.turn(0)
    client.commit_answers.extend([NO_ANSWER] * 2)
    line.turn()
    line.ownership.lost([SECOND])
    line.ownership.assigned([SECOND])
    line.turn(8)
    assert _seen(client) == _undisturbed(10, both)


def test_what_is_given_back_after_a_commit_without_an_answer_is_in_nobodys_name():
    cluster = _cluster(10)
    line, client = _line(cluster)
    line.turn(0)
    client.commit_answers.append(NO_ANSWER)
    line.turn()
    client.close(1.0)
    assert commit_note.parse(cluster.committed[FIRST].metadata).owner == ""


def test_giving_back_keeps_to_the_drain_timeout():
    cluster = _cluster(10)
    line, client = _line(cluster)
    line.turn(0)
    client.commit_answers.extend([NO_ANSWER] * 1_000)
    line.turn()
    began_ns = line.clock.monotonic_ns()
    line.ownership.revoked([FIRST])
    assert line.clock.monotonic_ns() - began_ns <= 10_000_000_000  # the default
    assert not line.ownership.states


def test_the_former_owner_is_fenced_before_its_partition_is_taken_up():
    cluster = _cluster(10)
    former, _ = _line(cluster)
    former.turn(2)  # and dies
    note = commit_note.parse(cluster.committed[FIRST].metadata)
    line, _ = _line(cluster, instance_id="other")
    line.turn(3)
    assert (note.owner, line.fenced) == ("test", ["test"])
    assert commit_note.parse(cluster.committed[FIRST].metadata).owner == "other"


@pytest.mark.parametrize("named", ["test", ""], ids=["ourselves", "nobody"])
def test_nobody_is_fenced_for_what_was_ours_or_given_back(named):
    cluster = _cluster(10)
    line, _ = _line(cluster)
    line.turn(2)
    if named:
        line.ownership.abandon()  # as a crash would
    else:
        line.ownership.revoked([FIRST])
    restarted, _ = _line(cluster, instance_id="test" if named else "other")
    restarted.turn(3)
    assert restarted.fenced == []
    assert restarted.ownership.states
