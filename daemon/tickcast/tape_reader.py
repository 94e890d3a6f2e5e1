"""The tape as another process reads it, and its layout: the newest ticks and their forecasts, in shared memory.

One writer (`tape.Tape`), any number of readers, no locks. No numpy: the process that serves starts fast.

    header      words of 8 bytes, see WORD_...
    model       JSON of at most MODEL_BYTES_MAX bytes: what answers
    attention   JSON of at most ATTENTION_BYTES_MAX bytes: see `spotlight.py`
    names       append-only lines of JSON, the symbols in the order of their first entry
    ring        entries of one size, the newest over the oldest

An entry is a tick that filled its symbol's window. A run of entries is counted before it is written and again when it
is there, so that a reader knows which of those it copied may have been written over meanwhile. That rests on stores
being seen in the order they were made, as on x86; elsewhere a point on the page might, once in a while, be wrong.
"""

import json
import math
import mmap
import struct
from typing import Any, NamedTuple

from tickcast.shared_blob import BlobReader

MAGIC = int.from_bytes(b"tickctp1", "little")
HEADER_BYTES = 128
MODEL_BYTES_MAX = 65_536
ATTENTION_BYTES_MAX = 65_536
NAMES_BYTES_MAX = 1 << 20
# Some 100,000 ticks with ten horizons: the last minutes of a calm market, seconds of a busy one.
RING_BYTES = 8 << 20
MODEL_OFFSET = HEADER_BYTES
ATTENTION_OFFSET = MODEL_OFFSET + MODEL_BYTES_MAX
NAMES_OFFSET = ATTENTION_OFFSET + ATTENTION_BYTES_MAX
RING_OFFSET = NAMES_OFFSET + NAMES_BYTES_MAX
TAPE_BYTES = RING_OFFSET + RING_BYTES

# The tape begins anew with another model; `begun` entries were begun to be written since then, `written` are there.
WORD_MAGIC, WORD_MODEL, WORD_ATTENTION, WORD_NAMES, WORD_TAPE, WORD_HORIZONS, WORD_BEGUN, WORD_WRITTEN = range(8)

HEAD = struct.Struct("<IIqqqd")
PATHS = ("none", "finish", "window", "carried")
# Above the path's number stands which of the tape's models an entry is of.
PLACE_SHIFT = 8
PATH_MASK = (1 << PLACE_SHIFT) - 1


class Entry(NamedTuple):
    """One tick that filled its symbol's window. `forecast` is empty where it got none.

    It is as long as the longest of the tape's: NaN stands where this entry's model has no more horizons.
    """

    symbol: str
    path: str
    position: int  # one more with each sampled tick of a run: a forecast for h ahead is about position + h
    event_time_ns: int
    received_ns: int  # wall clock
    mid: float | None
    forecast: tuple[float, ...]
    place: int = 0  # of its model: 0 the first, from 1 on one of the others


class Place(NamedTuple):
    """How far a reader has read: entries of which tape."""

    tape: int = 0
    entries: int = 0


class Reading(NamedTuple):
    """What is new, oldest first; how many before it were written over before they could be read; where to read on."""

    entries: list[Entry]
    lost: int
    place: Place


def entry_bytes(horizons: int) -> int:
    """How long an entry with so many horizons is."""
    return HEAD.size + 4 * horizons


class TapeReader:
    """Read-only view of a tape. Not thread-safe: each thread has its own."""

    def __init__(self, fd: int) -> None:
        """Map the tape behind `fd`, which stays the caller's. Raises ValueError for no tape, or another version's."""
        memory = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        self._words = memory[:HEADER_BYTES].cast("Q")
        if self._words[WORD_MAGIC] != MAGIC:
            raise ValueError("not a tape of this version")
        self._model = BlobReader(self._words, WORD_MODEL, memory[MODEL_OFFSET:ATTENTION_OFFSET])
        self._attention = BlobReader(self._words, WORD_ATTENTION, memory[ATTENTION_OFFSET:NAMES_OFFSET])
        self._name_lines = memory[NAMES_OFFSET:RING_OFFSET]
        self._ring = memory[RING_OFFSET:]
        self._names: list[str] = []
        self._names_bytes = 0

    def model(self) -> dict[str, Any]:
        """What answers, as `Tape.begin` was told, and as `others` what answers beside it; empty before the first."""
        blob = self._model.read()
        return dict(json.loads(blob)) if blob else {}

    def attention(self) -> dict[str, Any]:
        """What `spotlight.py` last said; empty before that."""
        blob = self._attention.read()
        return dict(json.loads(blob)) if blob else {}

    def read(self, since: Place, entries_max: int = RING_BYTES) -> Reading:
        """The oldest `entries_max` entries written after `since`; of all there are where that is of another tape."""
        words = self._words
        tape, horizons, written = words[WORD_TAPE], words[WORD_HORIZONS], words[WORD_WRITTEN]
        first = since.entries if since.tape == tape else 0
        if not tape or first >= written:
            return Reading([], 0, Place(tape, written))
        size = entry_bytes(horizons)
        capacity = len(self._ring) // size
        oldest = max(first, written - capacity)
        end = min(written, oldest + entries_max)
        copied = self._copy(oldest % capacity, end - oldest, size, capacity)
        if words[WORD_TAPE] != tape:  # begun anew under our hands: nothing of the copy can be trusted
            return Reading([], 0, Place(words[WORD_TAPE], 0))
        whole = max(oldest, words[WORD_BEGUN] - capacity)  # what lies before was, or may have been, written over
        entries = self._entries(copied[(whole - oldest) * size :], horizons)
        return Reading(entries, whole - first, Place(tape, max(whole, end)))

    def _copy(self, start: int, count: int, size: int, capacity: int) -> bytes:
        end = start + count
        if end <= capacity:
            return bytes(self._ring[start * size : end * size])
        return bytes(self._ring[start * size : capacity * size]) + bytes(self._ring[: (end - capacity) * size])

    def _entries(self, copied: bytes, horizons: int) -> list[Entry]:
        self._read_names()
        names, heads = self._names, struct.Struct(f"{HEAD.format}{horizons}f")
        entries = []
        for symbol, path, position, event_ns, received_ns, mid, *forecast in heads.iter_unpack(copied):
            known = None if math.isnan(mid) else mid
            values, place = tuple(forecast) if path & PATH_MASK else (), path >> PLACE_SHIFT
            by = PATHS[path & PATH_MASK]
            entries.append(Entry(names[symbol], by, position, event_ns, received_ns, known, values, place))
        return entries

    def _read_names(self) -> None:
        fresh = bytes(self._name_lines[self._names_bytes : self._words[WORD_NAMES]])
        for line in fresh.splitlines(keepends=True):
            if b"\0" in line:
                break  # not wholly visible yet; the next call sees it
            self._names.append(json.loads(line))
            self._names_bytes += len(line)
