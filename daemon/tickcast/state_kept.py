"""What one bundle's bands, scores and drift know, as of a poll's end: which symbols changed, and their rows of bytes.

Behind the way of a tick. A watcher: it notes which windows had rows, once their forecasts are on the way.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast import bands_saved, pending_scores
from tickcast.bands import LiveBands
from tickcast.clients import Partition, Record
from tickcast.inference import Answers
from tickcast.partition_state import PartitionState
from tickcast.publisher import Received, Work
from tickcast.recorder import Recorder
from tickcast.row_pool import RowPool
from tickcast.windows import Row, SymbolWindow

# Rows noted until only each window's newest is remembered: rows of a burst go together.
ROWS_MAX = 1_024
# Of a symbol's record, beside its row: two names of the longest symbol, and what a batch adds.
OVERHEAD_BYTES = 4_096


class Changed(NamedTuple):
    """A symbol whose state is another than when it was last asked for, and the tick of its newest row."""

    symbol: str
    window: SymbolWindow
    newest_row: int


class _Newest(NamedTuple):
    partition: Partition
    symbol: str
    seated: int  # of whom the slot is: see `RowPool.seated`
    offset: int  # of the newest row's tick


class KeptState:
    """Of one bundle, over the windows in a row pool."""

    def __init__(
        self, sha256: str, rows: RowPool, recorder: Recorder, bands: LiveBands | None, record_bytes_max: int
    ) -> None:
        """`sha256` names the bundle. Of no symbol is anything kept where a record of it would be too long."""
        self.sha256 = sha256
        self.drift = recorder.drift
        self._recorder = recorder
        self._bands = bands if bands is not None and bands.adapts else None
        self._scores = recorder.scores if recorder.scores.is_kept else None
        self._rows = rows
        parts = []
        if self._bands is not None:
            parts.append(("bands", bands_saved.dtype_of(self._bands)))
        if self._scores is not None:
            parts.append(("scores", pending_scores.dtype_of(self._scores)))
        self.dtype = np.dtype(parts)
        self.is_too_long = self.dtype.itemsize + OVERHEAD_BYTES > record_bytes_max
        self.keeps_symbols = self.dtype.itemsize > 0 and not self.is_too_long  # whether there is anything to know
        self._noted: list[Work] = []
        self._noted_rows = 0
        # Of each slot whose window had rows since last asked for. Windows themselves would not let go of their slots.
        self._newest: dict[int, _Newest] = {}

    def note(self, work: Work, answers: Sequence[Answers], received: Received) -> None:
        """See `Watcher`: the windows with rows have changed."""
        if self.keeps_symbols:
            self._noted.append(work)
            self._noted_rows += len(work.rows)

    def turn(self) -> None:
        """See `Watcher`."""
        if self._noted_rows >= ROWS_MAX:
            self._fold()

    def flush(self) -> None:
        """See `Watcher`: what is noted is asked for."""

    def keep(self, partitions: Collection[Partition]) -> None:
        """See `Watcher`."""
        self._fold()
        self._newest = {slot: newest for slot, newest in self._newest.items() if newest.partition in partitions}

    def close(self) -> None:
        """See `Watcher`: another bundle knows nothing of it."""
        self._noted, self._newest = [], {}

    def changed(self, states: Sequence[PartitionState], place: int) -> dict[Partition, list[Changed]]:
        """Of each partition in `states` the symbols that had rows since this was last asked of it.

        As of now: whatever is noted of them is worked off. `place` is the bundle's in the configuration.
        """
        self._recorder.flush()
        if self._bands is not None:
            self._bands.flush()
        self._fold()
        windows = {state.partition: state.windows.by_model[place] for state in states}
        found: dict[Partition, list[Changed]] = {partition: [] for partition in windows}
        later: dict[int, _Newest] = {}
        seats = self._rows.seated.tolist()
        for slot, newest in self._newest.items():
            partition, symbol, seated, offset = newest
            if (here := windows.get(partition)) is None:
                later[slot] = newest
                continue
            window = here.window(symbol)
            if window is not None and window.slot == slot and seats[slot] == seated:  # else it was forgotten meanwhile
                found[partition].append(Changed(symbol, window, offset))
        self._newest = later
        return found

    def save(self, changed: Sequence[Changed]) -> memoryview:
        """The rows of the symbols, one after the other."""
        rows = np.zeros(len(changed), self.dtype)
        slots, sequences = _places([each.window for each in changed])
        if self._bands is not None:
            bands_saved.save(self._bands, slots, sequences, rows["bands"])
        if self._scores is not None:
            pending_scores.save(self._scores, slots, sequences, rows["scores"])
        return rows.data.cast("B")

    def restore(self, windows: Sequence[SymbolWindow], saved: Sequence[bytes]) -> None:
        """Go on where `save` was, with windows that hold the same ticks; each of `saved` is as long as a row."""
        for window in windows:
            self._rows.seat(window)
        rows: NDArray[np.void] = np.frombuffer(b"".join(saved), self.dtype)
        slots, sequences = _places(windows)
        if self._bands is not None:
            bands_saved.restore(self._bands, slots, sequences, rows["bands"])
        if self._scores is not None:
            pending_scores.restore(self._scores, slots, sequences, rows["scores"])

    def _fold(self) -> None:
        noted, self._noted, self._noted_rows = self._noted, [], 0
        last: dict[int, tuple[Row, Record]] = {}
        for work in noted:
            for row, record in zip(work.rows, work.records, strict=True):
                last[row.window.slot] = row, record
        for slot, (row, record) in last.items():
            tick, seated = row.tick, self._rows.seated.item(slot)
            self._newest[slot] = _Newest(record.partition, tick.symbol, seated, tick.offset)


def _places(windows: Sequence[SymbolWindow]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Slot of each window, and how many rows of it were decided."""
    slots = np.array([window.slot for window in windows], np.intp)
    return slots, np.array([window.sequence for window in windows], np.int64)
