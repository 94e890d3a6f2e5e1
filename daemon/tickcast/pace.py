"""How fast the loop got on since the last look, in words: ticks a second, and how long a forecast takes.

Beside the way of a tick, for `pulse.py`: from the numbers on the board that `/metrics` shows too.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tickcast.board import Board
from tickcast.metrics import BOUNDS_S


class Pace:
    """Ticks that met their fate, and the time from having a tick in hand to handing its forecast over."""

    def __init__(self, board: Board, topics: Sequence[str], now_ns: int) -> None:
        self._processed = [board.counter("tickcast_ticks_processed_total", topic=topic) for topic in topics]
        self._latency = board.histogram("tickcast_received_to_handed_seconds")
        self._since_ns = now_ns
        self._ticks = self._ticks_now()
        self._counts = self._latency.counts()

    def look(self, now_ns: int) -> tuple[str, str]:
        """Since the last look: `1,204 ticks/s`, and `p99 under 300 us` or nothing where nothing was answered."""
        elapsed_s = max(now_ns - self._since_ns, 1) / 1e9
        ticks, counts = self._ticks_now(), self._latency.counts()
        rate = (ticks - self._ticks) / elapsed_s
        latency = _p99(counts - self._counts)
        self._since_ns, self._ticks, self._counts = now_ns, ticks, counts
        return f"{rate:,.0f} ticks/s", latency

    def _ticks_now(self) -> float:
        return sum(counter.value for counter in self._processed)


def _p99(counts: NDArray[np.float64]) -> str:
    """The bound that 99 % of the values lie under. counts: (buckets,), the last one without an upper bound."""
    reached = counts.cumsum()
    if not reached[-1]:
        return ""
    bucket = int(reached.searchsorted(reached[-1] * 0.99))
    return f"p99 under {_duration(BOUNDS_S[bucket])}" if bucket < len(BOUNDS_S) else f"p99 over {BOUNDS_S[-1]:g} s"


def _duration(seconds: float) -> str:
    """Bounds are round: `300 us`, `1.5 ms`, `7 s`."""
    for limit_s, unit, scale in ((1e-3, "us", 1e6), (1.0, "ms", 1e3)):
        if seconds < limit_s:
            return f"{seconds * scale:g} {unit}"
    return f"{seconds:g} s"
