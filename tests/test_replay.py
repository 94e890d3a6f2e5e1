"""Replay: every tick once, in order, when it is due; a failed delivery is an error."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import kafka
import pytest
from manual_clock import ManualClock
from tickcast import cli
from tickcast.broker import Broker
from tickcast.clients import Headers, OnDelivery
from tickcast.errors import BrokerError, DeliveryError, UsageError
from tickcast.replay import Encoder, FixedRate, Pace, Played, Recorded, TopicSink, Unpaced, play
from tickcast.windows import Tick

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


def ticks_at(*times_ms: float) -> list[Tick]:
    start_ns = 1_700_000_000 * SECOND
    return [Tick(i, "AB"[i % 2], start_ns + round(t * MILLISECOND), (10.0 + i,)) for i, t in enumerate(times_ms)]


class TimedSink:
    """Notes when each record came, in milliseconds since its first; taking one may need time."""

    def __init__(self, clock: ManualClock, slow_ms: dict[int, float] | None = None) -> None:
        self._clock = clock
        self._slow_ms = slow_ms or {}
        self._start_ns = clock.monotonic_ns()
        self.came_ms: list[float] = []
        self.records: list[tuple[bytes, bytes]] = []

    def send(self, value: bytes, key: bytes) -> None:
        self.came_ms.append((self._clock.monotonic_ns() - self._start_ns) / MILLISECOND)
        self.records.append((key, value))
        self._clock.advance(self._slow_ms.get(len(self.records) - 1, 0.0) / 1000)

    def finish(self) -> int:
        return len(self.records)


def played(ticks: list[Tick], pace: Pace, slow_ms: dict[int, float] | None = None) -> tuple[TimedSink, Played]:
    clock = ManualClock()
    sink = TimedSink(clock, slow_ms)
    return sink, play(ticks, Encoder(("last",)), sink, pace, clock)


def test_recorded_pace_keeps_the_gaps_and_a_speed_divides_them() -> None:
    ticks = ticks_at(0, 5, 5, 105)
    assert played(ticks, Recorded())[0].came_ms == [0, 5, 5, 105]
    assert played(ticks, Recorded(speed=10))[0].came_ms == [0, 0.5, 0.5, 10.5]


def test_a_long_silence_is_played_shorter_where_asked() -> None:
    assert played(ticks_at(0, 10, 3_600_010, 3_600_020), Recorded(gap_max_s=1.0))[0].came_ms == [0, 10, 1010, 1020]


def test_a_tick_from_the_past_neither_waits_nor_shifts_the_ticks_after_it() -> None:
    assert played(ticks_at(0, 50, 20, 60), Recorded())[0].came_ms == [0, 50, 50, 60]


def test_a_fixed_rate_is_even_and_no_pace_does_not_wait() -> None:
    ticks = ticks_at(0, 1, 900, 901)
    assert played(ticks, FixedRate(250))[0].came_ms == [0, 4, 8, 12]
    assert played(ticks, Unpaced())[0].came_ms == [0, 0, 0, 0]


def test_the_schedule_does_not_slip_behind_a_slow_sink() -> None:
    sink, summary = played(ticks_at(0, 10, 20, 30, 40), Recorded(), slow_ms={1: 25})
    assert sink.came_ms == [0, 10, 35, 35, 40]
    assert summary == Played(ticks=5, seconds=0.040, late_s_max=0.015)


def test_records_are_json_ticks_keyed_by_symbol() -> None:
    sink, _ = played(ticks_at(0, 1), Unpaced())
    assert [key for key, _ in sink.records] == [b"A", b"B"]
    assert json.loads(sink.records[1][1]) == {"symbol": "B", "event_time_ns": 1_700_000_000_001_000_000, "last": 11.0}
    numbered = Encoder(("last",), with_sequence=True).encode(Tick(0, "A", 1, (2.0,), 77))
    assert json.loads(numbered)["sequence"] == 77


def test_interrupting_ends_the_playing_and_still_waits_for_the_answers() -> None:
    def interrupted() -> Iterator[Tick]:
        yield from ticks_at(0, 1)
        raise KeyboardInterrupt

    clock = ManualClock()
    told: list[int] = []
    summary = play(interrupted(), Encoder(("last",)), TimedSink(clock), Unpaced(), clock, told.append)
    assert summary.ticks == 2
    assert told == [2]


def test_time_starts_with_the_first_tick_in_hand() -> None:
    clock = ManualClock()

    def slowly_read() -> Iterator[Tick]:
        clock.advance(5.0)
        yield from ticks_at(0, 10)

    sink = TimedSink(clock)
    summary = play(slowly_read(), Encoder(("last",)), sink, Recorded(), clock)
    assert sink.came_ms == [5000, 5010]
    assert summary.late_s_max == 0


def test_no_ticks_make_an_empty_replay() -> None:
    assert played([], Recorded())[1].ticks == 0


def test_progress_is_told_a_few_times_a_second_and_at_the_end() -> None:
    clock = ManualClock()
    told: list[int] = []
    play(ticks_at(*range(0, 1000, 10)), Encoder(("last",)), TimedSink(clock), Recorded(), clock, told.append)
    assert told == [21, 41, 61, 81, 100]


class ScriptedClient:
    """The producing half of a `Client`: `answer` decides what becomes of each record."""

    def __init__(self, answer: Callable[[int, OnDelivery], None], partitions: int = 1) -> None:
        self._answer = answer
        self._partitions = partitions
        self.sent = 0

    def partitions_of(self, topic: str, timeout_s: float) -> frozenset[int]:
        return frozenset(range(self._partitions))

    def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        self._answer(self.sent, on_delivery)
        self.sent += 1

    def flush(self, timeout_s: float) -> bool:
        return True


def sink_on(client: ScriptedClient, clock: ManualClock, outstanding_max: int = 10) -> TopicSink:
    return TopicSink(client, "ticks", clock, timeout_s=2.0, outstanding_max=outstanding_max)  # type: ignore[arg-type]


def test_a_failed_delivery_is_an_error_and_ends_the_replay() -> None:
    def third_fails(number: int, on_delivery: OnDelivery) -> None:
        on_delivery(BrokerError("too large") if number == 2 else None)

    client, clock = ScriptedClient(third_fails), ManualClock()
    with pytest.raises(DeliveryError, match="a tick was not delivered: too large"):
        play(ticks_at(0, 1, 2, 3, 4), Encoder(("last",)), sink_on(client, clock), Unpaced(), clock)
    assert client.sent == 3


def test_too_many_unanswered_records_hold_the_replay_until_it_gives_up() -> None:
    client, clock = ScriptedClient(lambda number, on_delivery: None), ManualClock()
    began_ns = clock.monotonic_ns()
    with pytest.raises(BrokerError, match="no acknowledgement within 2 s"):
        play(ticks_at(*range(20)), Encoder(("last",)), sink_on(client, clock, 10), Unpaced(), clock)
    assert client.sent == 10
    assert (clock.monotonic_ns() - began_ns) / SECOND == pytest.approx(2.0, abs=0.01)


def test_a_topic_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="topic ticks: does not exist"):
        sink_on(ScriptedClient(lambda number, on_delivery: None, partitions=0), ManualClock())


@pytest.mark.broker
def test_a_file_lands_whole_in_a_topic_each_symbol_in_order_on_one_partition(
    broker: Broker, topic: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = topic(partitions=3)
    path = tmp_path / "ticks.csv"
    lines = [f"{1_700_000_000_000 + i},S{i % 5},{i},{i + 1},3,4" for i in range(2_000)]
    path.write_text("\n".join(["receive_time_ms,symbol,bid,ask,bid_size,ask_size", *lines]))
    command = ["replay", str(path), "--topic", name, "--bootstrap-servers", broker.bootstrap_servers, "--rate", "0"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--limit", "1990"])
    assert ended.value.code == 0
    assert "1990 ticks acknowledged" in capsys.readouterr().out
    consumer = kafka.KafkaConsumer(
        name, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=3_000
    )
    bids: dict[tuple[str, int], list[float]] = {}
    for record in consumer:
        tick = json.loads(record.value)
        assert record.key.decode() == tick["symbol"]
        bids.setdefault((tick["symbol"], record.partition), []).append(tick["bid"])
    consumer.close()
    assert len(bids) == 5  # one partition for each symbol
    assert {symbol: values for (symbol, _), values in bids.items()} == {
        f"S{i}": [float(bid) for bid in range(i, 1_990, 5)] for i in range(5)
    }
