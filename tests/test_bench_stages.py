"""Stage times as the pipeline books them: exact beside the histograms, and the histograms as ever."""

import pytest
from manual_clock import ManualClock
from tickcast.bench_stages import METRIC, StageBoard
from tickcast.board_reader import BoardReader
from tickcast.instruments import StageTimer


def test_what_the_pipeline_books_is_noted_exactly_and_counted_as_ever():
    clock = ManualClock()
    board = StageBoard.create(clock)
    timer = StageTimer(board, clock)
    timer.start()
    clock.advance(31e-6)
    timer.mark("decode")
    clock.advance(11e-6)
    timer.mark("run")
    clock.advance(7e-6)
    timer.mark("run")
    timer.book()
    assert board.spent == pytest.approx({"decode": 31e-6, "run": 18e-6})
    sums = {s.labels: s.values[-1] for s in BoardReader(board.fd).samples() if s.metric.name == METRIC}
    assert sums["run",] == pytest.approx(18e-6)
    board.spent.clear()
    timer.mark("encode")
    timer.book()
    assert board.spent == {"encode": 0.0}  # a stage is booked once
    board.close()
