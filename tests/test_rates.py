"""What two looks at a board come to."""

from collections.abc import Iterator

import numpy as np
import pytest
from manual_clock import ManualClock
from tickcast.board import Board
from tickcast.board_looks import BoardLooks
from tickcast.board_reader import BoardReader
from tickcast.metrics import BOUNDS_S
from tickcast.rates import Interval, Look, max_bound_s, quantile_s

NAMES = {"tickcast_ticks_processed_total", "tickcast_lag_records", "tickcast_received_to_handed_seconds"}


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create(ManualClock())
    yield board
    board.close()


def _counts(*seconds: float) -> list[float]:
    """Of a histogram that has seen these values."""
    counts = [0.0] * (len(BOUNDS_S) + 1)
    for bucket in np.searchsorted(BOUNDS_S, seconds):
        counts[bucket] += 1
    return counts


def test_a_rate_is_what_was_counted_between_two_looks_over_all_labels(board: Board) -> None:
    reader = BoardReader(board.fd)
    board.counter("tickcast_ticks_processed_total", topic="a").add(100)
    before = Look.at(reader, NAMES, 10.0)
    board.counter("tickcast_ticks_processed_total", topic="a").add(30)
    board.counter("tickcast_ticks_processed_total", topic="b").add(20)
    interval = Interval(before, Look.at(reader, NAMES, 12.0))
    assert interval.per_s("tickcast_ticks_processed_total") == 25.0
    assert interval.increases("tickcast_ticks_processed_total", "topic") == {"a": 30.0, "b": 20.0}


def test_no_time_between_two_looks_is_no_rate(board: Board) -> None:
    look = Look.at(BoardReader(board.fd), NAMES, 10.0)
    assert Interval(look, look).per_s("tickcast_ticks_processed_total") is None


def test_what_is_not_set_is_not_known_rather_than_zero(board: Board) -> None:
    reader = BoardReader(board.fd)
    assert Look.at(reader, NAMES, 0.0).total("tickcast_lag_records") is None
    board.gauge("tickcast_lag_records", topic="a", partition="0").set(3)
    board.gauge("tickcast_lag_records", topic="a", partition="1").set(4)
    assert Look.at(reader, NAMES, 0.0).total("tickcast_lag_records") == 7


def test_quantiles_are_of_what_happened_between_the_looks(board: Board) -> None:
    reader = BoardReader(board.fd)
    histogram = board.histogram("tickcast_received_to_handed_seconds")
    histogram.observe(np.full(1_000, 1.0))
    before = Look.at(reader, NAMES, 0.0)
    histogram.observe(np.full(90, 40e-6))
    histogram.observe(np.full(10, 4e-3))
    counts = Interval(before, Look.at(reader, NAMES, 1.0)).counts("tickcast_received_to_handed_seconds")
    assert sum(counts) == 100
    assert 30e-6 < (quantile_s(counts, 0.5) or 0) <= 50e-6
    assert 3e-3 < (quantile_s(counts, 0.99) or 0) <= 5e-3
    assert max_bound_s(counts) == 5e-3


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(share: float) -> None:
    seconds = np.sort(np.random.default_rng(3).lognormal(np.log(1e-4), 1.0, 2_000))
    exact = float(seconds[max(0, int(np.ceil(share * len(seconds))) - 1)])
    found = quantile_s(_counts(*seconds), share)
    bucket = int(np.searchsorted(BOUNDS_S, exact))
    assert found is not None
    assert (BOUNDS_S[bucket - 1] if bucket else 0.0) <= found <= BOUNDS_S[bucket]


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_s([], 0.5) is None
    assert quantile_s(_counts(), 0.5) is None
    assert max_bound_s(_counts()) is None


def test_beyond_the_last_bound_only_that_is_known() -> None:
    assert quantile_s(_counts(99.0), 0.5) == BOUNDS_S[-1]
    assert max_bound_s(_counts(99.0)) is None


def test_the_history_of_latencies_has_a_point_every_two_seconds_and_gaps_where_nothing_was_handed_over(
    board: Board,
) -> None:
    looks = BoardLooks(BoardReader(board.fd))
    histogram = board.histogram("tickcast_received_to_handed_seconds")
    for second in range(7):
        if second < 4:
            histogram.observe(np.full(8, 40e-6))
        looks.turn(second + 0.0, second * 1_000)
        looks.turn(second + 0.5, second * 1_000 + 500)
    assert [point.wall_ms for point in looks.latencies] == [2_000, 4_000, 6_000]
    assert [point.p50_s is None for point in looks.latencies] == [False, False, True]


def test_an_hour_of_looks_is_not_kept(board: Board) -> None:
    looks = BoardLooks(BoardReader(board.fd))
    for second in range(3_600):
        looks.turn(float(second), second * 1_000)
    assert len(looks.latencies) == 150
    assert looks.recent is not None
    assert looks.recent.seconds == 5.0
    assert looks.far is not None
    assert 290 <= looks.far.seconds <= 310
