"""Topics back into ticks: ranges that fit together, one order of all partitions, and nothing left out unsaid."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from factories import manifest_with
from hypothesis import given
from hypothesis import strategies as st
from pipelines import config_with
from tickcast import manifest, recording
from tickcast.clients import OffsetRange, Partition
from tickcast.errors import BrokerError, ConfigurationError
from tickcast.recording import BLOCK_MIN, Reading, Recorded, Span
from topic_log import TopicLog

FIRST, SECOND = Partition("ticks", 0), Partition("ticks", 1)
SECOND_NS = 1_000_000_000
MAPPING = {"columns": {"bid": "data.b", "ask": "data.a"}, "symbol": "s", "event_time": "t", "event_time_unit": "s"}


def message(symbol: str, time_s: int, bid: float | str | None, ask: float) -> bytes:
    """A record of an exchange's own form."""
    return msgspec.json.encode({"s": symbol, "t": time_s, "data": {"b": bid, "a": ask}})


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bundles, of which the second reads columns of its own."""
    made = {"bundle": manifest_with(symbols=("A*",)), "depth": manifest_with(columns=("bid", "depth"))}
    monkeypatch.setattr(manifest, "read", lambda folder: (made[Path(folder).name], "0" * 64))


def of_topic(log: TopicLog, using: Reading, **times: int) -> tuple[list[tuple[str, int, tuple[float, ...]]], Recorded]:
    """What a recording of the whole topic, or of a time range, comes to."""
    span = recording.span(log, ["ticks"], times.get("from_ms"), times.get("to_ms"))
    counted = Recorded()
    ticks = recording.ticks(recording.in_order(log, span.ranges), using, counted)
    return [(tick.symbol, tick.event_time_ns // SECOND_NS, tick.values) for tick in ticks], counted


@pytest.mark.usefixtures("bundles")
def test_records_are_read_by_the_daemons_mapping_and_put_in_order_over_partitions() -> None:
    log = TopicLog()
    for at_ms, partition, symbol in ((10, FIRST, "A"), (30, FIRST, "A"), (20, SECOND, "AB"), (25, SECOND, "NEW")):
        log.write(partition, at_ms, message(symbol, at_ms, 1.5, at_ms))
    ticks, counted = of_topic(log, recording.reading(config_with(input=MAPPING), None, ()))
    assert ticks == [(s, t, (1.5, t)) for s, t in (("A", 10), ("AB", 20), ("NEW", 25), ("A", 30))], "a new one, too"
    assert (counted.records, counted.ticks) == (4, 4)
    assert (counted.first_event_time_ns, counted.last_event_time_ns) == (10 * SECOND_NS, 30 * SECOND_NS)


@pytest.mark.usefixtures("bundles")
def test_what_a_file_cannot_hold_is_counted_by_reason() -> None:
    log = TopicLog()
    config = config_with(input={**MAPPING, "crossed": "skip"})
    for number, value in enumerate(
        (b"{", None, message("A", 1, "NaN", 2), message("A", 2, 1.0, 2.0), message("A", 3, 3.0, 2.0), b"[]")
    ):
        log.write(FIRST, number, value)
    ticks, counted = of_topic(log, recording.reading(config, None, ()))
    assert [time_s for _, time_s, _ in ticks] == [2]
    assert counted.no_row == {"crossed": 1}
    assert sum(counted.bad.values()) == 4
    assert counted.bad["empty"] == counted.bad["non_finite"] == 1
    assert counted.records == counted.ticks + sum(counted.bad.values()) + sum(counted.no_row.values())


@pytest.mark.usefixtures("bundles")
def test_of_several_entries_one_is_recorded_with_its_own_columns_and_symbols() -> None:
    log = TopicLog()
    config = config_with(models=[{"bundle": "depth", "symbols": ["D*"]}, {"bundle": "bundle"}])
    for symbol, columns in (("D1", {"bid": 1, "depth": 2}), ("A", {"bid": 3, "ask": 4}), ("Z", {"bid": 5, "ask": 6})):
        log.write(FIRST, 0, msgspec.json.encode({"symbol": symbol, "event_time_ns": 0, **columns}))
    with pytest.raises(ConfigurationError, match="2 entries: say whose"):
        recording.reading(config, None, ())
    with pytest.raises(ConfigurationError, match=r"models\.2"):
        recording.reading(config, 2, ())
    depth, rest = (of_topic(log, recording.reading(config, place, ())) for place in (0, 1))
    assert depth[0] == [("D1", 0, (1, 2))]
    assert rest[0] == [("A", 0, (3, 4)), ("Z", 0, (5, 6))]
    assert (depth[1].other_symbols, rest[1].other_symbols) == (2, 1)


def test_columns_are_enough_where_there_is_no_bundle_yet(tmp_path: Path) -> None:
    config = config_with(models=[{"bundle": str(tmp_path / "absent")}])
    log = TopicLog()
    log.write(FIRST, 0, msgspec.json.encode({"symbol": "A", "event_time_ns": 0, "last": 7, "bid": 1}))
    assert of_topic(log, recording.reading(config, None, ("last",)))[0] == [("A", 0, (7,))]


@given(
    times_ms=st.lists(st.lists(st.integers(0, 30), max_size=30), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 31), min_size=1, max_size=4).map(sorted),
)
def test_ranges_that_follow_one_another_hold_every_record_once(times_ms: list[list[int]], cuts: list[int]) -> None:
    """Whatever the timestamps say: producers set them, and not in order."""
    log = TopicLog()
    for number, times in enumerate(times_ms):
        log.cluster.topics[Partition("ticks", number)] = []
        for at_ms in times:
            log.write(Partition("ticks", number), at_ms, b"")
    edges = [None, *cuts, None]
    found = [
        (record.partition, record.offset)
        for from_ms, to_ms in pairwise(edges)
        for record in recording.in_order(log, recording.span(log, ["ticks"], from_ms, to_ms).ranges)
    ]
    written = [(partition, record.offset) for partition, records in log.cluster.topics.items() for record in records]
    assert sorted(found) == sorted(written)


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 3))
def test_whatever_is_held_at_once_each_partition_keeps_its_order(times_ms: list[int], partitions: int) -> None:
    log = TopicLog()
    for number, at_ms in enumerate(times_ms):
        log.write(Partition("ticks", number % partitions), at_ms, b"")
    whole = log.held(list(log.cluster.topics))
    found = list(recording.in_order(log, whole))
    for partition in whole:
        assert [one.offset for one in found if one.partition == partition] == list(range(whole[partition].end))
    if partitions == 1 or times_ms == sorted(times_ms):
        assert [one.timestamp_ms for one in found] == times_ms


def test_no_more_is_read_at_once_than_may_wait() -> None:
    log = TopicLog()
    for number in range(3 * BLOCK_MIN):
        log.write(Partition("ticks", number % 2), number, b"")
    found = recording.in_order(log, log.held([FIRST, SECOND]), waiting_max=1)
    assert [record.timestamp_ms for record in found] == list(range(3 * BLOCK_MIN))
    assert max(held.end - held.first for asked in log.asked for held in asked.values()) == BLOCK_MIN
    assert all(len(asked) == 1 for asked in log.asked)


def test_records_that_retention_takes_before_they_are_read_are_not_left_out_in_silence() -> None:
    log = TopicLog()
    for number in range(2 * BLOCK_MIN):
        log.write(FIRST, number, b"")
    found = recording.in_order(log, log.held([FIRST]), waiting_max=1)
    assert next(found).offset == 0
    log.delete_before(FIRST, BLOCK_MIN + 5)
    with pytest.raises(BrokerError, match=f"ticks/0: retention deleted offsets {BLOCK_MIN} to {BLOCK_MIN + 4} before"):
        list(found)


def test_a_begin_that_retention_took_is_told_from_one_that_was_always_there() -> None:
    log = TopicLog()
    for partition in (FIRST, SECOND):
        for number in range(10):
            log.write(partition, 100 + number, b"")
    log.delete_before(FIRST, 4)

    def span(from_ms: int | None, to_ms: int | None) -> Span:
        return recording.span(log, ["ticks"], from_ms, to_ms)

    assert span(102, 108) == Span({FIRST: OffsetRange(4, 8), SECOND: OffsetRange(2, 8)}, (FIRST,))
    assert span(105, None).begun_later == ()
    assert span(50, None).begun_later == (FIRST,), "the second one never had an older one"
    assert span(None, None) == Span({FIRST: OffsetRange(4, 10), SECOND: OffsetRange(0, 10)}, ())
    assert span(200, 300).offsets == 0
