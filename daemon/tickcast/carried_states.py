"""Recurrent states that go on from tick to tick, one per symbol, each at its slot.

Stage `engine.run` of the way of a tick in the mode `carried`. A slot's state is only ever what its own ticks made of it
since its anchor: how they came together with others' in one run does not show.
"""

import numpy as np
from numpy.typing import NDArray

from tickcast.carried_engine import STEP_ROWS_MAX, CarriedEngine, Rows

SLOTS_MIN = 64

Slots = NDArray[np.int64]


class CarriedStates:
    """States [slots, state width], and rings [slots * window, item width] where the model attends to the past."""

    def __init__(self, engine: CarriedEngine) -> None:
        self._engine = engine
        self._window = engine.window
        self._steps = np.zeros(0, np.int64)  # since the anchor, modulo window: the item that leaves next
        self._states = np.zeros((0, engine.state_width), np.float32)
        self._items = np.zeros((0, engine.item_width), np.float32)
        self._others = np.arange(1, engine.window)  # items of a ring, counted from the one that leaves

    def anchor(self, slots: Slots, rows: Rows) -> Rows:
        """Start the states at `slots` [n] from exact windows [n, window, features]; forecasts [n, horizons]."""
        self._make_room(int(slots.max()) + 1)
        anchored = self._engine.anchor(rows)
        self._steps[slots] = 0
        self._states[slots] = anchored.states
        if anchored.rings is not None:
            self._rings[slots] = anchored.rings
        return anchored.forecasts

    def step(self, slots: Slots, ticks: NDArray[np.float64]) -> tuple[Rows, Rows]:
        """Take the states at `slots` [n], each once, one tick on by raw pairs [n, 2, columns].

        Returns forecasts [n, horizons] and the ticks' feature rows [n, features].
        """
        if len(slots) <= STEP_ROWS_MAX:
            return self._step(slots, ticks)
        cuts = range(STEP_ROWS_MAX, len(slots), STEP_ROWS_MAX)
        parts = [self._step(*part) for part in zip(np.split(slots, cuts), np.split(ticks, cuts), strict=True)]
        forecasts, rows = zip(*parts, strict=True)
        return np.concatenate(forecasts), np.concatenate(rows)

    def _step(self, slots: Slots, ticks: NDArray[np.float64]) -> tuple[Rows, Rows]:
        engine = self._engine
        at = self._steps.take(slots)
        leaving = slots * self._window + at
        stepped = engine.step(ticks, self._states.take(slots, axis=0), self._stays(leaving, at))
        self._states[slots] = stepped.states
        if stepped.items is not None:
            self._items[leaving] = stepped.items
        at += 1
        full = at == self._window
        if full.any():
            at[full] = 0
            if engine.folds:
                self._fold(slots[full])
        self._steps[slots] = at
        return stepped.forecasts, stepped.rows

    def _stays(self, leaving: Slots, at: Slots) -> Rows | None:
        """What a step reads of each ring, [n, items, item width]: what stays, or its sum in the item that leaves."""
        if self._engine.folds:
            return self._items.take(leaving[:, None], axis=0)
        if not self._engine.item_width:
            return None
        read = (leaving - at)[:, None] + (at[:, None] + self._others) % self._window
        return self._items.take(read, axis=0)

    def _fold(self, slots: Slots) -> None:
        self._states[slots], self._rings[slots] = self._engine.fold(self._states[slots], self._rings[slots])

    @property
    def _rings(self) -> Rows:
        return self._items.reshape(-1, self._window, self._items.shape[1])

    def _make_room(self, slots: int) -> None:
        have = len(self._steps)
        if slots <= have:
            return
        more = max(SLOTS_MIN, 2 * have, slots) - have
        self._steps = np.concatenate([self._steps, np.zeros(more, np.int64)])
        self._states = np.concatenate([self._states, np.zeros((more, self._states.shape[1]), np.float32)])
        if self._engine.item_width:
            items = np.zeros((more * self._window, self._items.shape[1]), np.float32)
            self._items = np.concatenate([self._items, items])
