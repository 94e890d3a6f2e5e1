"""The moving window of raw columns against plain lists, and what becomes of it when partitions come and go."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given, settings
from hypothesis import strategies as st
from manual_clock import ManualClock
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.clients import Partition
from tickcast.drift import BLOCK_TICKS, BLOCKS, COUNTED_MIN, EVERY, Drift
from tickcast.drift_reference import Reference
from tickcast.manifest import Manifest
from tickcast.windows import Row, SymbolWindow, Tick, Values

ONE, OTHER = Partition("ticks", 0), Partition("ticks", 1)
NUMBERS = tuple(np.linspace(0, 1, 21))
MANIFEST = manifest_with(columns=("bid", "size"), reference_quantiles={"bid": NUMBERS, "size": NUMBERS})
WINDOW = BLOCKS * BLOCK_TICKS

NO_WINDOW = SymbolWindow(0, Tick(0, "A", 0, ()))

# How many ticks come next, of which partition.
arrivals = st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.integers(1, 9_000)), min_size=1, max_size=8)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create(ManualClock())
    yield board
    board.close()


def _rows(values: Sequence[Values]) -> list[Row]:
    return [Row(NO_WINDOW, 0, NO_WINDOW.previous, each, each, True) for each in values]


def _numbers(count: int, seed: int = 0) -> list[Values]:
    return [tuple(each) for each in np.random.default_rng(seed).random((count, 2)).tolist()]


def _shown(board: Board) -> dict[str, float]:
    """Column -> its index, and `ticks`."""
    samples = [each for each in BoardReader(board.fd).samples() if "feature_drift" in each.metric.name]
    return {
        "ticks" if each.metric.name.endswith("_ticks") else each.labels[1]: each.values[0]
        for each in samples
        if np.isfinite(each.values[0])
    }


def _feed(drift: Drift, partition: Partition, values: Sequence[Values], at_once: int = 300) -> None:
    for begin in range(0, len(values), at_once):
        part = values[begin : begin + at_once]
        drift.add([partition] * len(part), _rows(part))


def _held(values: Sequence[Values]) -> list[Values]:
    """Those of a partition's ticks that the window counts."""
    begun = max(0, (len(values) - 1) // BLOCK_TICKS - BLOCKS + 1) * BLOCK_TICKS
    return list(values[begun::EVERY])


def _index(values: Sequence[Values]) -> list[float]:
    reference = Reference(MANIFEST)
    counts = np.bincount(reference.cells_of(np.array(values).T).ravel(), minlength=reference.cells)
    return reference.psi(counts)


@settings(max_examples=12, deadline=None)
@given(arrivals, st.sampled_from([1, 50, 700, 10_000]))
def test_the_window_is_the_newest_ticks_however_they_are_handed_over(
    given_arrivals: list[tuple[Partition, int]], at_once: int
) -> None:
    board = Board.create(ManualClock())
    drift = Drift(board, MANIFEST)
    seen: dict[Partition, list[Values]] = {ONE: [], OTHER: []}
    every = iter(_numbers(sum(count for _, count in given_arrivals) // 10 * 10 + 10))
    for partition, count in given_arrivals:
        values = [next(every) for _ in range(max(1, count // 10))] * 10
        seen[partition] += values
        _feed(drift, partition, values, at_once)
    drift._show()
    held = [value for values in seen.values() for value in _held(values)]
    shown = _shown(board)
    board.close()
    if len(held) >= COUNTED_MIN + 10:
        assert [shown["bid"], shown["size"]] == pytest.approx(_index(held))
        assert shown["ticks"] == pytest.approx(EVERY * len(held), abs=2 * EVERY)


def test_what_left_the_window_counts_no_more(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    _feed(drift, ONE, [(2.0, 0.5)] * 1_000 * EVERY)
    assert _shown(board)["bid"] > 1
    _feed(drift, ONE, _numbers(WINDOW))
    shown = _shown(board)
    assert shown["bid"] < 0.05
    assert WINDOW - BLOCK_TICKS <= shown["ticks"] <= WINDOW


def test_too_few_ticks_show_nothing_yet(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    _feed(drift, ONE, _numbers(COUNTED_MIN * EVERY - 10))
    assert _shown(board) == {}
    _feed(drift, ONE, _numbers(100))
    assert _shown(board).keys() == {"bid", "size", "ticks"}


def test_a_partition_that_left_takes_its_ticks_along(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    _feed(drift, ONE, [(2.0, 2.0)] * 5_000)
    _feed(drift, OTHER, _numbers(6_000))
    assert _shown(board)["size"] > 0.25
    drift.keep([OTHER])
    assert _shown(board)["size"] < 0.05
    assert _shown(board)["ticks"] == 6_000
    drift.keep([])
    assert _shown(board) == {}


def test_a_partition_takes_the_place_of_one_that_left(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    for number in range(50):
        drift.keep([])
        _feed(drift, Partition("ticks", number), [(2.0, 2.0)] * 100)
    assert len(drift._counts) == 1


@settings(max_examples=12, deadline=None)
@given(arrivals, arrivals)
def test_what_is_saved_and_restored_goes_on_as_if_nothing_had_been(
    before: list[tuple[Partition, int]], after: list[tuple[Partition, int]]
) -> None:
    boards = Board.create(ManualClock()), Board.create(ManualClock())
    undisturbed = Drift(boards[0], MANIFEST)
    values = iter(_numbers(9_000 * (len(before) + len(after)) // 10))
    for partition, count in before:
        _feed(undisturbed, partition, [next(values) for _ in range(count // 10 + 1)] * 10)
    restored = Drift(boards[1], MANIFEST)
    _feed(restored, OTHER, [(5.0, 5.0)] * 700)  # of somebody else's time
    for partition in (OTHER, ONE):  # in any order
        restored.restore(partition, undisturbed.save(partition))
    for partition, count in after:
        more = [next(values) for _ in range(count // 10)] * 10
        _feed(undisturbed, partition, more)
        _feed(restored, partition, more, 77)
    assert [restored.save(each) for each in (ONE, OTHER)] == [undisturbed.save(each) for each in (ONE, OTHER)]
    for drift in (undisturbed, restored):
        drift._show()
    assert _shown(boards[1]) == _shown(boards[0])
    for board in boards:
        board.close()


@pytest.mark.parametrize(
    "saved",
    [b"", b"\x00" * 50, Drift.save, lambda drift, partition: drift.save(partition)[:-3]],
    ids=["nothing", "noise", "another reference", "cut short"],
)
def test_what_is_not_its_own_is_refused_and_changes_nothing(board: Board, saved: object) -> None:
    drift = Drift(board, MANIFEST)
    _feed(drift, ONE, _numbers(3_000))
    as_it_was = drift.save(ONE)
    another = Drift(board, manifest_with(columns=("bid",), reference_quantiles={"bid": NUMBERS}))
    source = another if saved is Drift.save else drift
    with pytest.raises(ValueError, match="saved drift"):
        drift.restore(ONE, saved(source, ONE) if callable(saved) else saved)  # type: ignore[arg-type]
    assert drift.save(ONE) == as_it_was


def test_hostile_values_count_or_are_left_out_and_raise_nothing(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    bad = [np.nan, np.inf, -np.inf, 1.7e308, -1.7e308, 5e-324, -0.0]
    _feed(drift, ONE, [(first, second) for first in bad for second in bad] * 50)
    assert all(np.isfinite(value) for value in _shown(board).values())


def test_a_column_of_nan_alone_is_not_shown(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    _feed(drift, ONE, [(np.nan, value) for value, _ in _numbers(2_000)])
    assert _shown(board).keys() == {"size", "ticks"}


def test_columns_without_a_reference_are_not_watched(board: Board) -> None:
    drift = Drift(board, manifest_with(columns=("bid", "ask", "size"), reference_quantiles={"ask": NUMBERS}))
    _feed(drift, ONE, [(9.0, value, 9.0) for value, _ in _numbers(4_000)])
    assert _shown(board).keys() == {"ask", "ticks"}
    assert _shown(board)["ask"] < 0.05


def test_a_bundle_without_a_reference_watches_nothing(board: Board) -> None:
    drift = Drift(board, manifest_with())
    _feed(drift, ONE, _numbers(5_000))
    assert not drift.watches
    assert _shown(board) == {}


def _own_features(manifest: Manifest) -> Manifest:
    graph = manifest.graphs["window"]
    return manifest.model_copy(update={"graphs": {"window": graph, "features": graph}})


@pytest.mark.parametrize("has_own_features", [True, False])
def test_a_price_is_told_from_what_the_model_sees_the_level_of(board: Board, has_own_features: bool) -> None:
    manifest = manifest_with(
        columns=("bid", "size"), reference_columns=("bid",), reference_quantiles={"bid": NUMBERS, "size": NUMBERS}
    )
    drift = Drift(board, _own_features(manifest) if has_own_features else manifest)
    _feed(drift, ONE, _numbers(2_000))
    kinds = {each.labels[1]: each.labels[2] for each in BoardReader(board.fd).samples() if len(each.labels) == 3}
    assert kinds == {"bid": "price" if has_own_features else "input", "size": "input"}


def test_another_bundle_s_gauges_do_not_stay(board: Board) -> None:
    drift = Drift(board, MANIFEST)
    _feed(drift, ONE, _numbers(2_000))
    assert _shown(board)
    drift.close()
    assert _shown(board) == {}
