"""Python's garbage collector, kept off the hot path and watched.

A collection of the oldest generation stalls the loop for 100 ms and more when many objects live. After warm-up all that
lives is frozen out of its sight; what it still takes shows as `tickcast_gc_pause_seconds`.
"""

import gc

from tickcast.board import Histogram
from tickcast.clock import Clock


class GarbageWatch:
    """Times every collection of this process between `start` and `stop`."""

    def __init__(self, pauses: Histogram, clock: Clock) -> None:
        self._pauses = pauses
        self._clock = clock
        self._started_ns = 0

    def start(self) -> None:
        """Collect and freeze what lives now (sessions, buffers, modules); watch what comes."""
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """Undo `start`."""
        gc.callbacks.remove(self._observe)
        gc.unfreeze()

    def _observe(self, phase: str, _info: dict[str, int]) -> None:
        now_ns = self._clock.monotonic_ns()
        if phase == "start":
            self._started_ns = now_ns
        else:
            self._pauses.observe_one((now_ns - self._started_ns) / 1e9)
