"""The benches' Kafka in memory: ticks at their times, whatever the loop was doing."""

import numpy as np
import pytest
from manual_clock import ManualClock
from tickcast import records
from tickcast.bench_client import DEAD_LETTER_TOPIC, OUTPUT_TOPIC, PARTITION, BenchClient
from tickcast.bench_load import Fill, Message
from tickcast.clients import OffsetRange, Record

MS_NS = 1_000_000
FILL_TICKS = 3


class Listener:
    """Takes up its partition where the group does, as the pipeline would."""

    def __init__(self, client: BenchClient) -> None:
        self._client = client

    def assigned(self, partitions):
        self._client.resume(partitions)

    def revoked(self, partitions):
        """Nothing is kept."""

    lost = revoked


def _message(number: int) -> Message:
    return Message(b"A", b"%d" % number, number)


def _client(clock: ManualClock) -> BenchClient:
    """One whose fill was read back."""
    fill = Fill(FILL_TICKS, iter([_message(number) for number in range(FILL_TICKS)]))
    client = BenchClient(clock, fill, spin_ns=0)
    client.subscribe(["ticks"], Listener(client))
    assert client.poll(0.1, 100) == []
    assert [record.offset for record in client.open_reader().poll(0.0, 100)] == [0, 1, 2]
    assert client.filled
    return client


def _schedule(client: BenchClient, clock: ManualClock, *due_ms: int) -> int:
    """Ticks due so many milliseconds from now; when that is."""
    now_ns = clock.monotonic_ns()
    client.schedule([_message(n) for n in range(len(due_ms))], np.array(due_ms, np.int64) * MS_NS + now_ns)
    return now_ns


def _answer(client: BenchClient, record: Record, path: str = "window") -> None:
    forecast = records.Forecast(
        1, "A", "ticks", 0, record.offset, 0, 0, 0, 0, (1,), [0.0], "price", None, 0,
        records.BundleName("m", "1", ""), path, (),
    )  # fmt: skip
    client.send(OUTPUT_TOPIC, records.encode(forecast), b"A", [], lambda error: None)


def test_the_fill_lies_before_where_the_group_starts():
    client = BenchClient(ManualClock(), Fill(FILL_TICKS, iter([])))
    assert client.offset_range([PARTITION], 1.0) == {PARTITION: OffsetRange(0, FILL_TICKS)}
    assert client.committed([PARTITION], 1.0) == {PARTITION: None}


def test_a_fill_that_would_not_be_read_back_whole_is_refused():
    client = BenchClient(ManualClock(), Fill(FILL_TICKS, iter([])))
    client.seek(PARTITION, FILL_TICKS)
    with pytest.raises(ValueError, match="replay_records_max"):
        client.open_reader().assign(PARTITION, 1)


def test_a_poll_waits_for_the_next_tick_and_gives_all_that_are_due_by_then():
    clock = ManualClock()
    client = _client(clock)
    start_ns = _schedule(client, clock, 5, 5, 7)
    assert [record.offset for record in client.poll(0.1, 100)] == [3, 4]
    assert clock.monotonic_ns() == start_ns + 5 * MS_NS
    assert [record.offset for record in client.poll(0.1, 100)] == [5]
    assert client.exhausted


def test_a_poll_with_nothing_due_comes_back_after_its_timeout():
    clock = ManualClock()
    client = _client(clock)
    start_ns = _schedule(client, clock, 500)
    assert client.poll(0.1, 100) == []
    assert clock.monotonic_ns() == start_ns + 100 * MS_NS
    assert not client.exhausted


def test_a_poll_without_timeout_does_not_wait_at_all():
    clock = ManualClock()
    client = _client(clock)
    start_ns = _schedule(client, clock, 5)
    assert client.poll(0.0, 100) == []
    assert clock.monotonic_ns() == start_ns


def test_a_poll_gives_at_most_as_many_as_asked_for():
    clock = ManualClock()
    client = _client(clock)
    _schedule(client, clock, 0, 0, 0)
    assert len(client.poll(0.1, 2)) == 2
    assert len(client.poll(0.1, 2)) == 1


def test_a_loop_that_stalls_makes_every_tick_late_that_came_meanwhile():
    clock = ManualClock()
    client = _client(clock)
    start_ns = _schedule(client, clock, 0, 1, 2, 3, 20)
    (first,) = client.poll(0.1, 100)
    clock.advance(0.010)  # the loop is busy: with the first tick, and with whatever else
    _answer(client, first, "finish")
    for record in client.poll(0.1, 100):
        _answer(client, record)
    for record in client.poll(0.1, 100):
        _answer(client, record, "finish")
    found = client.forecasts()
    due_ns = start_ns + np.array([0, 1, 2, 3, 20]) * MS_NS
    assert found.ticks.tolist() == [0, 1, 2, 3, 4]
    assert ((found.handed_ns - due_ns[found.ticks]) / MS_NS).tolist() == [10, 9, 8, 7, 0]
    assert found.paths.tolist() == ["finish", "window", "window", "window", "finish"]


def test_ticks_without_times_come_one_by_one_when_the_loop_is_idle():
    clock = ManualClock()
    client = _client(clock)
    client.schedule([_message(0), _message(1)], None)
    assert client.poll(0.0, 100) == []
    clock.advance(0.001)
    assert [record.offset for record in client.poll(0.1, 100)] == [3]
    assert client.due_ns.tolist() == [clock.monotonic_ns()]
    assert client.poll(0.0, 100) == []
    assert [record.offset for record in client.poll(0.1, 100)] == [4]
    assert client.exhausted


def test_what_was_sent_is_acknowledged_at_the_next_poll():
    clock = ManualClock()
    client = _client(clock)
    heard: list[object] = []
    client.send(DEAD_LETTER_TOPIC, b"bad", None, [], heard.append)
    assert heard == []
    client.poll(0.0, 100)
    assert heard == [None]
    assert client.dead_letters == 1
    assert client.handed == 0


def test_a_second_schedule_goes_on_behind_the_first_and_forgets_its_answers():
    clock = ManualClock()
    client = _client(clock)
    _schedule(client, clock, 0, 0)
    for record in client.poll(0.1, 100):
        _answer(client, record)
    _schedule(client, clock, 0)
    (record,) = client.poll(0.1, 100)
    assert record.offset == FILL_TICKS + 2
    _answer(client, record)
    assert client.forecasts().ticks.tolist() == [0]


def test_a_loop_that_polls_without_a_timeout_is_seen_to_have_work():
    client = _client(ManualClock())
    client.poll(0.0, 100)
    assert not client.idle
    client.poll(0.1, 100)
    assert client.idle


@pytest.mark.parametrize("end", [lambda c: c.commit_transaction({}, 1.0), lambda c: c.abort_transaction(1.0)])
def test_the_end_of_a_transaction_answers_what_was_sent_in_it(end):
    client = _client(ManualClock())
    heard = []
    client.begin_transaction()
    client.send(DEAD_LETTER_TOPIC, b"bad", b"A", [], heard.append)
    assert heard == []
    end(client)
    assert heard == [None]
    assert client.dead_letters == 1
