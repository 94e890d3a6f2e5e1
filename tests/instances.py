"""The real second process, over shared memory that a test writes as the loop would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from tickcast.clock import SystemClock
from tickcast.config import HttpConfig
from tickcast.shared_memory import SharedMemory
from tickcast.sidecar import Sidecar
from tickcast.tape import Ticks

HORIZONS = list(range(1, 11))
WINDOW = 8
MODEL = {
    "name": "btc",
    "version": "2024.1",
    "sha256": "0" * 64,
    "family": "additive",
    "provider": "cpu",
    "window": WINDOW,
    "horizons": HORIZONS,
    "unit": "USD",
    "target_scale": 0.5,
    "attention": True,
}


class Serving(NamedTuple):
    """What is served, and where."""

    shared: SharedMemory
    url: str

    def tell(self, symbol: str, first: int, count: int) -> None:
        """So many ticks of `symbol`, from position `first` on, each with a forecast."""
        clock = SystemClock()
        positions = np.arange(first, first + count)
        now_ns = np.full(count, clock.wall_ns(), np.int64)
        mids = 100.0 + (positions * 7 % 13) / 10
        forecasts = np.tile(np.array(HORIZONS, np.float32) / 10, (count, 1))
        ticks = Ticks([symbol] * count, np.ones(count, np.uint32), positions, now_ns, now_ns, mids, forecasts)
        self.shared.tape.append(ticks)
        board = self.shared.board
        board.counter("tickcast_ticks_processed_total", topic="ticks").add(count)
        board.counter("tickcast_forecasts_total", path="finish").add(count)
        board.histogram("tickcast_received_to_handed_seconds").observe([84e-6] * count)

    def answer_wish(self) -> None:
        """As the loop does while somebody looks: what the newest forecast leans on."""
        if symbol := self.shared.wish.asked(SystemClock().monotonic_ns()):
            weights = [0.05] * (WINDOW - 1) + [1 - 0.05 * (WINDOW - 1)]
            self.shared.tape.set_attention({"symbol": symbol, "weights": weights, "position": 1, "event_time_ns": 1})


@contextmanager
def serving(name: str = "desk") -> Iterator[Serving]:
    """A ready instance of which two symbols have been answered."""
    shared = SharedMemory.create(SystemClock())
    shared.tape.begin(len(HORIZONS), MODEL)
    shared.board.set_ready(True)
    shared.board.set_detail({"status": "6 partitions, 2 symbols, 9 ticks/s, lag 0"})
    sidecar = Sidecar.start(shared, HttpConfig(port=0, live_timeout_ms=60_000), 600, name)
    try:
        serving = Serving(shared, sidecar.url)
        serving.tell("QUIET", 10, 20)
        serving.tell("BUSY", 10, 60)
        yield serving
    finally:
        sidecar.stop()
        shared.close()
