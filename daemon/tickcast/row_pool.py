"""The feature rows of every window, in one array: any set of windows, of any partitions, is one gather.

Stage `windows.push` of the way of a tick. A window has a slot of `window` rows, written as a ring. Slots are handed out
with a window's first row and come back when the last reference to the window goes, so that a row decided just before
its symbol was forgotten can never be written into another symbol's slot.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tickcast.windows import Row, SymbolWindow

SLOTS_MIN = 64
# Growing copies everything: by half each time, a symbol's rows are copied twice in the long run.
GROWTH = 1.5

Rows = NDArray[np.float32]


class RowPool:
    """Rings of rows, [slots * window, features] float32. Not thread-safe."""

    def __init__(self, window: int, features: int) -> None:
        self.features = features
        self._window = window
        self._rows: Rows = np.empty((SLOTS_MIN * window, features), np.float32)
        self.seated = np.zeros(SLOTS_MIN, np.int64)  # [slots]: how often each was given to a window
        self._free = list(range(SLOTS_MIN - 1, -1, -1))
        self._release = self._free.append  # given to each window: called when nobody refers to it any more
        # [window, window]: at a ring's index of the newest row, the indices of all rows, oldest first.
        self._order = (np.arange(window)[:, None] + 1 + np.arange(window)) % window

    @property
    def slots(self) -> int:
        """How many windows there is room for."""
        return len(self._rows) // self._window

    def push(self, rows: Sequence[Row], features: Rows) -> None:
        """Write the feature rows [rows, features] of `rows`, in the order they were decided."""
        slots, positions = self._places(rows)
        self._rows[slots * self._window + positions % self._window] = features

    def push_and_gather(self, rows: Sequence[Row], features: Rows, wanted: Sequence[int]) -> Rows:
        """As `push`; and the windows [wanted, window, features] that end with those of `rows` that `wanted` lists.

        A window that ends with an earlier row of a symbol is gathered as it was then.
        """
        slots, positions = self._places(rows)
        asked = np.array(wanted, np.intp)
        places = slots * self._window + positions % self._window
        if len(set(slots.tolist())) == len(slots):
            self._rows[places] = features
            return self._gather(slots[asked], positions[asked])
        windows = self._gather(slots[asked], positions[asked])
        _overlay(windows, features, slots, positions, asked)
        self._rows[places] = features  # where a ring is written over several times, numpy keeps the last
        return windows

    def ending_with(self, rows: Sequence[Row]) -> Rows:
        """The windows [rows, window, features] that end with `rows`, each the newest that was pushed of its window."""
        return self._gather(*self._places(rows))

    def newest(self, windows: Sequence[SymbolWindow], count: int) -> Rows:
        """The newest `count` rows of each window: [windows, count, features], oldest first."""
        slots = np.array([window.slot for window in windows], np.intp)
        positions = np.array([window.sequence - 1 for window in windows], np.intp)
        return self._gather(slots, positions, self._window - count)

    def _gather(self, slots: NDArray[np.intp], positions: NDArray[np.intp], skip: int = 0) -> Rows:
        indices = self._order[positions % self._window, skip:] + (slots * self._window)[:, None]
        return self._rows.take(indices, axis=0)

    def seat(self, window: SymbolWindow) -> None:
        """Give `window` a slot, if it has none yet."""
        if window.slot < 0:
            self._seat(window)

    def _places(self, rows: Sequence[Row]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Slot and position of each row."""
        for row in rows:
            if row.window.slot < 0:  # here too: a call for each row would cost more than all else
                self._seat(row.window)
        return np.array([row.window.slot for row in rows], np.intp), np.array([row.position for row in rows], np.intp)

    def _seat(self, window: SymbolWindow) -> None:
        if not self._free:
            self._grow()
        window.slot = self._free.pop()
        window.release = self._release
        self.seated[window.slot] += 1
        self._rows[window.slot * self._window : (window.slot + 1) * self._window] = 0.0

    def _grow(self) -> None:
        before = self.slots
        after = int(before * GROWTH)
        rows: Rows = np.empty((after * self._window, self._rows.shape[1]), np.float32)
        rows[: len(self._rows)] = self._rows
        self._rows = rows
        self.seated = np.concatenate([self.seated, np.zeros(after - before, np.int64)])
        self._free.extend(range(after - 1, before - 1, -1))


def _overlay(
    windows: Rows, features: Rows, slots: NDArray[np.intp], positions: NDArray[np.intp], asked: NDArray[np.intp]
) -> None:
    """Write into gathered `windows` [asked, window, features] those rows that were decided together with them.

    Sorted by slot, a symbol's rows lie beside each other with ascending positions, one apart.
    """
    order = np.argsort(slots, kind="stable")
    begin = np.searchsorted(slots, slots[asked], sorter=order)  # of each asked row's symbol, in that order
    first = positions[order][begin]
    window = windows.shape[1]
    behind = (positions[asked] - first)[:, None] - np.arange(window - 1, -1, -1)  # [asked, window]: rows after `first`
    together = behind >= 0
    windows[together] = features[order][(begin[:, None] + behind)[together]]
