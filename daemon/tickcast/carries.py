"""Carries prepared before the ticks that will use them, in a bounded pool.

A symbol's carries stand in a ladder: the first is good for its next row, the second for the row after that, once it has
taken in the next one, and so on. So each row that comes uses up the first and takes the others one step on, and a burst
as long as the ladder is answered without a run over a window. A ladder is as high as its symbol's bursts ask for.

A ladder is good for exactly one state of a window, named by the position of its next row; any other takes the window
path. The pool belongs to one engine, so a carry of another bundle cannot be met in it.
"""

from collections import OrderedDict

import numpy as np

from tickcast.engine import Carry, Engine
from tickcast.row_pool import RowPool
from tickcast.windows import SymbolWindow

# Wishes are served within the next idle turns; older ones than these are likely overtaken by their symbol's next tick.
WISHES_MAX = 10_000
# Of quotes_btcusdt at its recorded pace, ladders of 1, 4, 8, 16 answer 57, 87, 96 and 99 % (simulated from its gaps).
HEIGHT_MAX = 16
# A ladder of which only the lower half was used for so many rows loses the upper half.
ROWS_UNTIL_LOWERED = 1_000
# A full pool is shrunk by one part in so many, so that it need not be counted again for each carry.
ROOM_SHARE = 16


class Ladder:
    """One symbol's carries: `carries` are arrays [height, ...], the first good for the row at `position`."""

    __slots__ = ("carries", "height_wanted", "position", "rows_spared")

    def __init__(self) -> None:
        self.carries: Carry = []
        self.position = -1
        self.height_wanted = 1
        self.rows_spared = 0  # since the upper half was needed

    @property
    def height(self) -> int:
        """How many rows to come it can answer."""
        return len(self.carries[0]) if self.carries else 0

    def first(self, count: int) -> Carry:
        """The first `count` carries."""
        return [part[:count] for part in self.carries]

    def climb(self) -> None:
        """The row at `position` was answered, and the other carries do not know it yet."""
        self.carries = [part[1:] for part in self.carries] if self.height > 1 else []
        self.position += 1

    def replace(self, carries: Carry) -> None:
        """What has become of the carries, one row on: copied out of the run of many that made them."""
        self.carries = [part.copy() for part in carries]

    def add(self, carry: Carry) -> None:
        """One more carry [1, ...] on top."""
        pairs = zip(self.carries, carry, strict=True)
        self.carries = [np.concatenate(pair) for pair in pairs] if self.carries else carry

    def missed(self, height_max: int) -> None:
        """A row came for which there was no carry left."""
        self.carries = []
        self.height_wanted = min(2 * self.height_wanted, height_max)
        self.rows_spared = 0

    def spared(self) -> None:
        """A row was answered. Where the upper half is never touched, let it go."""
        if 2 * self.height < self.height_wanted:
            self.rows_spared = 0
            return
        self.rows_spared += 1
        if self.rows_spared > ROWS_UNTIL_LOWERED:
            self.rows_spared = 0
            self.height_wanted = max(1, self.height_wanted // 2)


class Carries:
    """The pool of ladders, and the list of windows that want one more carry."""

    def __init__(self, engine: Engine, rows: RowPool, bytes_max: int) -> None:
        self._engine = engine
        self._rows = rows
        self._window = engine.bundle.manifest.rules.window
        self._bytes_max = bytes_max
        self._height_max = 1 if engine.carry_grows else max(1, min(HEIGHT_MAX, self._window - 1))
        self._ladders: OrderedDict[SymbolWindow, Ladder] = OrderedDict()
        self._wanted: OrderedDict[SymbolWindow, None] = OrderedDict()  # oldest wish first
        self._held = 0  # carries in all ladders, when last counted; an empty ladder counts as one

    @property
    def wanted(self) -> int:
        """How many windows wait for a carry."""
        return len(self._wanted)

    def ladder(self, window: SymbolWindow, position: int) -> Ladder | None:
        """The window's ladder, if it is good for the row at `position`."""
        ladder = self._ladders.get(window)
        return ladder if ladder is not None and ladder.height and ladder.position == position else None

    def missed(self, window: SymbolWindow) -> None:
        """A row of the window came for which there was no carry: twice as many are wanted, for each such row."""
        ladder = self._ladders.get(window)
        if ladder is not None:
            ladder.missed(self._height_max)

    def forget(self, window: SymbolWindow) -> None:
        """Rows of the window came faster than any carry could be prepared: how many says nothing of its bursts."""
        self._ladders.pop(window, None)

    def want(self, window: SymbolWindow) -> None:
        """Ask for a carry for the window's next tick, if its ladder is not high enough.

        While a backlog leaves no time to fulfil any, the oldest wishes go, and with them windows that nobody else
        remembers.
        """
        ladder = self._ladders.get(window)
        if ladder is not None and ladder.position == window.sequence and ladder.height >= ladder.height_wanted:
            return
        self._wanted[window] = None
        self._wanted.move_to_end(window)
        if len(self._wanted) > WISHES_MAX:
            self._wanted.popitem(last=False)

    def prepare(self, windows_max: int) -> int:
        """Run the prefix graph once for up to `windows_max` of the windows that want it; returns how many.

        A carry over fewer rows is good for a later tick; those of one run are over equally many.
        """
        chosen: list[SymbolWindow] = []
        height = 0
        while self._wanted and len(chosen) < windows_max:
            window = next(iter(self._wanted))
            found = self._height(window)
            if chosen and found != height:
                break
            height = found
            del self._wanted[window]
            chosen.append(window)
        if not chosen:
            return 0
        carry = self._engine.prefix(self._rows.newest(chosen, self._window - 1 - height))
        for index, window in enumerate(chosen):
            self._add(window, [part[index : index + 1].copy() for part in carry])
        return len(chosen)

    def clear(self) -> None:
        """Forget everything: the windows are gone."""
        self._ladders.clear()
        self._wanted.clear()
        self._held = 0

    def _height(self, window: SymbolWindow) -> int:
        ladder = self._ladders.get(window)
        return ladder.height if ladder is not None and ladder.position == window.sequence else 0

    def _add(self, window: SymbolWindow, carry: Carry) -> None:
        ladder = self._ladders.get(window)
        if ladder is None:
            ladder = self._ladders[window] = Ladder()
            self._held += 1
        self._ladders.move_to_end(window)
        if ladder.position != window.sequence:
            ladder.carries = []
            ladder.position = window.sequence
        ladder.add(carry)
        self._held += ladder.height > 1
        self._shrink(sum(part.nbytes for part in carry))
        if ladder.height < ladder.height_wanted:
            self._wanted[window] = None

    def _shrink(self, carry_bytes: int) -> None:
        """Keep within bounds. Used carries are found when it matters: counting on every use would cost each tick."""
        if self._held * carry_bytes <= self._bytes_max:
            return
        self._held = sum(max(1, ladder.height) for ladder in self._ladders.values())
        most = self._bytes_max // carry_bytes
        while self._ladders and self._held > most - most // ROOM_SHARE:
            _, ladder = self._ladders.popitem(last=False)
            self._held -= max(1, ladder.height)
