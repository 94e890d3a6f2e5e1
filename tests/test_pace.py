"""The pace that people read: rates over the time between looks, and the 99th percentile as its bucket's bound."""

from collections.abc import Iterator

import pytest
from manual_clock import ManualClock
from tickcast.board import Board
from tickcast.pace import Pace


class Run:
    """A board that is written to, and the pace that is read off it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.board = Board.create(self.clock)
        self.ticks = {topic: self.board.counter("tickcast_ticks_processed_total", topic=topic) for topic in "ab"}
        self.latency = self.board.histogram("tickcast_received_to_handed_seconds")
        self.ticks["a"].add(1_000)  # from before the first look
        self.latency.observe_one(5.0)
        self._pace = Pace(self.board, ("a", "b"), self.clock.monotonic_ns())

    def look(self, after_s: float = 1.0) -> tuple[str, str]:
        self.clock.advance(after_s)
        return self._pace.look(self.clock.monotonic_ns())


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.board.close()


def test_ticks_of_all_topics_since_the_last_look_are_a_rate(run: Run) -> None:
    run.ticks["a"].add(2_000)
    run.ticks["b"].add(400)
    assert run.look(after_s=2.0)[0] == "1,200 ticks/s"
    assert run.look()[0] == "0 ticks/s"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([4e-6], "p99 under 5 us"),
        ([0.00012] * 99 + [5.0], "p99 under 150 us"),
        ([0.00012] * 98 + [0.0011, 0.0011], "p99 under 1.5 ms"),
        ([2.0] * 10, "p99 under 2 s"),
        ([11.0], "p99 over 10 s"),
        ([], ""),
    ],
)
def test_ninety_nine_of_a_hundred_lie_under_the_bound(run: Run, seconds: list[float], said: str) -> None:
    run.latency.observe(seconds)
    assert run.look()[1] == said
    assert run.look()[1] == ""
