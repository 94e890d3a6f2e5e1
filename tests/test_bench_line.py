"""A whole pipeline under a bench's load: every tick is answered, and its time counts from its arrival."""

from collections.abc import Iterator

import numpy as np
import pytest
from tickcast import bundle
from tickcast.bench_line import Line, Run
from tickcast.bench_load import SimulatedFeed, poisson
from tickcast.clock import SystemClock
from tickcast.config import InferenceConfig

pytestmark = pytest.mark.slow

SYMBOLS, TICKS = 3, 60
STALL_NS = 50_000_000
CPU = InferenceConfig(provider="cpu")


@pytest.fixture
def line(exported) -> Iterator[Line]:
    """One that is filled."""
    made = _line(exported, CPU)
    yield made
    made.close()


def _line(exported, inference: InferenceConfig) -> Line:
    loaded = bundle.load(exported("stacked").bundle)
    feed = SimulatedFeed(loaded.manifest.record_columns, SYMBOLS, seed=1)
    made = Line(loaded, inference, feed, False, SystemClock())
    made.fill()
    return made


def _saturated(line: Line, ticks: int = TICKS) -> Run:
    return line.run(line.feed.take(ticks), np.zeros(ticks, np.int64), watched=True)


def test_the_fill_is_silent_and_every_tick_after_it_is_answered(line):
    assert line.symbols == SYMBOLS
    run = _saturated(line)
    assert run.ticks == len(run.latencies_s) == len(run.paths) == TICKS
    assert sum(turn.end - turn.first for turn in run.turns) == TICKS


def test_processor_time_in_the_sessions_is_a_part_of_all(line):
    run = _saturated(line, 1_000)
    assert run.session_runs > 0
    assert 0 < run.sessions_cpu_s < run.cpu_s


def test_a_settled_line_answers_by_the_finish_path(line):
    _saturated(line)
    line.settle()
    ticks = line.feed.take(1)
    run = line.run(ticks, np.zeros(1, np.int64))
    assert run.paths.tolist() == ["finish"]
    (turn,) = run.turns
    assert {"decode", "run", "encode", "produce"} <= turn.stages.keys()


def test_without_the_finish_path_every_answer_is_the_window_graph_s(exported):
    line = _line(exported, InferenceConfig(provider="cpu", finish_path=False))
    _saturated(line)
    line.settle()
    run = line.run(line.feed.take(5), poisson(1_000.0, 5, seed=1))
    assert set(run.paths) == {"window"}
    line.close()


def test_a_stalled_loop_shows_in_the_latencies_of_ticks_that_came_meanwhile(line, monkeypatch):
    """Open loop: the arrivals are set, whatever the loop does."""
    _saturated(line)
    clock = SystemClock()
    monkeypatch.setattr(line, "_turn", _stalled_once(line._turn, clock))
    run = line.run(line.feed.take(4), np.array([0, 1, 2, STALL_NS // 2], np.int64))
    assert run.latencies_s.min() >= STALL_NS / 2 / 1e9
    assert run.waits_s.min() >= STALL_NS / 2 / 1e9 - 0.003  # less the lead before the first arrival


def _stalled_once(turn, clock):
    """Busy before the first turn for as long as `STALL_NS`."""
    left = [STALL_NS]

    def stalled():
        if left:
            until_ns = clock.monotonic_ns() + left.pop() + 3_000_000
            while clock.monotonic_ns() < until_ns:
                pass
        turn()

    return stalled
