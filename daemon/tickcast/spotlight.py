"""The symbol that somebody looks at: which rows of its window the newest forecast leaned on.

Beside the way of a tick: one run of the window graph a second, only while somebody looks, and between two turns.
"""

import math
from collections.abc import Iterable, Sequence

from tickcast.answering import Answering
from tickcast.clock import Clock
from tickcast.model import Model, Models
from tickcast.partition_state import PartitionState
from tickcast.tape import Tape
from tickcast.windows import SymbolWindow
from tickcast.wish import Wish

INTERVAL_NS = 1_000_000_000
# Of a longer window there is no room for the weights on the tape, nor on a screen.
ROWS_MAX = 4_096
# Ticks wait for the run: they are what the loop is for.
RUN_S_MAX = 0.05


class Spotlight:
    """Answers the wish with attention weights on the tape."""

    def __init__(self, wish: Wish, tape: Tape, clock: Clock) -> None:
        self._wish = wish
        self._tape = tape
        self._clock = clock
        self._due_ns = 0

    def turn(self, models: Models, answerings: Sequence[Answering], states: Iterable[PartitionState]) -> None:
        """If it is time and somebody looks: say what the symbol's window leans on, or why that is not known.

        `answerings` are those of `models`, in their order.
        """
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + INTERVAL_NS
        if symbol := self._wish.asked(now_ns):
            self._tape.set_attention({"symbol": symbol, **_told(symbol, models, answerings, states)})


def _told(
    symbol: str, models: Models, answerings: Sequence[Answering], states: Iterable[PartitionState]
) -> dict[str, object]:
    place = models.route(symbol)
    if place < 0:
        return {"reason": "no model answers it"}
    model = models.each[place]
    length = model.manifest.rules.window
    if reason := _hindrance(model, length):
        return {"reason": reason}
    window = _window(symbol, place, states)
    if window is None:
        return {"reason": "its window is not full"}
    [weights] = model.engine.attention(answerings[place].rows.newest([window], length)).tolist()
    if not all(map(math.isfinite, weights)):
        return {"reason": "its weights are not finite"}
    return {
        "weights": [round(weight, 6) for weight in weights],  # oldest row first
        "position": window.sequence - 1,
        "event_time_ns": window.sampled.event_time_ns if window.sampled is not None else None,
    }


def _hindrance(model: Model, length: int) -> str:
    """Why no symbol's attention can be shown; empty where it can."""
    if not model.manifest.attention:
        return "the model has no attention"
    if model.carried is not None:
        return "carried forecasts lean on more than a window"
    if length > ROWS_MAX:
        return f"a window of {length:,} rows is too long to be shown"
    run_s = model.engine.costs.window_s(1)
    return f"it would hold up ticks for {run_s:.2g} s" if run_s > RUN_S_MAX else ""


def _window(symbol: str, place: int, states: Iterable[PartitionState]) -> SymbolWindow | None:
    """The symbol's window, where it is full and all of it stands: not while it is read back."""
    for state in states:
        window = None if state.rebuilding else state.windows.by_model[place].full(symbol)
        if window is not None:
            return window
    return None
