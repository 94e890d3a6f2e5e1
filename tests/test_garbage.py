"""Collections are timed between start and stop, and what lives at the start is frozen."""

import gc

from manual_clock import ManualClock
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.garbage import GarbageWatch


def test_collections_are_observed_only_while_watched() -> None:
    clock = ManualClock()
    board = Board.create(clock)
    watch = GarbageWatch(board.histogram("tickcast_gc_pause_seconds"), clock)
    gc.disable()
    try:
        watch.start()
        frozen = gc.get_freeze_count()
        gc.collect()
        gc.collect()
        watch.stop()
        gc.collect()
    finally:
        gc.enable()
    values = [
        sample.values for sample in BoardReader(board.fd).samples() if sample.metric.name == "tickcast_gc_pause_seconds"
    ]
    board.close()
    assert sum(values[0][:-1]) == 2.0
    assert gc.get_freeze_count() < frozen
