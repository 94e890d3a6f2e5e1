"""Live state in its topic: what a restart takes from there, what it does not, and what it says of it."""

import msgspec
import pytest
from live_states import INPUTS, TOPIC, Engine, Member, configured, ticks, told, undisturbed
from memory_client import MemoryCluster
from pipelines import models_of
from tickcast.board_reader import BoardReader
from tickcast.errors import BrokerError, OffsetOutOfRangeError
from tickcast.manifest import WindowRules
from tickcast.metrics import STATE_REASONS
from tickcast.state_keeper import RECORDS_AT_ONCE
from tickcast.state_record import VERSION, Key, SymbolRecord, key_of, sealed, symbol_record

RULES = WindowRules(window=4)
TICKS = 300
FIRST = INPUTS[0]
PLACE = TOPIC.place_of(FIRST)


@pytest.fixture
def members():
    """`members(cluster, config, engine)`: a daemon, gone with the test."""
    made: list[Member] = []

    def make(cluster: MemoryCluster, config=None, engine=None, owned=(FIRST,)) -> Member:
        made.append(Member(cluster, config or configured(), engine or Engine(RULES), owned))
        return made[-1]

    yield make
    for each in made:
        each.close()


def records(cluster: MemoryCluster) -> dict[Key, bytes | None]:
    """The newest of each key."""
    found = {key_of(record.key): record.value for record in cluster.topics[PLACE]}
    return {key: value for key, value in found.items() if key is not None}


def anew(member: Member) -> dict[str, float]:
    """Symbols that began anew, by reason."""
    found = {reason: member.line.value("tickcast_state_begun_anew_symbols_total", reason) for reason in STATE_REASONS}
    return {reason: count for reason, count in found.items() if count}


def restored(member: Member) -> float:
    """Symbols that went on, once the member serves its partitions."""
    member.turn()
    while not member.line.ownership.states or len(member.line.ownership.rebuilds):
        member.turn()
    return member.line.value("tickcast_state_restored_symbols_total")


def _append(cluster: MemoryCluster, symbol: str, count: int = 1) -> None:
    for _ in range(count):
        at = cluster.end(FIRST)
        body = {"symbol": symbol, "event_time_ns": 10**15 + at, "bid": 100.0 + at, "ask": 101.0 + at}
        cluster.append(FIRST, msgspec.json.encode(body), key=symbol.encode())


@pytest.fixture
def cluster(members) -> MemoryCluster:
    """Everything is answered, committed and kept."""
    made = ticks(TICKS, seed=1)
    members(made).finish()
    return made


def test_a_takeover_goes_on_with_what_the_former_owner_knew_and_says_so(members, cluster, capsys):
    member = members(cluster)
    assert restored(member) == 3
    assert anew(member) == {}
    assert "live state restored" in capsys.readouterr().out
    _append(cluster, "A", 10)
    wanted, _ = undisturbed(cluster, configured(), Engine(RULES))
    member.finish()
    found = dict(member.forecasts())
    assert len(found) == 10
    assert {source: told(each) for source, each in found.items()} == {source: wanted[source] for source in found}


def _scored(member: Member) -> dict[tuple[str, ...], float]:
    samples = BoardReader(member.line.board.fd).samples()
    return {(each.metric.name, *each.labels): each.values[0] for each in samples if "horizon" in each.metric.labels}


def test_a_restarted_daemon_scores_what_its_former_self_forecast(members):
    cluster = ticks(TICKS, seed=1)
    first = members(cluster)
    first.finish()
    before, same = _scored(first), MemoryCluster()
    same.committed |= cluster.committed
    same.topics |= {partition: list(log) for partition, log in cluster.topics.items()}
    restarted = members(same)
    for each in (first, restarted):
        _append(each.client.cluster, "A", 20)
        each.finish()
        each.knows()  # all is worked off
    gained = {key: value - before[key] for key, value in _scored(first).items() if value != before[key]}
    assert gained["tickcast_forecasts_scored_total", "3"] == 20
    assert gained == pytest.approx({key: value for key, value in _scored(restarted).items() if value})


def test_only_symbols_with_ticks_since_the_last_commit_are_written_by_turns_to_two_keys(members, cluster):
    member = members(cluster)
    member.turn(5)
    for _ in range(3):
        before = cluster.end(PLACE)
        _append(cluster, "A")
        member.turn(3)
        written = [key_of(each.key) for each in cluster.topics[PLACE] if each.offset >= before]
        assert [key.symbol for key in written if key is not None] == ["A", None]
    kept = {
        key.turn: symbol_record(value).as_of for key, value in records(cluster).items() if key.symbol == "A" and value
    }
    assert kept.keys() == {0, 1}
    assert abs(kept[0] - kept[1]) == 1


def test_what_was_written_with_a_commit_that_does_not_count_is_not_used(members, cluster):
    member = members(cluster)
    member.turn(5)
    at = cluster.committed[FIRST].offset
    _append(cluster, "A", 20)
    member.client.plain_commit_answers.append(BrokerError("no answer"))
    member.turn()
    assert cluster.committed[FIRST].offset == at
    assert (
        max(symbol_record(value).as_of for key, value in records(cluster).items() if key.symbol == "A" and value) > at
    )
    wanted, _ = undisturbed(cluster, configured(), Engine(RULES))
    again = members(cluster)
    assert restored(again) == 3
    again.finish()
    found = dict(again.forecasts())
    assert len(found) == 20
    assert {source: told(each) for source, each in found.items()} == {source: wanted[source] for source in found}


def test_a_commit_without_an_answer_is_asked_for_again_before_anything_is_written_anew(members, cluster):
    member = members(cluster)
    member.turn(5)
    _append(cluster, "A")
    member.client.plain_commit_answers.extend([BrokerError("no answer")] * 3)
    member.turn()
    asked_for, written, commits = cluster.end(FIRST), cluster.end(PLACE), len(cluster.commits)
    while len(cluster.commits) == commits:
        assert cluster.end(PLACE) == written
        _append(cluster, "A")
        member.turn()
    assert cluster.commits[commits][FIRST].offset == asked_for
    assert not member.client.plain_commit_answers


def test_a_key_that_was_cleared_is_not_taken_for_what_was_in_it(members, cluster):
    """As where compaction comes while the topic is read: the record is read, the one that took its place is gone."""
    found = {key: symbol_record(value) for key, value in records(cluster).items() if key.symbol == "A" and value}
    newest = max(found, key=lambda key: found[key].as_of)
    cluster.append(PLACE, None, newest.encode())
    cluster.append(PLACE, None, newest._replace(turn=1 - newest.turn).encode())
    member = members(cluster)
    assert restored(member) == 2
    assert anew(member) == {"absent": 1}


def test_compaction_leaves_what_a_restart_needs(members, cluster):
    cluster.compact(PLACE)
    assert restored(members(cluster)) == 3


def test_of_a_symbol_that_is_forgotten_the_topic_keeps_nothing(members):
    cluster = ticks(TICKS, seed=1)
    config = configured(recovery={"max_symbols": 2}, kafka={"poll_records_max": 5})
    member = members(cluster, config)
    member.finish()
    for symbol in ("X", "Y", "Z", "Z"):
        _append(cluster, symbol, 8)
        member.turn(3)
    kept = {key.symbol for key, value in records(cluster).items() if value is not None and key.symbol is not None}
    assert kept == {"Y", "Z"}
    gone = {key.symbol for key, value in records(cluster).items() if value is None}
    assert gone == {"A", "C", "E", "X"}
    again = members(cluster, config)
    assert restored(again) == 2


def test_what_is_left_of_symbols_that_nobody_remembers_is_cleared_after_a_restart(members, cluster):
    left = Key("group", *FIRST, 1, "LEFT")
    cluster.append(PLACE, sealed(SymbolRecord(VERSION, 5, "", "", 5, b"")), left.encode())
    member = members(cluster)
    member.turn(5)
    _append(cluster, "A")
    member.finish()
    found = records(cluster)
    assert found[left] is found[left._replace(turn=0)] is None


def test_records_of_others_in_the_same_partition_are_left_alone(members, cluster):
    others = [
        Key("another group", *FIRST, 0, "A"),
        Key("group", "other-ticks", 0, 0, "A"),
        Key("group", "ticks", 2, 0, "A"),
    ]
    for key in others:
        cluster.append(PLACE, b"theirs", key.encode())
    cluster.append(PLACE, b"whatever", b"no key of ours")
    member = members(cluster)
    assert restored(member) == 3
    assert anew(member) == {}
    _append(cluster, "A")
    member.finish()
    assert {records(cluster)[key] for key in others} == {b"theirs"}


def test_a_damaged_record_is_not_used_and_the_others_are(members, cluster, capsys):
    log = cluster.topics[PLACE]
    newest = max(at for at, each in enumerate(log) if (key := key_of(each.key)) is not None and key.symbol == "C")
    value = log[newest].value
    assert value is not None
    log[newest] = msgspec.structs.replace(log[newest], value=value[:-1] + bytes([value[-1] ^ 1]))
    member = members(cluster)
    assert restored(member) == 2
    assert anew(member) == {"unreadable": 1}
    assert "'unreadable': 1" in capsys.readouterr().out


def test_without_the_record_of_the_partition_nothing_can_be_told(members, cluster):
    log = cluster.topics[PLACE]
    newest = max(at for at, each in enumerate(log) if (key := key_of(each.key)) is not None and key.symbol is None)
    log[newest] = msgspec.structs.replace(log[newest], value=b"damaged")
    member = members(cluster)
    assert restored(member) == 0
    assert anew(member) == {"unreadable": 3}


@pytest.mark.parametrize("by", [-3, 3])
def test_as_of_another_offset_than_the_committed_one_nothing_is_used(members, cluster, by):
    _append(cluster, "A", 5)
    at = cluster.committed[FIRST]
    cluster.committed[FIRST] = at._replace(offset=at.offset + by)
    member = members(cluster)
    assert restored(member) == 0
    assert anew(member) == {"other_offset": 3}


def test_a_symbol_whose_window_ends_with_another_tick_begins_anew(members, cluster):
    found = records(cluster)
    key, value = next((key, value) for key, value in found.items() if key.symbol == "A" and value is not None)
    record = msgspec.structs.replace(symbol_record(value), as_of=cluster.committed[FIRST].offset, newest_row=7)
    cluster.append(PLACE, sealed(record), key.encode())
    member = members(cluster)
    assert restored(member) == 2
    assert anew(member) == {"other_row": 1}


def test_another_bundle_takes_nothing_and_begins_anew(members, cluster):
    member = members(cluster, engine=Engine(RULES, sha256="b" * 64))
    assert restored(member) == 0
    assert anew(member) == {"other_bundle": 3}


@pytest.mark.parametrize(("rules", "reason"), [(RULES, "other_bundle"), (WindowRules(window=5), "other_rules")])
def test_after_a_reload_it_is_the_new_bundle_s_that_is_kept(members, cluster, rules, reason):
    config, new = configured(), Engine(rules, sha256="b" * 64)
    member = members(cluster, config)
    member.turn(5)
    member.line.assembly.swap(models_of(config, new))
    _append(cluster, "A", 10)
    member.finish()
    again = members(cluster, config, new)
    assert restored(again) == 1
    assert anew(again) == {reason: 2}


def test_for_other_rules_everything_begins_anew(members, cluster):
    member = members(cluster, configured(recovery={"replay_records_max": 400_000}))
    assert restored(member) == 0
    assert anew(member) == {"absent": 3}


def test_a_group_that_never_committed_finds_nothing_of_its_own(members, cluster):
    cluster.committed.clear()
    member = members(cluster)
    assert restored(member) == 0
    assert anew(member) == {}


def test_the_cluster_away_while_state_is_read_back_is_waited_for(members, cluster):
    member = members(cluster)
    member.turn()
    readers = member.line.readers
    while not (readers and PLACE in readers[-1]._positions):
        member.turn()
    readers[-1].failures.extend([BrokerError("away"), BrokerError("away")])
    assert restored(member) == 3


def test_where_compaction_took_what_was_to_be_read_next_it_is_read_from_the_start(members, cluster):
    member = members(cluster)
    while not (member.line.readers and PLACE in member.line.readers[-1]._positions):
        member.turn()
    member.line.readers[-1].failures.append(OffsetOutOfRangeError("gone"))
    assert restored(member) == 3


def test_behind_another_member_s_open_transaction_what_is_missing_is_waited_for(members):
    cluster = ticks(TICKS, seed=1)
    exactly_once = configured(exactly_once=True)
    members(cluster, exactly_once).finish()
    log = cluster.topics[PLACE]
    hidden = [log.pop() for _ in range(2)]
    member = members(cluster, exactly_once)
    member.turn(1)
    assert len(member.line.ownership.rebuilds) == 1
    log += reversed(hidden)
    assert restored(member) == 3


def test_records_of_live_state_keep_to_the_bounds_of_the_producer(members):
    cluster = ticks(60, seed=3, symbols="ABCDEFGHIJ", silence_share=0)
    member = members(cluster, configured(kafka={"outstanding_max": 1, "commit_interval_ms": 3_600_000}))
    member.turn(30)
    member.client._acknowledges = False
    member.client.cluster.commits.clear()
    member.line.commits._due_ns = 0
    member.turn()
    assert member.line.deliveries.outstanding <= 1 + RECORDS_AT_ONCE


def test_without_a_topic_nothing_is_written_and_everything_begins_anew(members):
    cluster = ticks(TICKS, seed=1)
    member = Member(cluster, configured(), Engine(RULES), (FIRST,), topic=None)
    member.finish()
    assert not [each for each in cluster.topics if each.topic == TOPIC.name and cluster.topics[each]]
    assert member.line.value("tickcast_state_records_total") == 0
    member.close()


def test_what_is_written_is_counted(members):
    cluster = ticks(TICKS, seed=1)
    member = members(cluster)
    member.finish()
    written = cluster.topics[PLACE]
    assert member.line.value("tickcast_state_records_total") == len(written)
    size = sum(len(each.key or b"") + len(each.value or b"") for each in written)
    assert member.line.value("tickcast_state_bytes_total") == size
