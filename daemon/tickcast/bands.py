"""The bands that forecasts carry: as wide as the errors that the daemon has seen, symbol by symbol.

Stage `encode` of the way of a tick. There it only looks up what lies ready: for each slot of the `RowPool` the bands of
the rows to come, a block of rows and the next. What came of the forecasts is worked off afterwards, many at once, or
when a symbol has used up both blocks; when that happens does not show in any band.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.bands_levels import BLOCK_ROWS, Levels
from tickcast.bands_pending import Pending, Positions, Slots
from tickcast.bands_table import BandTable
from tickcast.board import Counter
from tickcast.clients import Partition
from tickcast.clock import Clock
from tickcast.inference import Answers
from tickcast.manifest import Manifest
from tickcast.publisher import Received, Work
from tickcast.records import Bands
from tickcast.row_pool import RowPool
from tickcast.windows import Row, Values

# Worked off when so many rows have come, or the first of them is so old.
ROWS_MAX = 256
AGE_NS_MAX = 100_000_000

Forecasts = NDArray[np.float32]  # [n, horizons]
Marks = NDArray[np.bool_]
ReferenceMid = Callable[[Values], float | None]
# Which values [n, horizons shorter than the window] had a band and saw their tick, and which of these were in it.
Covered = Callable[[Marks, Marks], None]


class _Lane(NamedTuple):
    """The bands of a slot's next rows."""

    seated: int  # of whom the slot is: see `RowPool.seated`
    border: int  # from this position on `later`
    until: int  # from here on what came of earlier forecasts has to be known first
    now: Bands
    later: Bands


class LiveBands:
    """One bundle's, over the windows in a row pool."""

    def __init__(
        self,
        manifest: Manifest,
        rows: RowPool,
        reference_mid: ReferenceMid,
        covered: Covered,
        begun: Counter,
        clock: Clock,
    ) -> None:
        """For a bundle whose manifest has `bands`; `begun` counts the windows that begin with the export's."""
        assert manifest.bands is not None
        horizons, adapted = manifest.horizons, scored_horizons(manifest)
        self._adapted: slice | NDArray[np.intp] = np.array([horizons.index(h) for h in adapted], np.intp)
        if len(adapted) == len(horizons):
            self._adapted = slice(None)  # no copies
        self._horizons = len(horizons)
        self._level = manifest.bands.level
        self._rows = rows
        self._mid = reference_mid
        self._covered = covered
        self._begun = begun
        self._clock = clock
        self.pending = Pending(adapted)
        table = BandTable(manifest.bands, manifest.target_scale)
        self.levels = Levels(table, self._level, np.array(horizons, np.int64), self.pending.depth)
        self._lanes: list[_Lane | None] = []
        self._noted: list[tuple[Sequence[Row], Forecasts]] = []
        self._count = 0
        self._due_ns: int | None = None  # for what is noted, once there is time to look
        self._is_idle = True  # no tick has come since the last turn
        self._is_urgent = False  # a symbol has begun with its second block
        self.adapts = bool(adapted)
        start = np.full((1, self._horizons), table.start)
        self._begins_with = Bands(self._level, table.half_widths(start)[0].tolist())
        self._seated = np.zeros(0, np.int64)  # [slots]: of whom the slot's state is
        # Rows are counted from the symbol's first on, whichever process had it: [slots] how many more that is than this
        # process counts, and of whom.
        self._ahead = np.zeros(0, np.int64)
        self._counted = np.zeros(0, np.int64)

    def of(self, rows: Sequence[Row], forecasts: Forecasts) -> list[Bands]:
        """The bands of each of `rows`, which are answered with `forecasts`; a symbol's in order."""
        if not self.adapts:
            return [self._begins_with] * len(rows)
        lanes, seated, begin = self._lanes, self._rows.seated, 0
        made = []
        for at, row in enumerate(rows):
            slot, position = row.window.slot, row.position
            lane = lanes[slot] if slot < len(lanes) else None
            if lane is None or position >= lane.until or lane.seated != seated.item(slot):
                self._note(rows[begin:at], forecasts[begin:at])
                lane, begin = self._reach(slot, position), at
            if position < lane.border:
                made.append(lane.now)
            else:
                made.append(lane.later)
                self._is_urgent = True
        if begin:
            rows, forecasts = rows[begin:], forecasts[begin:]
        self._note(rows, forecasts)
        return made

    def pass_over(self, rows: Sequence[Row]) -> None:
        """`rows` were due and get no forecast; before later ones of their symbols do."""
        if self.adapts:
            met = [row for row in rows if row.window.slot >= 0]  # of others no forecast waits
            self._note(met, np.full((len(met), self._horizons), np.nan, np.float32))

    def note(self, work: Work, answers: Sequence[Answers], received: Received) -> None:
        """See `Watcher`: what there is to note was, when it was answered."""
        self._is_idle = False

    def turn(self) -> None:
        """See `Watcher`: between two ticks of a burst there is no time for it, unless much has come together."""
        is_idle, self._is_idle = self._is_idle, True
        if not self._noted:
            return
        if not is_idle:
            if self._count >= ROWS_MAX:
                self.flush()
        elif self._is_urgent or self._is_due():
            self.flush()

    def keep(self, partitions: Collection[Partition]) -> None:
        """See `Watcher`: whose a slot is tells the windows that are gone."""
        self.flush()

    def close(self) -> None:
        """See `Watcher`."""
        self.flush()

    def flush(self) -> None:
        """See `Watcher`: learn from all that is noted."""
        noted, self._noted, self._count = self._noted, [], 0
        self._due_ns, self._is_urgent = None, False
        if not noted:
            return
        rows = [row for part, _ in noted for row in part]
        forecasts = np.concatenate([made for _, made in noted])
        slots = np.array([row.window.slot for row in rows], np.intp)
        positions = self.count(slots, np.array([row.position for row in rows], np.int64))
        mids = np.array([self._mid(row.tick.values) for row in rows], np.float64)  # None becomes NaN
        order = np.lexsort((positions, slots))
        slots, positions = slots[order], positions[order]
        self._begin(slots, positions)
        errors = np.full(forecasts.shape, np.nan)
        errors[:, self._adapted] = self.pending.meet(slots, positions, mids[order], forecasts[order][:, self._adapted])
        moved, given = self.levels.learn(slots, positions, errors)
        errors, given = errors[:, self._adapted], given[:, self._adapted]
        self._covered(~np.isnan(errors), errors <= given)
        self._lay_out(moved)

    def count(self, slots: Slots, positions: Positions) -> Positions:
        """`positions` of this process's counting in the bands' own."""
        self._make_room(int(slots.max()) + 1)
        strange = self._counted[slots] != self._rows.seated[slots]
        if strange.any():
            self.continue_counting(slots[strange], np.zeros(int(strange.sum()), np.int64))
        return positions + self._ahead[slots]

    def continue_counting(self, slots: Slots, ahead: Positions) -> None:
        """The windows in `slots` had so many rows more than this process knows of."""
        self._make_room(int(slots.max()) + 1)
        self._ahead[slots] = ahead
        self._counted[slots] = self._rows.seated[slots]

    def known(self, slots: Slots) -> Marks:
        """Which of `slots` have bands of the windows that are in them now."""
        self._make_room(int(slots.max()) + 1)
        is_known: Marks = self._seated[slots] == self._rows.seated[slots]
        return is_known

    def go_on(self, slots: Slots) -> None:
        """What is known of `slots` is of the windows that are in them now."""
        self._seated[slots] = self._rows.seated[slots]
        self._lay_out(slots)

    def _note(self, rows: Sequence[Row], forecasts: Forecasts) -> None:
        if rows:
            self._noted.append((rows, forecasts))
            self._count += len(rows)

    def _is_due(self) -> bool:
        now_ns = self._clock.monotonic_ns()
        if self._due_ns is None:
            self._due_ns = now_ns + AGE_NS_MAX
        return now_ns >= self._due_ns

    def _reach(self, slot: int, position: int) -> _Lane:
        """Know all that was before this row."""
        self.flush()
        self._make_room(slot + 1)
        one = np.array([slot], np.intp)
        place = self.count(one, np.array([position], np.int64))
        self._begin(one, place)
        lane = self._lanes[slot]
        assert lane is not None
        if position >= lane.until:  # rows between got no forecast, or made none of a full window
            self._lay_out(self.levels.advance(one, place // BLOCK_ROWS))
            lane = self._lanes[slot]
            assert lane is not None
        return lane

    def _begin(self, slots: Slots, positions: Positions) -> None:
        """Those of `slots`, sorted, that are another window's now begin anew, at the first of their `positions`."""
        strange = self._seated[slots] != self._rows.seated[slots]
        if not strange.any():
            return
        new, at = np.unique(slots[strange], return_index=True)
        self.pending.forget(new)
        self.levels.begin(new, positions[strange][at])
        self._seated[new] = self._rows.seated[new]
        self._lay_out(new)
        self._begun.add(len(new))

    def _make_room(self, slots: int) -> None:
        if (more := max(slots, self._rows.slots) - len(self._lanes)) <= 0 or slots <= len(self._lanes):
            return
        self._lanes += [None] * more
        blank = np.zeros(more, np.int64)
        self._seated = np.concatenate([self._seated, blank])
        self._ahead = np.concatenate([self._ahead, blank])
        self._counted = np.concatenate([self._counted, blank])
        self.pending.make_room(len(self._lanes))
        self.levels.make_room(len(self._lanes))

    def _lay_out(self, slots: Slots) -> None:
        """Make the lanes of `slots` anew."""
        ends = (self.levels.blocks[slots] + 1) * BLOCK_ROWS - self._ahead[slots]
        seated, borders = self._seated[slots].tolist(), ends.tolist()
        now, later = self.levels.half_widths(slots)
        made = zip(slots.tolist(), seated, borders, now.tolist(), later.tolist(), strict=True)
        for slot, owner, border, widths, next_widths in made:
            bands = Bands(self._level, widths), Bands(self._level, next_widths)
            self._lanes[slot] = _Lane(owner, border, border + BLOCK_ROWS, *bands)


def scored_horizons(manifest: Manifest) -> list[int]:
    """Those whose outcome can be told: only a full window proves that both ticks are of one run."""
    return [horizon for horizon in manifest.horizons if horizon < manifest.rules.window]
