"""The load of the Kafka bench is an open loop: what is due is due, whatever became of what came before."""

import json

import numpy as np
from manual_clock import ManualClock
from msgspec.structs import replace
from tickcast.bench_kafka_load import HEAD_START_NS, Load, send

PACED = Load(
    client="kafka-python",
    bootstrap_servers="127.0.0.1:1",
    topic="ticks",
    columns=("bid", "ask", "bid_size", "odd"),
    symbols=3,
    ticks=500,
    seed=7,
    rate=100.0,
    paced=True,
)
STALL_S = 2.0


class Sink:
    """Keeps what comes and when; the record `stalled` takes `STALL_S` to hand over."""

    def __init__(self, clock: ManualClock, stalled: int = -1) -> None:
        self._clock = clock
        self._stalled = stalled
        self.records: list[tuple[bytes, bytes]] = []
        self.came_ns: list[int] = []

    def send(self, value: bytes, key: bytes) -> None:
        self.came_ns.append(self._clock.wall_ns())
        if len(self.records) == self._stalled:
            self._clock.advance(STALL_S)
        self.records.append((key, value))

    def finish(self) -> int:
        return len(self.records)

    def event_times_ns(self) -> list[int]:
        return [json.loads(value)["event_time_ns"] for _, value in self.records]


def test_event_time_is_when_a_tick_was_due_and_it_is_sent_then() -> None:
    clock = ManualClock()
    sink, started_ns = Sink(clock), clock.wall_ns()
    sent = send(PACED, sink, clock)
    times_ns = sink.event_times_ns()
    assert sink.came_ns == times_ns
    assert times_ns[0] > started_ns + HEAD_START_NS
    assert (sent.ticks, sent.late_us_p99, sent.last_ns) == (500, 0.0, times_ns[-1])
    gaps_ns = np.diff(times_ns)
    assert gaps_ns.min() > 0
    assert 0.8 < gaps_ns.mean() * PACED.rate / 1e9 < 1.2
    assert 0.8 < gaps_ns.std() / gaps_ns.mean() < 1.2  # as of a Poisson process


def test_schedule_does_not_slip_when_the_broker_stalls() -> None:
    clocks = ManualClock(), ManualClock()
    punctual, stalled = Sink(clocks[0]), Sink(clocks[1], stalled=100)
    send(PACED, punctual, clocks[0])
    sent = send(PACED, stalled, clocks[1])
    assert stalled.event_times_ns() == punctual.event_times_ns()
    assert stalled.came_ns[101] == stalled.came_ns[100] + int(STALL_S * 1e9)
    assert stalled.came_ns[-1] == punctual.came_ns[-1]
    assert sent.late_us_p99 > STALL_S * 0.9e6


def test_fill_gives_each_symbol_its_share_before_now_and_after_what_was_sent_before() -> None:
    clock = ManualClock()
    sink, now_ns = Sink(clock), clock.wall_ns()
    send(replace(PACED, paced=False), sink, clock)
    times_ns = sink.event_times_ns()
    assert times_ns[-1] <= now_ns
    assert [key for key, _ in sink.records[:4]] == [b"S0000", b"S0001", b"S0002", b"S0000"]
    assert clock.wall_ns() == now_ns
    later = Sink(clock)
    send(replace(PACED, paced=False, after_ns=times_ns[-1]), later, clock)
    assert later.event_times_ns()[0] > times_ns[-1]


def test_records_have_the_columns_of_the_bundle() -> None:
    clock = ManualClock()
    sink = Sink(clock)
    send(PACED, sink, clock)
    book = json.loads(sink.records[0][1])
    assert set(book) == {"symbol", "event_time_ns", *PACED.columns}
    assert book["bid"] < book["ask"]
    assert book["odd"] == book["bid"]
