"""The board: where the loop's process writes its numbers, in shared memory that another process reads and serves.

Every stage of the way of a tick. Serving metrics from the loop's own process costs it the interpreter lock (p99 of a
forecast 0.4 -> 5.2 ms under ten scrapes a second), so the loop only stores float64 values here: no lock, no formatting,
no system call. Layout and reader: `board_reader.py`. The memory is a memfd: it has no name and goes with its last
holder, however that ends.
"""

import json
import math
import mmap
import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tickcast import board_reader as layout
from tickcast import memfd
from tickcast.clock import Clock
from tickcast.metrics import BOUNDS_S, METRICS, Kind, Metric
from tickcast.shared_blob import BlobWriter

# Some 7,500 counters and gauges beside the histograms: lag, position and rebuild of 2,000 partitions. 64 KiB + 1 MiB.
SLOTS_MAX = 8_192
SCHEMA_BYTES_MAX = 1 << 20
# Up to so many values one bisect each is cheaper than numpy's fixed cost (measured: 0.25 us a value against 2.7 us).
SMALL_BATCH = 8

_BOUNDS = np.array(BOUNDS_S)


class Counter:
    """A number that only grows."""

    __slots__ = ("_slot", "_slots")

    def __init__(self, slots: "memoryview[float]", slot: int) -> None:
        self._slots = slots
        self._slot = slot

    def add(self, amount: float = 1.0) -> None:
        """Count `amount` more; never negative."""
        self._slots[self._slot] += amount

    @property
    def value(self) -> float:
        """What it has come to."""
        return self._slots[self._slot]


class Gauge:
    """A number that goes up and down, absent until set."""

    __slots__ = ("_slot", "_slots")

    def __init__(self, slots: "memoryview[float]", slot: int) -> None:
        self._slots = slots
        self._slot = slot

    def set(self, value: float) -> None:
        """The number is `value` now."""
        self._slots[self._slot] = value

    def clear(self) -> None:
        """The number is absent from now on: its partition is not ours any more, its bundle no longer answers."""
        self._slots[self._slot] = math.nan


class Histogram:
    """How many values fell where. A value on a bound belongs to the bucket below it (Prometheus' `le`)."""

    __slots__ = ("_counts", "_slot", "_slots", "_sum_slot")

    def __init__(self, slots: "memoryview[float]", slot: int) -> None:
        self._slots = slots
        self._slot = slot
        self._sum_slot = slot + len(BOUNDS_S) + 1
        self._counts: NDArray[np.float64] = np.asarray(slots)[slot : self._sum_slot]

    def observe(self, seconds: Sequence[float] | NDArray[np.float64]) -> None:
        """Count every value of `seconds` (values,), however many."""
        if len(seconds) <= SMALL_BATCH:
            for value in seconds:
                self.observe_one(value)
            return
        values = np.asarray(seconds)
        self._counts += np.bincount(_BOUNDS.searchsorted(values), minlength=len(self._counts))
        self._slots[self._sum_slot] += float(values.sum())

    def observe_one(self, seconds: float) -> None:
        """Count one value."""
        slots = self._slots
        slots[self._slot + bisect_left(BOUNDS_S, seconds)] += 1.0
        slots[self._sum_slot] += seconds

    def counts(self) -> NDArray[np.float64]:
        """How many values fell into each bucket, as of now (buckets,), the last one without an upper bound."""
        return self._counts.copy()


Handle = Counter | Gauge | Histogram
_H = TypeVar("_H", Counter, Gauge, Histogram)


class WallLatency:
    """A histogram of differences between the wall clocks of two hosts: what is negative counts as such, and as zero."""

    __slots__ = ("_histogram", "_negative")

    def __init__(self, histogram: Histogram, negative: Counter) -> None:
        self._histogram = histogram
        self._negative = negative

    def observe(self, seconds: Sequence[float]) -> None:
        """Count every value of `seconds` (values,)."""
        if seconds and min(seconds) < 0.0:
            self._negative.add(sum(value < 0.0 for value in seconds))
            seconds = [max(value, 0.0) for value in seconds]
        self._histogram.observe(seconds)


class Board:
    """The writer's side. One thread writes. `fd` is what the reading process inherits."""

    def __init__(self, fd: int, slots_max: int, schema_bytes_max: int) -> None:
        """Lay out the zeroed memory behind `fd`; see `create`."""
        self.fd = fd
        memory = memoryview(mmap.mmap(fd, 0))
        schema_offset = layout.schema_offset(slots_max)
        self._words = memory[: layout.HEADER_BYTES].cast("Q")
        detail = memory[layout.DETAIL_OFFSET : layout.SLOTS_OFFSET]
        self._detail = BlobWriter(self._words, layout.WORD_DETAIL, detail)
        self._slots = memory[layout.SLOTS_OFFSET : schema_offset].cast("d")
        self._schema = memory[schema_offset:]
        self._handles: dict[tuple[str, tuple[str, ...]], Handle] = {}
        self._slots_used = layout.SLOT_FREE
        self._schema_bytes = 0
        self._words[layout.WORD_SLOTS_MAX] = slots_max
        self._words[layout.WORD_SCHEMA_BYTES_MAX] = schema_bytes_max
        for name, slot in layout.FIXED_SLOTS.items():
            self._handles[name, ()] = _HANDLES[METRICS[name].kind](self._slots, slot)
            self._declare(METRICS[name], (), slot)
        self._words[layout.WORD_MAGIC] = layout.MAGIC

    @classmethod
    def create(cls, clock: Clock, slots_max: int = SLOTS_MAX, schema_bytes_max: int = SCHEMA_BYTES_MAX) -> Self:
        """A new board with every series known beforehand, not ready, its first turn now."""
        size = layout.schema_offset(slots_max) + schema_bytes_max
        board = cls(memfd.create("tickcast-board", size), slots_max, schema_bytes_max)
        for metric in METRICS.values():
            for values in metric.known_series():
                board._handle(metric, values)
        board.turn(clock.monotonic_ns())
        board.set_ready(False)
        return board

    def counter(self, metric: str, /, **labels: str) -> Counter:
        """The counter of `metric` with `labels`, the same each time. Raises ValueError for what the table has not."""
        return self._get(Counter, "counter", metric, labels)

    def gauge(self, metric: str, /, **labels: str) -> Gauge:
        """The gauge of `metric` with `labels`. Raises ValueError for what the table has not."""
        return self._get(Gauge, "gauge", metric, labels)

    def histogram(self, metric: str, /, **labels: str) -> Histogram:
        """The histogram of `metric` with `labels`. Raises ValueError for what the table has not."""
        return self._get(Histogram, "histogram", metric, labels)

    def wall_latency(self, latency: str) -> WallLatency:
        """The histogram of one of `metrics.WALL_LATENCIES`."""
        negative = self.counter("tickcast_negative_latencies_total", latency=latency)
        return WallLatency(self.histogram(f"tickcast_{latency}_seconds"), negative)

    def turn(self, monotonic_ns: int) -> None:
        """The loop made a turn: `/livez` looks at how long ago that was."""
        self._slots[layout.SLOT_TURN] = monotonic_ns * 1e-9

    def set_ready(self, ready: bool) -> None:
        """What `/readyz` and `tickcast_ready` say."""
        self._slots[layout.SLOT_READY] = 1.0 if ready else 0.0

    def set_detail(self, detail: Mapping[str, Any]) -> None:
        """What `/readyz` says beside it. Entries too long for the board are left out, largest first, and named."""
        kept, left_out = dict(detail), list[str]()
        while len(blob := _json({**kept, "left_out": left_out} if left_out else kept)) > self._detail.bytes_max:
            largest = max(kept, key=lambda key: len(_json(kept[key])))
            left_out.append(largest)
            del kept[largest]
        self._detail.write(blob)

    def close(self) -> None:
        """Let go of `fd`. What was handed out may still be written to; the memory goes with it."""
        os.close(self.fd)

    def _get(self, make: type[_H], kind: Kind, name: str, labels: Mapping[str, str]) -> _H:
        metric = METRICS.get(name)
        if metric is None or metric.kind != kind:
            raise ValueError(f"there is no {kind} {name}")
        handle = self._handle(metric, metric.label_values(labels))
        assert isinstance(handle, make)
        return handle

    def _handle(self, metric: Metric, values: tuple[str, ...]) -> Handle:
        handle = self._handles.get((metric.name, values))
        if handle is not None:
            return handle
        make = _HANDLES[metric.kind]
        slot = self._slots_used
        if slot + metric.slots > len(self._slots) or not self._declare(metric, values, slot):
            self.counter("tickcast_series_dropped_total").add()
            return make(self._slots, layout.SLOT_DISCARD)
        self._slots_used += metric.slots
        handle = self._handles[metric.name, values] = make(self._slots, slot)
        return handle

    def _declare(self, metric: Metric, values: tuple[str, ...], slot: int) -> bool:
        """Append the series to the schema; False when it is full. The length comes last: readers see whole lines."""
        line = _json([metric.name, values, slot]) + b"\n"
        end = self._schema_bytes + len(line)
        if end > len(self._schema):
            return False
        if metric.kind == "gauge":
            self._slots[slot] = math.nan
        self._schema[self._schema_bytes : end] = line
        self._words[layout.WORD_SCHEMA_BYTES] = self._schema_bytes = end
        return True


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


_HANDLES: dict[Kind, type[Handle]] = {
    "counter": Counter,
    "gauge": Gauge,
    "histogram": Histogram,
}
