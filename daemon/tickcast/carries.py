"""Carries prepared before the tick that will use them, in a bounded pool.

A carry is good for exactly one state of a window, named by the window's sequence number; any other takes the window
path. The pool belongs to one engine, so a carry of another bundle cannot be met in it.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from tickcast.engine import Carry, Engine
from tickcast.windows import SymbolWindow

# Wishes are served within the next idle turns; older ones than these are likely overtaken by their symbol's next tick.
WISHES_MAX = 10_000


class _Prepared(NamedTuple):
    sequence: int
    carry: Carry  # arrays [1, ...]


class Carries:
    """The pool, and the list of windows that want a carry."""

    def __init__(self, engine: Engine, bytes_max: int) -> None:
        self._engine = engine
        self._bytes_max = bytes_max
        self._ready: OrderedDict[SymbolWindow, _Prepared] = OrderedDict()
        self._wanted: OrderedDict[SymbolWindow, int] = OrderedDict()  # window -> sequence, oldest wish first

    @property
    def wanted(self) -> int:
        """How many windows wait for a carry."""
        return len(self._wanted)

    def want(self, window: SymbolWindow) -> None:
        """Ask for a carry for the window's next tick. A newer wish replaces the older one.

        While a backlog leaves no time to fulfil any, the oldest wishes go, and with them windows that nobody else
        remembers.
        """
        self._wanted[window] = window.sequence
        self._wanted.move_to_end(window)
        if len(self._wanted) > WISHES_MAX:
            self._wanted.popitem(last=False)

    def take(self, window: SymbolWindow, position: int) -> Carry | None:
        """The carry for the row at `position`, once; None where there is none for just that state."""
        prepared = self._ready.pop(window, None)
        return prepared.carry if prepared is not None and prepared.sequence == position else None

    def prepare(self, windows_max: int) -> int:
        """Run the prefix graph for up to `windows_max` of the windows that want it; returns how many."""
        chosen: list[SymbolWindow] = []
        while self._wanted and len(chosen) < windows_max:
            window, sequence = self._wanted.popitem(last=False)
            if sequence == window.sequence:  # else a tick came meanwhile, and asked again if it wants to
                chosen.append(window)
        if not chosen:
            return 0
        carry = self._engine.prefix(np.stack([window.view(window.sequence - 1)[1:] for window in chosen]))
        for index, window in enumerate(chosen):
            self._keep(window, _Prepared(window.sequence, [part[index : index + 1].copy() for part in carry]))
        return len(chosen)

    def clear(self) -> None:
        """Forget everything: the windows are gone."""
        self._ready.clear()
        self._wanted.clear()

    def _keep(self, window: SymbolWindow, prepared: _Prepared) -> None:
        self._ready[window] = prepared
        self._ready.move_to_end(window)
        carry_bytes = sum(part.nbytes for part in prepared.carry)  # the same for all of a bundle
        while len(self._ready) * carry_bytes > self._bytes_max:
            self._ready.popitem(last=False)
