"""Keep-warm runs: only after idling for so long."""

import pytest
from manual_clock import ManualClock
from tickcast.keep_warm import KeepWarm


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def runs():
    return []


def test_an_idle_loop_runs_once_per_interval(clock, runs):
    warm = KeepWarm(lambda: runs.append(clock.monotonic_ns()), 100, clock)
    for _ in range(30):
        clock.advance(0.01)
        warm.turn(worked=False)
    assert len(runs) == 3


def test_a_busy_loop_makes_no_runs_of_its_own(clock, runs):
    warm = KeepWarm(lambda: runs.append(1), 100, clock)
    for _ in range(30):
        clock.advance(0.05)
        warm.turn(worked=True)
        clock.advance(0.05)
        warm.turn(worked=False)
    assert runs == []


def test_zero_is_never(clock, runs):
    warm = KeepWarm(lambda: runs.append(1), 0, clock)
    clock.advance(1_000.0)
    warm.turn(worked=False)
    assert runs == []
