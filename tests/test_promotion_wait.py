"""Waiting for a promotion: until it may, until it never will, or until time is up; and never a busy reader."""

import math
from collections.abc import Iterator

import pytest
from manual_clock import ManualClock
from tickcast import promotion_wait
from tickcast.errors import BrokerError
from tickcast.promotion import Judged
from tickcast.promotion_looks import LOOKS_MAX, Look, Verdict

LOOK = Look(1, 5_000, 0.02, -0.1, 0.0, 0.1)


def verdict(is_better: bool = False, looks: int = 0, reason: str = "too few") -> Judged:
    return Judged(Verdict((LOOK,) * looks, 5_000 * looks, math.nan, is_better, reason), None)


class Judge:
    """Says one thing after the other, each after `takes_s`."""

    def __init__(self, clock: ManualClock, says: Iterator[Judged], takes_s: float = 0.0) -> None:
        self.asked_s: list[float] = []
        self._clock, self._says, self._takes_s = clock, says, takes_s
        self._begun_ns = clock.monotonic_ns()

    def __call__(self) -> Judged:
        self.asked_s.append((self._clock.monotonic_ns() - self._begun_ns) / 1e9)
        self._clock.advance(self._takes_s)
        return next(self._says)


def test_it_ends_as_soon_as_a_look_holds_and_tells_why_it_waited() -> None:
    clock, told = ManualClock(), list[str]()
    judge = Judge(clock, iter([verdict(), verdict(looks=1, reason="not yet"), verdict(True, 2)]))
    assert promotion_wait.judged(judge, 60, clock, told.append) == verdict(True, 2)
    assert told == ["too few", "not yet"]
    assert judge.asked_s == [0, 2, 4]


def test_without_patience_it_asks_once() -> None:
    clock = ManualClock()
    judge = Judge(clock, iter([verdict()]))
    assert promotion_wait.judged(judge, 0, clock, pytest.fail) == verdict()


def test_where_no_look_is_left_nobody_waits_on() -> None:
    clock = ManualClock()
    judge = Judge(clock, iter([verdict(looks=LOOKS_MAX)]))
    assert promotion_wait.judged(judge, 60, clock, pytest.fail) == verdict(looks=LOOKS_MAX)


def test_the_longer_the_topics_the_longer_the_pauses_and_the_last_look_is_when_time_is_up() -> None:
    clock = ManualClock()
    judge = Judge(clock, iter([verdict()] * 7), takes_s=5.0)
    assert promotion_wait.judged(judge, 60, clock, lambda reason: None) == verdict()
    assert judge.asked_s == [0, 10, 20, 30, 40, 50, 60]


def test_a_broker_that_is_away_ends_the_waiting() -> None:
    clock = ManualClock()

    def judge() -> Judged:
        raise BrokerError("away")

    with pytest.raises(BrokerError, match="away"):
        promotion_wait.judged(judge, 60, clock, pytest.fail)
