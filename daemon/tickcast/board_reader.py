"""The board as another process reads it, and its layout: numbers of the loop's process in shared memory.

One writer (`board.Board`), any number of readers, no locks. No numpy: the process that serves starts fast.

    header    words of 8 bytes: magic, slots_max, schema_bytes_max, schema's length, detail's length << 32 | its crc32
    detail    JSON of at most DETAIL_BYTES_MAX bytes
    slots     slots_max float64
    schema    append-only lines of JSON, one per series: [name, [label values], first slot]

A word or slot is read and written whole (aligned, 8 bytes). The schema's length is written after the line it covers; on
a processor that reorders the two, the unseen part of the line still reads as zero bytes, which no line contains.
"""

import json
import math
import mmap
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tickcast.metrics import METRICS, Metric
from tickcast.shared_blob import BlobReader

MAGIC = int.from_bytes(b"tickcst1", "little")
HEADER_BYTES = 64
DETAIL_BYTES_MAX = 4096
DETAIL_OFFSET = HEADER_BYTES
SLOTS_OFFSET = DETAIL_OFFSET + DETAIL_BYTES_MAX
SLOT_BYTES = 8

WORD_MAGIC, WORD_SLOTS_MAX, WORD_SCHEMA_BYTES_MAX, WORD_SCHEMA_BYTES, WORD_DETAIL = range(5)

# Slots with a fixed place: where series that found no room write to (as wide as a histogram), the loop's last turn
# (monotonic seconds), and the series that must be there whatever the room.
SLOT_DISCARD = 0
SLOT_TURN = max(metric.slots for metric in METRICS.values())
SLOT_READY = SLOT_TURN + 1
FIXED_SLOTS = {"tickcast_ready": SLOT_READY, "tickcast_series_dropped_total": SLOT_READY + 1}
SLOT_FREE = SLOT_READY + 2


class Sample(NamedTuple):
    """One series as it stands: `values` is [value], or for a histogram the buckets' counts and the sum."""

    metric: Metric
    labels: tuple[str, ...]
    values: Sequence[float]


class _Series(NamedTuple):
    metric: Metric
    labels: tuple[str, ...]
    slot: int


def schema_offset(slots_max: int) -> int:
    """Where the schema starts."""
    return SLOTS_OFFSET + slots_max * SLOT_BYTES


class BoardReader:
    """Read-only view of a board. Thread-safe."""

    def __init__(self, fd: int) -> None:
        """Map the board behind `fd`, which stays the caller's. Raises ValueError for no board, or another version's."""
        memory = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        self._words = memory[:HEADER_BYTES].cast("Q")
        if self._words[WORD_MAGIC] != MAGIC:
            raise ValueError("not a board of this version")
        start = schema_offset(self._words[WORD_SLOTS_MAX])
        self._detail = BlobReader(self._words, WORD_DETAIL, memory[DETAIL_OFFSET : DETAIL_OFFSET + DETAIL_BYTES_MAX])
        self._slots = memory[SLOTS_OFFSET:start].cast("d")
        self._schema = memory[start : start + self._words[WORD_SCHEMA_BYTES_MAX]]
        self._series: list[_Series] = []
        self._parsed_bytes = 0
        self._lock = threading.Lock()

    def turn_s(self) -> float:
        """Monotonic seconds of the loop's last turn."""
        return self._slots[SLOT_TURN]

    def ready(self) -> bool:
        """Whether the loop calls itself ready."""
        return self._slots[SLOT_READY] == 1.0

    def detail(self) -> dict[str, Any]:
        """What the loop last said about its state."""
        blob = self._detail.read()
        return dict(json.loads(blob)) if blob else {}

    def samples(self) -> Iterator[Sample]:
        """Every series as it stands now, in the order of their making; gauges that are not set are left out."""
        series = self._known_series()
        if not series:
            return
        last = series[-1]
        slots = self._slots[: last.slot + last.metric.slots].tolist()
        for metric, labels, slot in series:
            values = slots[slot : slot + metric.slots]
            if metric.kind != "gauge" or not math.isnan(values[0]):
                yield Sample(metric, labels, values)

    def _known_series(self) -> list[_Series]:
        with self._lock:
            fresh = bytes(self._schema[self._parsed_bytes : self._words[WORD_SCHEMA_BYTES]])
            for line in fresh.splitlines(keepends=True):
                if b"\0" in line or not line.endswith(b"\n"):
                    break  # not wholly visible yet; the next call sees it
                name, labels, slot = json.loads(line)
                self._series.append(_Series(METRICS[name], tuple(labels), slot))
                self._parsed_bytes += len(line)
            return self._series[:]
