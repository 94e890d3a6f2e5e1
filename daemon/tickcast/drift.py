"""Whether what comes in still looks as it did in training: the population stability index of each raw column.

Behind the way of a tick, in batches. Over a moving window of each partition's ticks that fill a window, of which one in
`EVERY` is counted, and all partitions together, as the reference is of all symbols together. Ticks alone decide what is
counted and when a block ends, no clock: saved and restored with its partition, it goes on as if nothing had been.
`drift_reference.py` has the formula and the bins.
"""

import itertools
from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickcast.board import Board
from tickcast.clients import Partition
from tickcast.drift_reference import Reference
from tickcast.manifest import Manifest
from tickcast.windows import Row, Values

# The window: between 45,056 and 49,152 ticks. Shorter ones (8,192) of the same market the model was trained on were
# off by up to 0.9 in sizes, because of the time of day; these by up to 0.1.
BLOCKS = 12
BLOCK_TICKS = 4_096
# Neighbours say nearly the same. Counts of a block fit 16 bits.
EVERY = 4
# Counted together: numpy's fixed cost is what counting costs.
COUNT_AT = 512
# Shown anew when such a share of the window is new, once so many are counted: fewer differ by chance.
SHOW_SHARE = 1 / 16
COUNTED_MIN = 100

VERSION = 1
_ONE = np.uint16(1)


class _Saved(msgspec.Struct, array_like=True):
    version: int
    reference: str
    ticks: int
    counts: bytes  # uint16 [blocks, cells], little-endian


class _Window:
    """One partition's: where its counts are, and how many ticks it has ever seen."""

    __slots__ = ("seat", "ticks")

    def __init__(self, seat: int) -> None:
        self.seat = seat
        self.ticks = 0

    @property
    def held(self) -> int:
        """Ticks in the window."""
        blocks_before = min(max(self.ticks - 1, 0) // BLOCK_TICKS, BLOCKS - 1)
        begun = (max(self.ticks - 1, 0) // BLOCK_TICKS - blocks_before) * BLOCK_TICKS
        return self.ticks - begun


class Drift:
    """Counts raw columns. Memory: some 2.5 KB a partition with five columns, 16 KB with as many as are watched."""

    def __init__(self, board: Board, manifest: Manifest) -> None:
        """Watches nothing where the bundle has no reference.

        The level of a price is no input of a model that computes its features itself: these see changes.
        """
        self._reference = reference = Reference(manifest)
        self._windows: dict[Partition, _Window] = {}
        self._free: list[int] = []
        self._counts = np.zeros((0, BLOCKS, reference.cells), np.uint16)
        self._total = np.zeros(reference.cells, np.int64)  # of all partitions
        self._ticks = 0
        self._picked: list[Values] = []  # to be counted, each into the block [seats * BLOCKS] beside it
        self._blocks: list[int] = []
        self._unshown = 0
        # Of two bundles that each answer some symbols, each has its own.
        model, prices = manifest.name, manifest.reference_columns if "features" in manifest.graphs else ()
        kinds = ["price" if name in prices else "input" for name in reference.names]
        self._gauges = [
            board.gauge("tickcast_feature_drift_psi", model=model, column=name, kind=kind)
            for name, kind in zip(reference.names, kinds, strict=True)
        ]
        self._ticks_gauge = board.gauge("tickcast_feature_drift_ticks", model=model)

    @property
    def watches(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self._reference.names)

    def add(self, partitions: Sequence[Partition], rows: Sequence[Row]) -> None:
        """Take in rows that filled their windows, a partition's in order; each one's partition beside it."""
        if not self.watches:
            return
        begin = 0
        for partition, group in itertools.groupby(partitions):  # a partition's mostly come together
            end = begin + len(list(group))
            self._take(self._window(partition), rows[begin:end])
            begin = end
        self._unshown += len(rows)
        if len(self._picked) >= COUNT_AT:
            self._count()
        if self._unshown >= self._ticks * SHOW_SHARE:
            self._show()

    def keep(self, partitions: Collection[Partition]) -> None:
        """Forget all others: they are not ours any more."""
        gone = self._windows.keys() - set(partitions)
        for partition in gone:
            self._clear(window := self._windows.pop(partition))
            self._free.append(window.seat)
        if gone:
            self._show()

    def save(self, partition: Partition) -> bytes:
        """The window of `partition`; all that was noted of it is worked off."""
        self._count()
        window = self._window(partition)
        counts = self._counts[window.seat].astype("<u2").tobytes()
        return msgspec.msgpack.encode(_Saved(VERSION, self._reference.digest, window.ticks, counts))

    def restore(self, partition: Partition, saved: bytes) -> None:
        """Go on where `save` was. Raises ValueError for what is not of this version and this reference."""
        found = self._decoded(saved)
        self._clear(window := self._window(partition))
        self._counts[window.seat] = np.frombuffer(found.counts, "<u2").reshape(BLOCKS, -1)
        self._total += self._counts[window.seat].sum(axis=0, dtype=np.int64)
        window.ticks = found.ticks
        self._ticks += window.held

    def close(self) -> None:
        """Take back what is shown: another bundle answers, or nothing is known."""
        for gauge in (*self._gauges, self._ticks_gauge):
            gauge.clear()

    def _take(self, window: _Window, rows: Sequence[Row]) -> None:
        begin = 0
        while begin < len(rows):
            into = window.ticks % BLOCK_TICKS
            if into == 0:
                self._begin_block(window)
            end = min(len(rows), begin + BLOCK_TICKS - into)
            chosen = [row.current for row in rows[begin + -into % EVERY : end : EVERY]]
            self._picked += chosen
            self._blocks += [window.seat * BLOCKS + window.ticks // BLOCK_TICKS % BLOCKS] * len(chosen)
            window.ticks += end - begin
            self._ticks += end - begin
            begin = end

    def _begin_block(self, window: _Window) -> None:
        """Over the oldest one."""
        self._count()
        block = self._counts[window.seat, window.ticks // BLOCK_TICKS % BLOCKS]
        if window.ticks >= BLOCKS * BLOCK_TICKS:
            self._total -= block
            self._ticks -= BLOCK_TICKS
        block[:] = 0

    def _count(self) -> None:
        """Work off what is picked."""
        if not self._picked:
            return
        cells = self._reference.cells_of(self._values(self._picked))
        places = cells + np.array(self._blocks, np.intp) * self._reference.cells
        self._picked, self._blocks = [], []
        is_number = cells >= 0
        np.add.at(self._counts.reshape(-1), places[is_number], _ONE)
        self._total += np.bincount(cells[is_number], minlength=self._reference.cells)

    def _values(self, rows: Sequence[Values]) -> NDArray[np.float64]:
        """The watched columns of raw ticks, [columns, rows]."""
        places = self._reference.places
        if len(places) == len(rows[0]):
            flat = itertools.chain.from_iterable(rows)
        else:
            flat = itertools.chain.from_iterable([[values[place] for place in places] for values in rows])
        return np.fromiter(flat, np.float64, len(rows) * len(places)).reshape(len(rows), len(places)).T.copy()

    def _show(self) -> None:
        self._count()
        self._unshown = 0
        if self._ticks < COUNTED_MIN * EVERY:
            self.close()
            return
        self._ticks_gauge.set(self._ticks)
        for gauge, index in zip(self._gauges, self._reference.psi(self._total), strict=True):
            gauge.set(index)

    def _window(self, partition: Partition) -> _Window:
        window = self._windows.get(partition)
        if window is None:
            if not self._free:
                self._grow()
            window = self._windows[partition] = _Window(self._free.pop())
        return window

    def _clear(self, window: _Window) -> None:
        """As if it had seen nothing."""
        self._count()
        counts = self._counts[window.seat]
        self._total -= counts.sum(axis=0, dtype=np.int64)
        self._ticks -= window.held
        window.ticks = 0
        counts[:] = 0

    def _grow(self) -> None:
        seats = len(self._counts)
        more = max(seats, 1)
        self._counts = np.concatenate([self._counts, np.zeros((more, *self._counts.shape[1:]), np.uint16)])
        self._free += range(seats + more - 1, seats - 1, -1)

    def _decoded(self, saved: bytes) -> _Saved:
        """Raises ValueError where it is none, or of something else."""
        try:
            found = msgspec.msgpack.decode(saved, type=_Saved)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no saved drift: {error}") from error
        if found.version != VERSION:
            raise ValueError(f"saved drift of version {found.version}, not {VERSION}")
        if found.reference != self._reference.digest:
            raise ValueError("saved drift against another reference")
        if len(found.counts) != 2 * BLOCKS * self._reference.cells or found.ticks < 0:
            raise ValueError("saved drift that is cut short")
        return found
