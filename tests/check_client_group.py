"""What every Kafka client must do with offsets and in a group. Run by `check_client`."""

import kafka
import pytest
from client_bench import ANSWER_TIMEOUT_S, Bench, publish, transaction, until
from kafka.admin import MemberToRemove
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition
from tickcast.clients import Committed, OffsetRange, Partition
from tickcast.errors import BrokerError, OffsetOutOfRangeError, OwnershipLostError

# -- offsets


def check_committed_offset_and_metadata_come_back(bench: Bench) -> None:
    topic = bench.topic(partitions=3)
    first, second, untouched = (Partition(topic, number) for number in range(3))
    member = bench.joined(topic)
    note = "v=1 replay_from=123 " + "ä" * 90
    assert len(note.encode()) == 200
    member.client.commit({first: Committed(7, note), second: Committed(0, "")}, ANSWER_TIMEOUT_S)
    expected = {first: Committed(7, note), second: Committed(0, ""), untouched: None}
    assert member.client.committed([first, second, untouched], ANSWER_TIMEOUT_S) == expected
    assert bench.client().committed([first, second, untouched], ANSWER_TIMEOUT_S) == expected


def check_committed_does_not_wait_for_ever_for_an_open_transaction(bench: Bench) -> None:
    partition = Partition(bench.topic(), 0)
    client = bench.client()
    with transaction(bench) as producer:
        producer.send_offsets_to_transaction(
            {TopicPartition(*partition): OffsetAndMetadata(5, "note\0", -1)}, ConsumerGroupMetadata(bench.group)
        )
        with pytest.raises(BrokerError, match=f"{partition.topic}/0"):
            client.committed([partition], 0.3)
        producer.commit_transaction()
    assert client.committed([partition], ANSWER_TIMEOUT_S) == {partition: Committed(5, "note")}


def check_committed_of_many_partitions_comes_in_one_answer(bench: Bench) -> None:
    topic = bench.topic(partitions=50)
    everything = [Partition(topic, number) for number in range(50)]
    member = bench.joined(topic)
    expected = {partition: Committed(partition.number, f"note {partition.number}") for partition in everything}
    member.client.commit(expected, ANSWER_TIMEOUT_S)
    assert bench.client().committed(everything, ANSWER_TIMEOUT_S) == expected
    assert member.client.committed([], ANSWER_TIMEOUT_S) == {}


def check_end_offsets_are_the_ends_of_the_ranges(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    partitions = [Partition(topic, 0), Partition(topic, 1)]
    client = bench.client()
    for number in range(20):
        publish(client, topic, b"", key=b"%d" % number)
    with transaction(bench) as producer:
        producer.send(topic, b"open", partition=0).get(timeout=ANSWER_TIMEOUT_S)
        held = client.offset_range(partitions, ANSWER_TIMEOUT_S)
        ends = client.end_offsets(partitions, ANSWER_TIMEOUT_S)
        producer.abort_transaction()
    assert ends == {partition: held[partition].end for partition in partitions}
    assert sum(ends.values()) == 20, "nothing of an open transaction"
    assert client.end_offsets([], ANSWER_TIMEOUT_S) == {}


def check_offset_range_ends_before_an_open_transaction(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    client = bench.client()
    publish(client, topic, b"one", b"two")
    with transaction(bench) as producer:
        producer.send(topic, b"open").get(timeout=ANSWER_TIMEOUT_S)
        assert client.offset_range([partition], ANSWER_TIMEOUT_S) == {partition: OffsetRange(0, 2)}
        producer.commit_transaction()
    committed = {partition: OffsetRange(0, 4)}  # with the marker, which the broker writes after it has answered
    until(lambda: client.offset_range([partition], ANSWER_TIMEOUT_S) == committed)


def check_records_of_an_aborted_transaction_stay_invisible(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, b"before")
    with transaction(bench) as producer:
        producer.send(topic, b"aborted").get(timeout=ANSWER_TIMEOUT_S)
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send(topic, b"committed").get(timeout=ANSWER_TIMEOUT_S)
        producer.commit_transaction()
    publish(member.client, topic, b"after")
    until(lambda: member.records and member.records[-1].value == b"after", member)
    assert [record.value for record in member.records] == [b"before", b"committed", b"after"]


def check_offsets_for_time(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    client = bench.client()
    producer = kafka.KafkaProducer(bootstrap_servers=bench.broker.bootstrap_servers)
    for timestamp_ms in (1_000, 2_000, 3_000):
        producer.send(topic, b"", partition=0, timestamp_ms=timestamp_ms).get(timeout=ANSWER_TIMEOUT_S)
    producer.close()
    both = [Partition(topic, 0), Partition(topic, 1)]
    assert client.offsets_for_time(both, 1_500, ANSWER_TIMEOUT_S) == {both[0]: 1, both[1]: None}
    assert client.offsets_for_time(both, 3_001, ANSWER_TIMEOUT_S) == {both[0]: None, both[1]: None}


def check_partitions_of_a_topic(bench: Bench) -> None:
    client = bench.client()
    assert client.partitions_of(bench.topic(partitions=3), ANSWER_TIMEOUT_S) == {0, 1, 2}
    assert client.partitions_of("no-such-topic", ANSWER_TIMEOUT_S) == frozenset()
    assert "no-such-topic" not in bench.broker.topics()


def check_position_deleted_by_retention_is_an_error_that_names_it(bench: Bench) -> None:
    topic = bench.topic()
    member = bench.joined(topic)
    publish(member.client, topic, *(b"%d" % number for number in range(10)))
    with bench.broker.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 6})
    member.client.seek(Partition(topic, 0), 2)
    with pytest.raises(OffsetOutOfRangeError, match=f"{topic}/0 holds offsets 6 to 10, not 2"):
        until(lambda: False, member)
    assert not [record for record in member.records if record.offset >= 6]
    member.client.seek(Partition(topic, 0), 6)
    until(lambda: member.records and member.records[-1].offset == 9, member)


# -- the group


def check_second_member_takes_over_half_where_the_first_stopped(bench: Bench) -> None:
    topic = bench.topic(partitions=4)
    everything = {Partition(topic, number) for number in range(4)}
    first = bench.joined(topic)
    assert first.client.assignment() == everything
    for number in range(40):
        publish(first.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: len(first.records) == 40, first)

    second = bench.member(topic)
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 2, first, second)
    assert first.client.assignment() | second.client.assignment() == everything
    (moved,) = (partitions for what, partitions in first.events if what == "revoked")
    assert moved == second.client.assignment()
    assert first.events[0] == ("assigned", frozenset(everything))
    assert [what for what, _ in second.events] == ["assigned"]
    for number in range(40, 80):
        publish(first.client, topic, b"%d" % number, key=b"%d" % number)
    until(lambda: len(first.records) + len(second.records) >= 80, first, second)
    values = sorted(int(record.value or b"") for record in first.records + second.records)
    assert values == list(range(80))  # what was committed while being revoked counted: nothing twice, nothing missing

    bench.close(second.client)
    assert second.events[-1] == ("revoked", moved)


def check_commit_of_what_was_given_away_is_refused(bench: Bench) -> None:
    topic = bench.topic(partitions=2)
    first = bench.joined(topic)
    second = bench.member(topic)
    until(lambda: len(first.client.assignment()) == len(second.client.assignment()) == 1, first, second)
    (gone,) = second.client.assignment()
    with pytest.raises(OwnershipLostError, match=f"{gone.topic}/{gone.number}"):
        first.client.commit({gone: Committed(1, "")}, ANSWER_TIMEOUT_S)
    assert second.client.committed([gone], ANSWER_TIMEOUT_S)[gone] != Committed(1, "")


def check_member_that_was_removed_loses_its_partitions(bench: Bench) -> None:
    topic = bench.topic()
    partition = Partition(topic, 0)
    member = bench.joined(topic, instance_id="removed")
    publish(member.client, topic, b"one")
    until(lambda: member.records, member)
    with bench.broker.admin() as admin:
        admin.remove_group_members(bench.group, [MemberToRemove(group_instance_id="removed")])
    with pytest.raises(OwnershipLostError):
        member.client.commit({partition: Committed(1, "")}, ANSWER_TIMEOUT_S)
    until(lambda: [what for what, _ in member.events] == ["assigned", "lost", "assigned"], member)
    assert member.client.committed([partition], ANSWER_TIMEOUT_S) == {partition: None}
    until(lambda: len(member.records) == 2, member)  # nothing was committed: read again


def check_second_process_under_the_same_name_fences_the_first(bench: Bench) -> None:
    topic = bench.topic()
    first = bench.joined(topic, instance_id="same")
    second = bench.joined(topic, instance_id="same")
    with pytest.raises(OwnershipLostError):
        first.client.commit({Partition(topic, 0): Committed(1, "")}, ANSWER_TIMEOUT_S)
    with pytest.raises(BrokerError, match="same"):
        until(lambda: False, first)
    second.commit([Partition(topic, 0)])


def check_restarted_member_gets_its_partitions_back_alone(bench: Bench) -> None:
    topic = bench.topic(partitions=4)
    stays = bench.joined(topic, instance_id="stays")
    goes = bench.member(topic, instance_id="goes")
    until(lambda: len(stays.client.assignment()) == len(goes.client.assignment()) == 2, stays, goes)
    until(lambda: not stays.poll(), stays, goes)
    owned, heard = goes.client.assignment(), len(stays.events)
    bench.close(goes.client)
    again = bench.member(topic, instance_id="goes")
    until(lambda: again.client.assignment(), stays, again)
    assert again.client.assignment() == owned
    assert len(stays.events) == heard
