"""What a round of the Kafka bench makes of what its reader has seen."""

import numpy as np
import pytest
from tickcast.bench_kafka_load import Sent
from tickcast.bench_kafka_reader import PATHS, Seen
from tickcast.bench_kafka_rounds import SETTLING_NS, of_paced, of_saturated

MILLISECOND = 1_000_000
START_NS = 1_700_000_000_000 * MILLISECOND
FINISH, WINDOW = PATHS.index("finish"), PATHS.index("window")


def seen_of(due_ns: list[int], took_ns: list[int], path: int = FINISH) -> Seen:
    due = np.array(due_ns, np.int64)
    rest = np.array(took_ns, np.int64)
    stamps = due // MILLISECOND
    return Seen(due + rest, due, due + rest // 4, due + rest // 2, stamps, np.full(len(due), path))


def sent_of(ticks: int, last_ns: int) -> Sent:
    return Sent(ticks=ticks, seconds=2.0, late_us_p50=0.0, late_us_p99=0.0, last_ns=last_ns)


def test_first_second_is_not_counted_and_stretches_add_up() -> None:
    due_ns = [START_NS, START_NS + SETTLING_NS + 1, START_NS + SETTLING_NS + MILLISECOND]
    found = of_paced(sent_of(3, due_ns[-1]), seen_of(due_ns, [900, 400, 800]), 12.5)
    assert found.end_to_end.tolist() == pytest.approx([400e-9, 800e-9])
    assert set(found.stretches) == {"due to received", "received to sent", "sent to read"}
    assert sum(found.stretches.values()).tolist() == pytest.approx(found.end_to_end.tolist())
    assert (found.paths["finish"], found.paths["window"], found.missing, found.doubled) == (2, 0, 0, 0)


def test_a_hole_is_missing_and_what_comes_twice_is_doubled() -> None:
    due_ns = [START_NS + number * MILLISECOND for number in (0, 1, 3, 3, 3)]
    found = of_paced(sent_of(4, due_ns[-1]), seen_of(due_ns, [1] * 5), 0.0)
    assert (found.missing, found.doubled) == (1, 2)


def test_nothing_seen_is_everything_missing() -> None:
    found = of_paced(sent_of(4, START_NS), seen_of([], []), 0.0)
    assert (found.missing, found.doubled, len(found.end_to_end)) == (4, 0, 0)


def test_saturated_rate_is_by_the_time_kafka_took_the_forecasts_without_the_first_tenth() -> None:
    stored_ns = [START_NS] * 10 + [START_NS + number * 10 * MILLISECOND for number in range(1, 91)]
    found = of_saturated(seen_of(stored_ns, [0] * 100, WINDOW), 50.0, {"run": 1.0})
    assert found.forecasts == 90
    assert found.ticks_per_s == pytest.approx(90 / 0.89)
    assert (found.paths["finish"], found.paths["window"]) == (0, 100)
