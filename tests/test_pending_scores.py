"""Forecasts that wait for their tick go with their partition: saved in one process, scored in another."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given, settings
from hypothesis import strategies as st
from manual_clock import ManualClock
from tickcast import pending_scores
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.manifest import WindowRules
from tickcast.scores import SYMBOLS_MAX, Scores
from tickcast.windows import SymbolWindow, Tick

HORIZONS = (1, 3)
SLOTS = 8
SYMBOLS = "ABC"

# A symbol's next row: of which symbol, how many of its rows fill no window before it, and its mid.
steps = st.lists(
    st.tuples(st.sampled_from(SYMBOLS), st.sampled_from([0, 0, 0, 0, 4]), st.integers(-8, 8).map(float)), max_size=40
)


class Side:
    """One process: its scores, its windows, in slots and at positions of its own."""

    def __init__(self, slots: str, sequence: int = 0, bundle: str = "") -> None:
        self.board = Board.create(ManualClock())
        rows = SimpleNamespace(slots=SLOTS, seated=np.ones(SLOTS, np.int64))
        manifest = manifest_with(
            columns=("bid", "ask"),
            reference_columns=("bid", "ask"),
            horizons=HORIZONS,
            rules=WindowRules(window=4),
            content_sha256=bundle,
        )
        self.scores = Scores(self.board, manifest, rows)  # type: ignore[arg-type]  # it looks at who sits where
        self.windows: dict[str, SymbolWindow] = {}
        for slot, symbol in enumerate(slots):
            window = self.windows[symbol] = SymbolWindow(0, Tick(0, symbol, 0, ()))
            window.slot, window.sequence = slot, sequence

    def take(self, symbol: str, skipped: int, mid: float, offset: int) -> None:
        """The next row that fills the window."""
        window = self.windows[symbol]
        window.sequence += 1 + skipped
        window.sampled = Tick(offset, symbol, 0, ())
        made = np.array([[offset / 7, -offset / 3]], np.float32)
        self.scores.add(np.array([window.slot]), np.array([window.sequence - 1]), np.array([mid]), made)

    def stand_as(self, other: "Side") -> None:
        """The windows hold the same ticks, as a rebuild makes them."""
        for symbol, window in self.windows.items():
            window.sampled = other.windows[symbol].sampled

    def totals(self) -> dict[tuple[str, ...], float]:
        """Every counter of the scores."""
        samples = BoardReader(self.board.fd).samples()
        return {(each.metric.name, *each.labels): each.values[0] for each in samples if "horizon" in each.metric.labels}


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    pair = Side("ABC", 10), Side("CAB", 3)
    yield pair
    for side in pair:
        side.board.close()


@settings(max_examples=40, deadline=None)
@given(steps, steps)
def test_what_is_saved_and_restored_goes_on_as_if_nothing_had_been(
    before: list[tuple[str, int, float]], after: list[tuple[str, int, float]]
) -> None:
    undisturbed, restored = Side("ABC", 10), Side("CAB", 3)
    for offset, (symbol, skipped, mid) in enumerate(before):
        undisturbed.take(symbol, skipped, mid, offset)
    restored.stand_as(undisturbed)
    earlier = undisturbed.totals()
    saved = pending_scores.save(undisturbed.scores, undisturbed.windows)
    assert pending_scores.restore(restored.scores, saved, restored.windows) == len({symbol for symbol, *_ in before})
    assert pending_scores.save(restored.scores, {each: restored.windows[each] for each in undisturbed.windows}) == saved
    for offset, (symbol, skipped, mid) in enumerate(after, len(before)):
        for side in (undisturbed, restored):
            side.take(symbol, skipped, mid, offset)
    gained = {key: value - earlier.get(key, 0.0) for key, value in undisturbed.totals().items()}
    assert {key: value for key, value in gained.items() if value} == pytest.approx(
        {key: value for key, value in restored.totals().items() if value}
    )
    for side in (undisturbed, restored):
        side.board.close()


def test_a_window_that_ends_with_another_tick_begins_anew(sides: tuple[Side, Side]) -> None:
    source, target = sides
    for offset in range(5):
        source.take("A", 0, float(offset), offset)
        source.take("B", 0, float(offset), 100 + offset)
    saved = pending_scores.save(source.scores, source.windows)
    target.stand_as(source)
    target.windows["A"].sampled = Tick(77, "A", 0, ())
    assert pending_scores.restore(target.scores, saved, target.windows) == 1
    for symbol, offset in (("A", 78), ("B", 105)):
        target.take(symbol, 0, 9.0, offset)
    assert target.totals()["tickcast_forecasts_scored_total", "1"] == 1.0


def test_only_the_symbols_of_the_partition_are_saved(sides: tuple[Side, Side]) -> None:
    source, target = sides
    for offset, symbol in enumerate(SYMBOLS):
        source.take(symbol, 0, 1.0, offset)
    target.stand_as(source)
    saved = pending_scores.save(source.scores, {"B": source.windows["B"]})
    assert pending_scores.restore(target.scores, saved, target.windows) == 1


def test_a_symbol_after_a_cut_has_nothing_that_waits(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    source.windows["A"].cut()
    saved = pending_scores.save(source.scores, source.windows)
    assert pending_scores.restore(target.scores, saved, target.windows) == 0


def test_a_slot_of_somebody_else_meanwhile_is_not_saved(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    source.scores._rows.seated[source.windows["A"].slot] += 1
    target.stand_as(source)
    assert (
        pending_scores.restore(target.scores, pending_scores.save(source.scores, source.windows), target.windows) == 0
    )


def test_a_symbol_beyond_those_that_are_scored_is_left_out(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    target.stand_as(source)
    target.windows["A"].slot = SYMBOLS_MAX
    assert (
        pending_scores.restore(target.scores, pending_scores.save(source.scores, source.windows), target.windows) == 0
    )


def _changed(saved: bytes, at: int) -> bytes:
    return saved[:at] + bytes([saved[at] ^ 0x15]) + saved[at + 1 :]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_damage_is_refused_or_harmless(at: int, cut: int) -> None:
    source, target = Side("ABC", 10), Side("CAB", 3)
    source.take("A", 0, 1.0, 0)
    target.stand_as(source)
    saved = pending_scores.save(source.scores, source.windows)
    for damaged in (_changed(saved, at % len(saved)), saved[: cut % len(saved)]):
        with contextlib.suppress(ValueError):
            pending_scores.restore(target.scores, damaged, target.windows)
        target.take("A", 0, 2.0, 1)
    assert all(np.isfinite(value) for value in target.totals().values())
    for side in (source, target):
        side.board.close()


def test_another_bundle_s_forecasts_are_refused(sides: tuple[Side, Side]) -> None:
    source, _ = sides
    source.take("A", 0, 1.0, 0)
    other = Side("ABC", bundle="f" * 64)
    with pytest.raises(ValueError, match="another bundle"):
        pending_scores.restore(other.scores, pending_scores.save(source.scores, source.windows), other.windows)
    other.board.close()
