"""What the loop writes on the board is what a reader finds there."""

import bisect
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from manual_clock import ManualClock
from tickcast import board_reader as layout
from tickcast.board import SLOTS_MAX, Board
from tickcast.board_reader import BoardReader
from tickcast.metrics import BOUNDS_S, METRICS

SECONDS = strategies.floats(0.0, 100.0) | strategies.sampled_from(BOUNDS_S)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create(ManualClock())
    yield board
    board.close()


def read(reader: BoardReader, name: str, *labels: str) -> list[float] | None:
    """The series' values, None where it is absent."""
    found = [
        list(sample.values) for sample in reader.samples() if (sample.metric.name, sample.labels) == (name, labels)
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_counters_add_up(board: Board) -> None:
    reader = BoardReader(board.fd)
    counter = board.counter("tickcast_ticks_processed_total", topic="ticks")
    for amount in (1, 2, 3.5):
        counter.add(amount)
    assert read(reader, "tickcast_ticks_processed_total", "ticks") == [6.5]


def test_the_same_labels_give_the_same_series(board: Board) -> None:
    board.counter("tickcast_ticks_processed_total", topic="ticks").add()
    board.counter("tickcast_ticks_processed_total", topic="ticks").add()
    board.counter("tickcast_ticks_processed_total", topic="other").add()
    reader = BoardReader(board.fd)
    assert read(reader, "tickcast_ticks_processed_total", "ticks") == [2.0]
    assert read(reader, "tickcast_ticks_processed_total", "other") == [1.0]


def test_counters_known_beforehand_start_at_zero_and_gauges_are_absent_until_set(board: Board) -> None:
    reader = BoardReader(board.fd)
    gauge = board.gauge("tickcast_symbols")
    assert read(reader, "tickcast_dead_letters_total", "undecodable") == [0.0]
    assert read(reader, "tickcast_symbols") is None
    gauge.set(7)
    assert read(reader, "tickcast_symbols") == [7.0]


def test_a_partition_given_away_leaves_no_stale_lag(board: Board) -> None:
    reader = BoardReader(board.fd)
    lag = board.gauge("tickcast_lag_records", topic="ticks", partition="3")
    lag.set(500)
    lag.clear()
    assert read(reader, "tickcast_lag_records", "ticks", "3") is None
    board.gauge("tickcast_lag_records", topic="ticks", partition="3").set(4)
    assert read(reader, "tickcast_lag_records", "ticks", "3") == [4.0]


def test_a_label_may_be_called_name(board: Board) -> None:
    board.gauge("tickcast_model_info", name="fx", version="1", sha256="ab", family="additive").set(1)
    assert read(BoardReader(board.fd), "tickcast_model_info", "fx", "1", "ab", "additive") == [1.0]


@pytest.mark.parametrize("name", ["tickcast_nothing_total", "tickcast_symbols"])
def test_unknown_metrics_and_other_kinds_are_refused(board: Board, name: str) -> None:
    with pytest.raises(ValueError, match=f"there is no counter {name}"):
        board.counter(name)


@given(strategies.lists(strategies.lists(SECONDS, max_size=60), max_size=5))
@settings(deadline=None, max_examples=60)
def test_histogram_counts_equal_a_plain_reference(batches: list[list[float]]) -> None:
    board = Board.create(ManualClock())
    histogram = board.histogram("tickcast_received_to_handed_seconds")
    counts = [0] * (len(BOUNDS_S) + 1)
    for batch in batches:
        histogram.observe(np.array(batch, np.float64))
        for value in batch:
            counts[next((place for place, bound in enumerate(BOUNDS_S) if value <= bound), -1)] += 1
    values = read(BoardReader(board.fd), "tickcast_received_to_handed_seconds")
    board.close()
    assert values is not None
    assert values[:-1] == counts
    assert values[-1] == pytest.approx(sum(map(sum, batches)))


def test_one_value_and_a_batch_fall_into_the_same_bucket(board: Board) -> None:
    one, many = (board.histogram("tickcast_stage_seconds", stage=stage) for stage in ("run", "encode"))
    values = np.repeat(BOUNDS_S, 2)
    for value in values.tolist():
        one.observe_one(value)
    many.observe(values)
    reader = BoardReader(board.fd)
    by_one, by_batch = read(reader, "tickcast_stage_seconds", "run"), read(reader, "tickcast_stage_seconds", "encode")
    assert by_one is not None
    assert by_batch is not None
    assert by_one[:-1] == by_batch[:-1]
    assert by_one[bisect.bisect_left(BOUNDS_S, 1e-3)] == 2.0


def test_negative_wall_latencies_are_counted_and_observed_as_zero(board: Board) -> None:
    reader = BoardReader(board.fd)
    board.wall_latency("event_to_sent").observe([-0.5, -1e-9, 0.0, 0.25])
    values = read(reader, "tickcast_event_to_sent_seconds")
    assert values is not None
    assert values[0] == 3.0
    assert sum(values[:-1]) == 4.0
    assert values[-1] == 0.25
    assert read(reader, "tickcast_negative_latencies_total", "event_to_sent") == [2.0]
    assert read(reader, "tickcast_negative_latencies_total", "kafka_to_sent") == [0.0]


def test_series_without_room_are_dropped_counted_and_harmless() -> None:
    board = Board.create(ManualClock(), slots_max=2_000)
    reader = BoardReader(board.fd)
    asked = 3_000
    for partition in range(asked):
        board.gauge("tickcast_lag_records", topic="ticks", partition=str(partition)).set(partition)
    board.histogram("tickcast_gc_pause_seconds").observe(np.full(100, 1e-3))
    lags = [sample for sample in reader.samples() if sample.metric.name == "tickcast_lag_records"]
    assert [sample.values[0] for sample in lags] == list(range(len(lags)))
    assert read(reader, "tickcast_series_dropped_total") == [asked - len(lags)]
    assert 1_000 < len(lags) < asked
    assert read(reader, "tickcast_commits_total") == [0.0]
    assert read(reader, "tickcast_ready") == [0.0]
    board.close()


def test_a_full_schema_drops_series_too() -> None:
    board = Board.create(ManualClock(), schema_bytes_max=6_000)
    for partition in range(200):
        board.gauge("tickcast_lag_records", topic="t" * 200, partition=str(partition)).set(1)
    reader = BoardReader(board.fd)
    written = sum(sample.metric.name == "tickcast_lag_records" for sample in reader.samples())
    assert 0 < written < 200
    assert read(reader, "tickcast_series_dropped_total") == [200 - written]
    board.close()


def test_a_board_too_small_for_anything_still_counts_what_it_dropped() -> None:
    board = Board.create(ManualClock(), slots_max=layout.SLOT_FREE)
    known = sum(len(list(metric.known_series())) for metric in METRICS.values())
    assert read(BoardReader(board.fd), "tickcast_series_dropped_total") == [known - 1]
    board.close()


def test_series_made_after_the_reader_show_up(board: Board) -> None:
    reader = BoardReader(board.fd)
    before = len(list(reader.samples()))
    board.counter("tickcast_forecasts_expired_total", horizon="1").add(3)
    assert len(list(reader.samples())) == before + 1
    assert read(reader, "tickcast_forecasts_expired_total", "1") == [3.0]


def test_a_line_of_the_schema_that_is_not_wholly_visible_is_read_later(board: Board) -> None:
    reader = BoardReader(board.fd)
    before = len(list(reader.samples()))
    place = layout.schema_offset(SLOTS_MAX) + len(bytes(reader._schema).rstrip(b"\0"))
    board.counter("tickcast_ticks_processed_total", topic="ticks").add(5)
    whole = os.pread(board.fd, 12, place)
    os.pwrite(board.fd, bytes(12), place)
    assert len(list(reader.samples())) == before
    os.pwrite(board.fd, whole, place)
    assert read(reader, "tickcast_ticks_processed_total", "ticks") == [5.0]


def test_detail_is_what_was_set_last(board: Board) -> None:
    reader = BoardReader(board.fd)
    assert reader.detail() == {}
    board.set_detail({"state": "rebuilding", "partitions": {"ticks-0": 12}})
    board.set_detail({"state": "running"})
    assert reader.detail() == {"state": "running"}


def test_a_detail_too_long_names_what_it_leaves_out(board: Board) -> None:
    partitions = {f"ticks-{number}": number for number in range(1_000)}
    board.set_detail({"state": "rebuilding", "partitions": partitions, "assigned": 1_000})
    assert BoardReader(board.fd).detail() == {"state": "rebuilding", "assigned": 1_000, "left_out": ["partitions"]}


def test_a_detail_caught_half_written_gives_the_one_before(board: Board) -> None:
    reader = BoardReader(board.fd)
    board.set_detail({"state": "running"})
    assert reader.detail() == {"state": "running"}
    os.pwrite(board.fd, b'{"state":"dra', layout.DETAIL_OFFSET)
    assert reader.detail() == {"state": "running"}


def test_readiness_and_the_last_turn_are_on_the_board() -> None:
    clock = ManualClock(monotonic_ns=5_000_000_000)
    board = Board.create(clock)
    reader = BoardReader(board.fd)
    assert (reader.turn_s(), reader.ready()) == (5.0, False)
    clock.advance(1.5)
    board.turn(clock.monotonic_ns())
    board.set_ready(True)
    assert (reader.turn_s(), reader.ready()) == (6.5, True)
    assert read(reader, "tickcast_ready") == [1.0]
    board.close()


def test_memory_of_something_else_is_no_board() -> None:
    fd = os.memfd_create("other")
    os.ftruncate(fd, 65_536)
    with pytest.raises(ValueError, match="not a board of this version"):
        BoardReader(fd)
    os.close(fd)


def test_no_holder_can_resize_the_board(board: Board) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(board.fd, 64)


def test_another_process_reads_the_board_without_numpy(board: Board) -> None:
    board.counter("tickcast_ticks_processed_total", topic="ticks").add(42)
    script = (
        "import json, sys; from tickcast.board_reader import BoardReader\n"
        "samples = BoardReader(int(sys.argv[1])).samples()\n"
        "found = {sample.metric.name: list(sample.values) for sample in samples if 'ticks' in sample.labels}\n"
        "print(json.dumps([found, 'numpy' in sys.modules]))"
    )
    command = [sys.executable, "-c", script, str(board.fd)]
    done = subprocess.run(command, pass_fds=(board.fd,), capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [{"tickcast_ticks_processed_total": [42.0]}, False]
