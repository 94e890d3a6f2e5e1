"""The loop over an in-memory Kafka: the same input, the same forecasts, wherever it starts and however it is cut."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, window_rules
from thorough import examples
from tickcast import audit, records
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.commit_note import parse
from tickcast.errors import BrokerError, DeliveryError
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
COLUMNS = ("value", "seconds_since_previous")

Step = tuple[int, str | None, int, int]  # offsets skipped, symbol (None: a bad record), milliseconds, value

steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["A", "B", "C", None]), st.integers(-2, 7), st.integers(0, 2)),
    min_size=30,
    max_size=60,
)
rules = window_rules(gap_s=0.005)


def _cluster(given_steps: list[Step]) -> MemoryCluster:
    cluster, time_ns = MemoryCluster(), 1_700_000_000_000_000_000
    for skip, symbol, milliseconds, value in given_steps:
        time_ns += milliseconds * 1_000_000
        body = (
            b"{"
            if symbol is None
            else msgspec.json.encode({"symbol": symbol, "event_time_ns": time_ns, "value": value})
        )
        cluster.append(INPUT, body, key=b"k", skip=skip)
    return cluster


def _forecasts(client: MemoryClient) -> dict[int, records.Forecast]:
    found = [records.decode(value) for topic, value, _, _ in client.sent if topic == "forecasts" and value is not None]
    assert len({f.offset for f in found}) == len(found), "a doubled forecast"
    return {forecast.offset: forecast for forecast in found}


def _comparable(forecast: records.Forecast) -> records.Forecast:
    """What must be equal between two runs: everything but times of processing, path and flags."""
    return msgspec.structs.replace(forecast, received_time_ns=0, sent_time_ns=0, path="window", flags=())


def _run(cluster: MemoryCluster, given_rules: WindowRules, records_max: int, reach: int, finish: bool) -> Line:
    config = config_with(kafka={"poll_records_max": records_max}, recovery={"replay_records_max": reach})
    client = MemoryClient(cluster, [INPUT])
    return Line(config, client, ToyEngine(given_rules, COLUMNS, splits=finish))


def _whole(cluster: MemoryCluster, line: Line) -> Iterator[dict[Partition, object]]:
    """Turn by turn to the end of the log, yielding what stood committed before each turn."""
    while (state := line.ownership.states.get(INPUT)) is None or state.position < cluster.end(INPUT):
        yield dict(cluster.committed)
        line.turn()
    line.turn(3)


@settings(max_examples=examples(150), deadline=None)
@given(steps, rules, st.integers(1, 7), st.integers(4, 30), st.booleans(), st.integers(1, 9))
def test_any_commit_and_any_batch_size_give_the_same_forecasts(
    given_steps, given_rules, records_max, reach, finish, other_max
):
    cluster = _cluster(given_steps)
    line = _run(cluster, given_rules, records_max, reach, finish)
    for _ in _whole(cluster, line):
        pass
    undisturbed = {offset: _comparable(f) for offset, f in _forecasts(line.client).items()}
    line.close()
    commits = [commit[INPUT] for commit in cluster.commits]
    assert commits
    for committed in commits:
        note = parse(committed.metadata)
        assert note is not None
        assert committed.offset - reach <= note.replay_from <= committed.offset
        again = _cluster(given_steps)
        again.committed[INPUT] = committed
        restarted = _run(again, given_rules, other_max, reach, not finish)
        for _ in _whole(again, restarted):
            pass
        expected = {offset: f for offset, f in undisturbed.items() if offset >= committed.offset}
        assert {offset: _comparable(f) for offset, f in _forecasts(restarted.client).items()} == expected
        restarted.close()


@settings(max_examples=examples(100), deadline=None)
@given(steps, rules, st.integers(1, 9), st.integers(4, 30))
def test_every_tick_is_accounted_for(given_steps, given_rules, records_max, reach):
    cluster = _cluster(given_steps)
    line = _run(cluster, given_rules, records_max, reach, True)
    for _ in _whole(cluster, line):
        pass
    outputs = MemoryCluster()
    for topic, value, key, headers in line.client.sent:
        partition = Partition(topic, 0)
        outputs.append(partition, value, key)
        outputs.topics[partition][-1] = msgspec.structs.replace(outputs.topics[partition][-1], headers=headers)
    line.close()
    config = config_with(recovery={"replay_records_max": reach})
    accounts = audit.audit(
        config,
        [ToyEngine(given_rules, COLUMNS).bundle.manifest],
        {INPUT: OffsetRange(0, cluster.end(INPUT))},
        cluster.topics[INPUT],
        outputs.topics[Partition("forecasts", 0)],
        outputs.topics[Partition("dead-letters", 0)],
    )
    account = accounts[INPUT]
    assert account.adds_up, account
    assert account.ticks == len(given_steps)
    assert account.dead_letters == sum(symbol is None for _, symbol, _, _ in given_steps)


def _ticks(count: int, symbol: str = "A") -> MemoryCluster:
    return _cluster([(0, symbol, 1, index) for index in range(count)])


def _line(
    cluster: MemoryCluster, acknowledges: bool = True, **sections: object
) -> tuple[Line, MemoryClient, ToyEngine]:
    client = MemoryClient(cluster, [INPUT], acknowledges)
    engine = ToyEngine(WindowRules(window=3), COLUMNS)
    return Line(config_with(**sections), client, engine), client, engine


def test_nothing_is_committed_before_it_is_acknowledged():
    cluster = _ticks(10)
    line, client, _ = _line(cluster, acknowledges=False)
    line.turn(5)
    first = cluster.committed[INPUT].offset
    client.acknowledge()
    line.turn(3)
    assert (first, cluster.committed[INPUT].offset) == (0, 10)


def test_a_record_that_is_finally_not_delivered_ends_the_loop_without_a_commit():
    cluster = _ticks(10)
    line, client, _ = _line(cluster, acknowledges=False)
    line.turn(2)
    client.fail()
    client.acknowledge(1)
    with pytest.raises(DeliveryError):
        line.turn()
    assert cluster.committed[INPUT].offset == 0


@pytest.mark.parametrize("fails", ["run", "send"])
def test_a_turn_that_breaks_off_commits_nothing_of_it_on_the_way_out(fails):
    cluster = _ticks(4)
    line, client, engine = _line(cluster)
    line.turn(2)
    before = cluster.committed[INPUT].offset
    for index in range(6):
        body = {"symbol": "A", "event_time_ns": 1_700_000_000_010_000_000 + index, "value": 3}
        cluster.append(INPUT, msgspec.json.encode(body))

    def fail(*_: object) -> None:
        raise BrokerError("refused")

    if fails == "run":
        engine.features = fail
    else:
        client.refusing = BrokerError("refused")
    with pytest.raises(BrokerError):
        line.turn()
    client.close(1.0)
    assert (before, cluster.committed[INPUT].offset) == (4, 4)


def test_a_tick_whose_carry_is_ready_takes_the_finish_path():
    cluster = _ticks(6)
    line, client, engine = _line(cluster)
    line.turn(3)  # answers, then an idle turn prepares the carry
    before = engine.finished
    cluster.append(INPUT, msgspec.json.encode({"symbol": "A", "event_time_ns": 1_700_000_000_010_000_000, "value": 3}))
    line.turn()
    assert (before, engine.finished) == (0, 1)
    assert _forecasts(client)[6].path == "finish"


def test_too_much_unacknowledged_pauses_the_consumer_until_half_is_acknowledged():
    cluster = _ticks(30)
    line, client, _ = _line(cluster, acknowledges=False, kafka={"outstanding_max": 10, "poll_records_max": 16})
    line.turn(4)
    assert client.paused == {INPUT}
    assert len(client.sent) <= 16
    client.acknowledge()
    line.turn(2)
    assert client.paused == {INPUT}
    assert len(client.sent) == 30 - 4  # the first four ticks fill the window
    client.acknowledge()
    line.turn()
    assert not client.paused


def test_too_many_bytes_unacknowledged_pause_the_consumer_too():
    cluster = MemoryCluster()
    for _ in range(6):
        cluster.append(INPUT, b"{" + b" " * 1_000)
    line, client, _ = _line(cluster, acknowledges=False, kafka={"outstanding_bytes_max": 2_500, "poll_records_max": 1})
    line.turn(6)
    assert (len(client.sent), client.paused) == (3, {INPUT})
    client.acknowledge(2)
    line.turn(6)
    assert (len(client.sent), client.paused) == (5, {INPUT})


def test_a_bad_record_becomes_a_dead_letter_with_its_bytes_key_and_reason():
    cluster = _ticks(2)
    cluster.append(INPUT, b'{"symbol": "A"', key=b"key")
    line, client, _ = _line(cluster)
    line.turn(2)
    topic, value, key, headers = client.sent[-1]
    assert (topic, value, key) == ("dead-letters", b'{"symbol": "A"', b"key")
    assert dict(headers)["reason"] == b"undecodable"
    assert records.source_of(headers) == (INPUT, 2)


def test_symbols_without_a_model_are_skipped_and_counted():
    cluster = _ticks(5, symbol="OTHER")
    line, client, _ = _line(cluster, models=[{"bundle": "bundle", "symbols": ["A*", "B?"]}])
    line.turn(2)
    assert not client.sent
    assert line.value("tickcast_skipped_ticks_total", "no_model") == 5
    assert len(line.ownership.states[INPUT].windows) == 0


def test_windows_given_back_are_committed_first():
    cluster = _ticks(10)
    line, client, _ = _line(cluster, kafka={"commit_interval_ms": 3_600_000})
    line.turn(2)
    client.close(1.0)
    assert cluster.committed[INPUT].offset == 10
    assert not line.ownership.states


def test_a_group_without_a_commit_that_starts_at_the_end_answers_only_what_comes_with_windows_filled_from_before():
    cluster = _ticks(10)
    line, client, _ = _line(cluster, kafka={"start": "latest"})
    line.turn(2)
    assert not client.sent
    assert cluster.committed[INPUT].offset == 10
    cluster.append(INPUT, msgspec.json.encode({"symbol": "A", "event_time_ns": 1_700_000_000_020_000_000, "value": 3}))
    line.turn(2)
    assert list(_forecasts(client)) == [10]


def test_a_poll_that_fails_takes_back_nothing_of_what_was_answered_before(monkeypatch):
    cluster = _ticks(10)
    line, client, _ = _line(cluster, kafka={"commit_interval_ms": 3_600_000})
    line.turn(2)

    def fail(timeout_s: float, records_max: int) -> list[Record]:
        raise BrokerError("the test says so")

    monkeypatch.setattr(client, "poll", fail)
    with pytest.raises(BrokerError):
        line.turn()
    client.close(1.0)
    assert cluster.committed[INPUT].offset == 10


def test_an_answer_that_is_not_finite_is_a_dead_letter_and_no_forecast(monkeypatch):
    cluster = _ticks(10)
    line, client, engine = _line(cluster, inference={"threads": 1})  # one run for all
    answer = engine.window

    def sometimes_nan(rows: np.ndarray) -> np.ndarray:
        forecasts = answer(rows)
        forecasts[1::2] = np.nan
        return forecasts

    monkeypatch.setattr(engine, "window", sometimes_nan)
    line.turn(2)
    buried = [records.source_of(headers)[1] for topic, _, _, headers in client.sent if topic == "dead-letters"]
    assert (sorted(_forecasts(client)), sorted(buried)) == ([4, 6, 8], [5, 7, 9])
    assert line.value("tickcast_forecasts_total", "window") == 3
    assert line.value("tickcast_dead_letters_total", "non_finite_forecast") == 3
