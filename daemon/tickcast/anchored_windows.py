"""Windows that also say where a carried state starts anew, so that it stays a function of the log.

Stage `windows.push` of the way of a tick in the mode `carried`. A carried state is what a symbol's rows since its
anchor made of that anchor's window. The offsets of a partition are divided into stretches of `interval_offsets`, for
each symbol begun elsewhere, so that not all are anchored at once. A row with a full window anchors if it is its
symbol's first such row in a stretch, or if the row before it had no full window. Nothing else decides.

A rebuild gives the same states if it starts no later than what the window at each anchor of a stretch that is not over
yet needs: at most `interval_offsets` before what windows alone need.
"""

import zlib
from array import array
from collections.abc import Sequence

import msgspec
import numpy as np

from tickcast.manifest import WindowRules
from tickcast.windows import NO_OFFSET, Anchor, Decision, Row, SymbolWindow, Tick, Windows


class AnchoredWindows(Windows):
    """The windows of one partition, each row of which says whether it anchors."""

    def __init__(
        self,
        rules: WindowRules,
        columns: Sequence[str],
        replay_records_max: int,
        max_symbols: int,
        interval_offsets: int,
        publish_from: int,
    ) -> None:
        """States of stretches that end before `publish_from` are void: no answer will rest on them."""
        super().__init__(rules, columns, replay_records_max, max_symbols)
        self._interval = interval_offsets
        self._publish_from = publish_from
        # By place: where the stretch of a symbol's anchor ends, 0 without one; the oldest offset its window needs.
        self._anchored_until = array("q")
        self._anchor_needs = array("q")

    def decide(self, tick: Tick) -> Decision:
        """As for any windows, and whether the row anchors."""
        decision = super().decide(tick)
        if decision.row is None:
            return decision
        anchor = self._anchor(decision.row, tick)
        if anchor == "no":
            return decision
        return Decision(decision.fate, msgspec.structs.replace(decision.row, anchor=anchor))

    def replay_from(self, position: int) -> int:
        """An offset from which a rebuild up to `position` (exclusive) gives these windows, and these states."""
        needs = np.frombuffer(self._anchor_needs, np.int64)[np.frombuffer(self._anchored_until, np.int64) > position]
        return min(super().replay_from(position), int(needs.min(initial=NO_OFFSET)))

    def _anchor(self, row: Row, tick: Tick) -> Anchor:
        place, offset = row.window.place, tick.offset
        if place >= len(self._anchored_until):
            self._make_room(place + 1)
        if not row.due:
            self._anchored_until[place] = 0
            return "no"
        if offset < self._anchored_until[place]:
            return "no" if self._anchor_needs[place] != NO_OFFSET else "void"
        begun = (offset + zlib.crc32(tick.symbol.encode())) % self._interval
        self._anchored_until[place] = until = offset - begun + self._interval
        is_void = until <= self._publish_from
        self._anchor_needs[place] = NO_OFFSET if is_void else row.window.oldest
        return "void" if is_void else "yes"

    def _drop(self, window: SymbolWindow) -> None:
        if window.place < len(self._anchored_until):
            self._anchored_until[window.place] = 0
        super()._drop(window)

    def _make_room(self, places: int) -> None:
        more = max(2 * len(self._anchored_until), places) - len(self._anchored_until)
        self._anchored_until.extend([0] * more)
        self._anchor_needs.extend([NO_OFFSET] * more)
