"""The load generator of `tickcast bench kafka`: a process of its own that sends simulated ticks into a topic.

The far end of the way of a tick. Paced, it is an open loop: seeded Poisson arrivals, each sent at its time whatever
became of those before it, and each record's event time is when it was due, not when it was sent. Run as a program,
`bench_kafka_load LOAD` with a `Load` as JSON; writes what came of it, a `Sent`, to standard output.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from tickcast import bench_load, clients
from tickcast.clock import Clock, SystemClock
from tickcast.config import KafkaConfig
from tickcast.replay import Encoder, Sink, TopicSink
from tickcast.windows import NANOSECONDS, Tick

NAME = "bench-load"
TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
# A paced load starts so long after its process is ready, so that the first ticks are not late.
HEAD_START_NS = 50_000_000
# By how much Linux may let a sleep of this thread run over; its default of 50 us is as much as a whole finish.
TIMER_SLACK = Path("/proc/self/timerslack_ns")
TIMER_SLACK_NS = 1
PRICE_STEP = 0.01
SIZE_MAX = 500


class Load(msgspec.Struct, frozen=True):
    """What to send, and where to."""

    client: str
    bootstrap_servers: str
    topic: str
    columns: tuple[str, ...]
    symbols: int
    ticks: int
    seed: int
    rate: float  # ticks a second, of all symbols together
    paced: bool  # else at once, with event times that lie evenly at that rate before now
    after_ns: int = 0  # event times that are made up begin after this
    security: dict[str, object] = {}  # as `kafka.security` has it


class Sent(msgspec.Struct, frozen=True):
    """What came of it."""

    ticks: int  # acknowledged
    seconds: float
    late_us_p50: float  # how long after it was due a tick was handed over; 0 where nothing was due
    late_us_p99: float
    last_ns: int  # event time of the last tick


def main(load: Load, clock: Clock) -> Sent:
    """Send all of it. Raises BrokerError, DeliveryError."""
    client = clients.connect(_kafka(load), NAME)
    try:
        sink = TopicSink(client, load.topic, clock, TIMEOUT_S)
        return send(load, sink, clock)
    finally:
        client.close(CLOSE_TIMEOUT_S)


def send(load: Load, sink: Sink, clock: Clock) -> Sent:
    """The same into `sink`."""
    times_ns = _times_ns(load, clock.wall_ns())
    encode = Encoder(load.columns).encode
    started_ns = clock.monotonic_ns()
    late_ns = []
    for tick in ticks(load, times_ns):
        if load.paced:
            late_ns.append(_wait(tick.event_time_ns, clock))
        sink.send(encode(tick), tick.symbol.encode())
    acknowledged = sink.finish()
    p50, p99 = np.percentile(late_ns or [0], [50, 99]) / 1e3
    return Sent(acknowledged, (clock.monotonic_ns() - started_ns) / NANOSECONDS, float(p50), float(p99), times_ns[-1])


def ticks(load: Load, times_ns: Iterable[int]) -> Iterator[Tick]:
    """Simulated ticks of `S0000`, `S0001`, ... with these event times: symbols in turn, or where paced at random."""
    random = np.random.default_rng(load.seed)
    order = random.integers(load.symbols, size=load.ticks) if load.paced else np.arange(load.ticks) % load.symbols
    steps = random.integers(-1, 2, load.ticks).tolist()
    sizes = random.integers(1, SIZE_MAX, (load.ticks, 2)).tolist()
    prices = random.integers(8_000, 16_000, load.symbols).tolist()  # in steps
    names = [f"S{number:04d}" for number in range(load.symbols)]
    for offset, (symbol, time_ns) in enumerate(zip(order.tolist(), times_ns, strict=True)):
        prices[symbol] += steps[offset]
        yield Tick(offset, names[symbol], time_ns, _values(load.columns, prices[symbol], sizes[offset]), 0)


def _values(columns: Sequence[str], price: int, sizes: Sequence[int]) -> tuple[float, ...]:
    """A book around `price`; a column that is no part of one gets the price."""
    book = {
        "bid": round(price * PRICE_STEP, 2),
        "ask": round((price + 1) * PRICE_STEP, 2),
        "bid_size": float(sizes[0]),
        "ask_size": float(sizes[1]),
        "last_size": float(sizes[0]),
    }
    return tuple(book.get(column, book["bid"]) for column in columns)


def _times_ns(load: Load, now_ns: int) -> list[int]:
    """Event times, each later than the one before it: by them a reader tells ticks apart."""
    if load.paced:
        times_ns = now_ns + HEAD_START_NS + bench_load.poisson(load.rate, load.ticks, load.seed)
    else:
        gap_ns = NANOSECONDS / load.rate
        first_ns = max(load.after_ns, now_ns - round(load.ticks * gap_ns))
        times_ns = first_ns + (np.arange(load.ticks) * gap_ns).astype(np.int64)
    return [int(time_ns) for time_ns in times_ns + np.arange(1, load.ticks + 1)]


def _wait(due_ns: int, clock: Clock) -> int:
    """Sleep until `due_ns`; how late it is then, in nanoseconds."""
    early_ns = due_ns - clock.wall_ns()
    if early_ns > 0:
        clock.sleep(early_ns / NANOSECONDS)
    return max(0, clock.wall_ns() - due_ns)


def _kafka(load: Load) -> KafkaConfig:
    """Only the producing half of it is used: the group is never joined."""
    return KafkaConfig.model_validate(
        {
            "client": load.client,
            "bootstrap_servers": load.bootstrap_servers,
            "group_id": NAME,
            "input_topics": [load.topic],
            "output_topic": load.topic,
            "dead_letter_topic": load.topic,
            "security": load.security,
        }
    )


if __name__ == "__main__":
    if TIMER_SLACK.exists():
        TIMER_SLACK.write_text(str(TIMER_SLACK_NS))
    sent = main(msgspec.json.decode(sys.argv[1], type=Load), SystemClock())
    sys.stdout.write(msgspec.json.encode(sent).decode() + "\n")
