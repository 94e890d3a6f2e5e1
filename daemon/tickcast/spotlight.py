"""The symbol that somebody looks at: which rows of its window the newest forecast leaned on.

Beside the way of a tick: one run of the window graph a second, only while somebody looks, and between two turns.
"""

from collections.abc import Iterable

from tickcast.clock import Clock
from tickcast.model import Model
from tickcast.partition_state import PartitionState
from tickcast.row_pool import RowPool
from tickcast.tape import Tape
from tickcast.windows import SymbolWindow
from tickcast.wish import Wish

INTERVAL_NS = 1_000_000_000


class Spotlight:
    """Answers the wish with attention weights on the tape."""

    def __init__(self, wish: Wish, tape: Tape, clock: Clock) -> None:
        self._wish = wish
        self._tape = tape
        self._clock = clock
        self._due_ns = 0

    def turn(self, model: Model, rows: RowPool, states: Iterable[PartitionState]) -> None:
        """If it is time and somebody looks: say what the symbol's window leans on, or why that is not known."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + INTERVAL_NS
        if symbol := self._wish.asked(now_ns):
            self._tape.set_attention({"symbol": symbol, **_told(symbol, model, rows, states)})


def _told(symbol: str, model: Model, rows: RowPool, states: Iterable[PartitionState]) -> dict[str, object]:
    if not model.manifest.attention:
        return {"reason": "the model has no attention"}
    window = _window(symbol, states)
    if window is None:
        return {"reason": "its window is not full"}
    length = model.manifest.rules.window
    [weights] = model.engine.attention(rows.newest([window], length)).tolist()
    return {
        "weights": [round(weight, 6) for weight in weights],  # oldest row first
        "position": window.sequence - 1,
        "event_time_ns": window.sampled.event_time_ns if window.sampled is not None else None,
    }


def _window(symbol: str, states: Iterable[PartitionState]) -> SymbolWindow | None:
    """The symbol's window, where it is full and all of it stands: not while it is read back."""
    for state in states:
        window = None if state.rebuilding else state.windows.full(symbol)
        if window is not None:
            return window
    return None
