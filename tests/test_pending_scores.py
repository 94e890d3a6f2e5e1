"""Forecasts that wait for their tick go with their partition: saved in one process, scored in another."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given, settings
from hypothesis import strategies as st
from manual_clock import ManualClock
from numpy.typing import NDArray
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

    def __init__(self, slots: str, sequence: int = 0) -> None:
        self.board = Board.create(ManualClock())
        rows = SimpleNamespace(slots=SLOTS, seated=np.ones(SLOTS, np.int64))
        manifest = manifest_with(
            columns=("bid", "ask"), reference_columns=("bid", "ask"), horizons=HORIZONS, rules=WindowRules(window=4)
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

    def save(self, symbols: str = SYMBOLS) -> dict[str, bytes]:
        """The row of each symbol."""
        rows = np.zeros(len(symbols), pending_scores.dtype_of(self.scores))
        pending_scores.save(self.scores, *self._places(symbols), rows)
        return {symbol: rows[at].tobytes() for at, symbol in enumerate(symbols)}

    def restore(self, saved: dict[str, bytes]) -> None:
        """As another process left it; the windows hold the same ticks, as a rebuild makes them."""
        rows = np.frombuffer(b"".join(saved.values()), pending_scores.dtype_of(self.scores))
        pending_scores.restore(self.scores, *self._places("".join(saved)), rows)

    def _places(self, symbols: str) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        windows = [self.windows[symbol] for symbol in symbols]
        return np.array([window.slot for window in windows]), np.array([window.sequence for window in windows])

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
    earlier = undisturbed.totals()
    saved = undisturbed.save()
    restored.restore(saved)
    assert restored.save() == saved
    for offset, (symbol, skipped, mid) in enumerate(after, len(before)):
        for side in (undisturbed, restored):
            side.take(symbol, skipped, mid, offset)
    gained = {key: value - earlier.get(key, 0.0) for key, value in undisturbed.totals().items()}
    assert {key: value for key, value in gained.items() if value} == pytest.approx(
        {key: value for key, value in restored.totals().items() if value}
    )
    for side in (undisturbed, restored):
        side.board.close()


def scored(side: Side) -> float:
    """How many forecasts for one tick ahead."""
    return side.totals().get(("tickcast_forecasts_scored_total", "1"), 0.0)


def test_what_waits_is_scored_by_who_has_it_restored(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    target.restore(source.save())
    target.take("A", 0, 2.0, 1)
    assert scored(target) == 1


def test_after_a_cut_nothing_waits(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    source.windows["A"].sequence += 1  # a row that fills no window
    target.restore(source.save())
    target.take("A", 0, 2.0, 1)
    assert scored(target) == 0


def test_a_slot_of_somebody_else_meanwhile_is_not_saved(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    source.scores._rows.seated[source.windows["A"].slot] += 1
    target.restore(source.save())
    target.take("A", 0, 2.0, 1)
    assert scored(target) == 0


def test_a_symbol_beyond_those_that_are_scored_is_left_out(sides: tuple[Side, Side]) -> None:
    source, target = sides
    source.take("A", 0, 1.0, 0)
    target.windows["A"].slot = SYMBOLS_MAX
    target.restore(source.save())
    assert len(target.scores.last) == 0


def test_of_an_earlier_run_nothing_is_saved(sides: tuple[Side, Side]) -> None:
    source, target = sides
    for offset in range(3):
        source.take("A", 0, 1.0, offset)
    source.take("A", 4, 1.0, 3)
    target.take("A", 0, 1.0, 3)
    assert source.save("A") == target.save("A")
