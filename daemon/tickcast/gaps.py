"""What lies between a window's forecasts when due ticks may be skipped, and whether it agrees with what they say of it.

Beside the way of a tick, for the audit. `skipped_before` counts the due ticks that one daemon passed over since its
last forecast of the window. So it is held against the window's forecasts in the order they were written: each takeover
begins a sequence of its own, by a forecast with the flag `resumed`, and may go over ground that another has covered.
A due tick was skipped if any forecast says so; a number that fits no sequence is miscounted.

First every row, then every letter, then every forecast. Keeps some bytes per offset and a little per window.
"""

from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickcast.clients import OffsetRange
from tickcast.lag import FLAG_RESUMED
from tickcast.windows import Row, SymbolWindow

# Daemons that write of one window in turn: its owner, and former ones that came to again before they knew it.
SEQUENCES_MAX = 4

NOWHERE = -1

Places = NDArray[np.int32]
Marks = NDArray[np.bool_]


class Remark(msgspec.Struct, frozen=True):
    """Of a forecast, what it says of the ticks before it."""

    skipped_before: int
    flags: tuple[str, ...]


class Verdict(NamedTuple):
    """By offset of the range: the due ticks without an answer that are accounted for."""

    passed_over: Marks  # a forecast says so
    unconfirmed: Marks  # none does, but it may be: nothing is known of what was skipped before a takeover or at the end


class _Order(NamedTuple):
    """The range's due ticks sorted by window, then offset: `place` is an index into that order."""

    offsets: Places  # by place: offset in the range
    windows: Places  # by place: number of the window
    places: Places  # by offset in the range
    begins: Places  # by number: place of the window's first due tick
    letters: Places  # by place, and one more at the end: how many of the due ticks before it became dead letters


class Gaps:
    """Of one partition."""

    def __init__(self, audited: OffsetRange, skips_stale: bool) -> None:
        """With `skips_stale` a symbol's newest tick may be skipped, which no forecast tells until the next one."""
        length = audited.end - audited.first
        self.miscounted = 0
        self._skips_stale = skips_stale
        self._numbers: dict[SymbolWindow, int] = {}
        self._older = 0  # windows met before the range: they may have had forecasts there
        self._windows = np.full(length, NOWHERE, np.int32)
        self._lettered = np.zeros(length, np.bool_)
        self._said = np.zeros(length, np.int32)  # the most that a forecast says was skipped before it
        self._resumed = np.zeros(length, np.bool_)
        self._sequences: dict[int, list[int]] = {}  # by number: place of the newest forecast of each, newest last

    def row(self, at: int, row: Row) -> None:
        """The row made at `at`, an offset from the range's first: below 0 it only tells of a window."""
        number = self._numbers.setdefault(row.window, len(self._numbers))
        if at < 0:
            self._older = len(self._numbers)
        elif row.due:
            self._windows[at] = number

    def letter(self, at: int) -> None:
        """The due tick at `at` became a dead letter: it was answered, and no forecast counts it."""
        self._lettered[at] = True

    def forecast(self, at: int, remark: Remark) -> None:
        """A forecast of the tick at `at`; in the order they were written."""
        if (number := int(self._windows[at])) == NOWHERE:
            return
        place, said = int(self._order.places[at]), remark.skipped_before
        sequences = self._sequences.setdefault(number, [])
        if FLAG_RESUMED in remark.flags or not sequences:
            sequences.append(place)
            del sequences[:-SEQUENCES_MAX]
            holds = self._begins(number, place, remark)
        else:
            is_copy = place in sequences and said == self._said[at]
            holds = is_copy or self._goes_on(sequences, place, said)
        self.miscounted += not holds or said < 0
        self._said[at] = max(int(self._said[at]), min(said, len(self._said)))
        self._resumed[at] |= FLAG_RESUMED in remark.flags

    def verdict(self, answered: Marks) -> Verdict:
        """What is accounted for of the due ticks that are not `answered` (by offset of the range) by a forecast."""
        order = self._order
        at, count = order.offsets, len(order.offsets)
        there = answered[at]
        open_ = ~there & ~self._lettered[at]
        told = open_ & self._told(there)
        last = np.append(order.begins[1:], count)[order.windows] if count else order.windows  # of each place's window
        after = np.minimum(_next(there), last)  # the forecast that should have told, or where the window ends
        excused = self._skips_stale | (order.letters[after] > order.letters[:count])
        silent = np.append(self._resumed[at], True)[after] | (after == last)
        passed_over, unconfirmed = np.zeros((2, len(answered)), np.bool_)
        passed_over[at] = told
        unconfirmed[at] = open_ & ~told & excused & silent
        return Verdict(passed_over, unconfirmed)

    # -- private

    @cached_property
    def _order(self) -> _Order:
        due = np.flatnonzero(self._windows != NOWHERE)
        offsets = due[np.argsort(self._windows[due], kind="stable")]
        windows = self._windows[offsets]
        places = np.full(len(self._windows), NOWHERE, np.int32)
        places[offsets] = np.arange(len(offsets))
        begins = np.searchsorted(windows, np.arange(len(self._numbers)))
        letters = np.concatenate([[0], np.cumsum(self._lettered[offsets])])
        return _Order(offsets.astype(np.int32), windows, places, begins.astype(np.int32), letters.astype(np.int32))

    def _begins(self, number: int, place: int, remark: Remark) -> bool:
        """Whether a forecast at `place` may be its daemon's first, as far as the range tells."""
        if number < self._older:
            return True
        return FLAG_RESUMED in remark.flags and remark.skipped_before <= place - int(self._order.begins[number])

    def _goes_on(self, sequences: list[int], place: int, said: int) -> bool:
        """Whether what is `said` at `place` is what lies between it and the end of a sequence, which then goes on.

        A dead letter between them may be of this daemon, or of another while this one skipped the tick.
        """
        letters = self._order.letters
        for index in range(len(sequences) - 1, -1, -1):
            between = place - sequences[index] - 1
            if between >= 0 and 0 <= between - said <= letters[place] - letters[sequences[index] + 1]:
                del sequences[index]
                sequences.append(place)
                return True
        sequences[-1] = max(sequences[-1], place)  # what follows shall not be blamed for it
        return False

    def _told(self, there: Marks) -> Marks:
        """By place: whether a forecast says that it was skipped, being among as many before it as it counts."""
        order = self._order
        counts = np.arange(len(there) + 1) - order.letters  # by place: due ticks before it that were not dead letters
        ends = np.flatnonzero(there)
        begins = counts[ends] - self._said[order.offsets[ends]]
        begins = np.maximum(begins, counts[order.begins[order.windows[ends]]])
        change = np.zeros(len(there) + 1, np.int32)
        np.add.at(change, begins, 1)
        np.add.at(change, counts[ends], -1)
        told: Marks = np.cumsum(change)[counts[:-1]] > 0
        return told


def _next(there: Marks) -> Places:
    """By place: the first one from there on that is there; past the end where none is."""
    places = np.where(there, np.arange(len(there)), len(there))
    nearest: Places = np.minimum.accumulate(places[::-1].astype(np.int32))[::-1]
    return nearest
