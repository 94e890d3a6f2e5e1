"""A loop's side of the shared memory, played with simulated ticks: what the page is fed from, without a broker.

Mids of every symbol wander on a grid; a forecast is a share of what will happen, and noise. Nothing of it is a market's
or a model's, and whatever shows it calls it simulated.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tickcast.clock import Clock, SystemClock
from tickcast.shared_memory import SharedMemory
from tickcast.tape import PATH_NUMBERS, Ticks
from tickcast.wish import Wish

HORIZONS = tuple(range(1, 11))
WINDOW = 64
PRICE_STEP = 0.01
TARGET_SCALE = 0.02
TOPIC = "ticks"


def model(horizons: Sequence[int] = HORIZONS, window: int = WINDOW, attention: bool = True) -> dict[str, object]:
    """What the tape is told of the model that answers."""
    return {
        "name": "simulated-additive",
        "version": "1",
        "sha256": "5e" * 32,
        "family": "additive",
        "provider": "CPUExecutionProvider",
        "window": window,
        "horizons": list(horizons),
        "unit": "price",
        "target_scale": TARGET_SCALE,
        "attention": attention,
    }


class SimulatedLoop:
    """A context manager: the board, the tape and the wish, and somebody who writes them."""

    def __init__(self, symbols: Sequence[str], clock: Clock | None = None, seed: int = 1) -> None:
        self.clock = clock or SystemClock()
        self.shared = SharedMemory.create(self.clock)
        self.symbols = list(symbols)
        self._random = np.random.default_rng(seed)
        self._mids = self._random.integers(5_000, 50_000, len(self.symbols)) * PRICE_STEP
        self._moves = np.zeros((len(self.symbols), len(HORIZONS)))  # what will happen at the next ticks
        self._positions = np.full(len(self.symbols), WINDOW - 1)
        self._wish = Wish(self.shared.wish.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shared.close()

    def begin(self, told: dict[str, object] | None = None) -> None:
        """A model answers, and the loop is ready."""
        told = told or model()
        board = self.shared.board
        self.shared.tape.begin(len(told["horizons"]), told)  # type: ignore[arg-type]
        board.gauge("tickcast_start_time_seconds").set(self.clock.wall_ns() / 1e9)
        board.gauge("tickcast_position_offset", topic=TOPIC, partition="0").set(0)
        board.gauge("tickcast_lag_records", topic=TOPIC, partition="0").set(0)
        board.gauge("tickcast_symbols").set(len(self.symbols))
        self.turn()
        board.set_ready(True)

    def turn(self, status: str = "") -> None:
        """The loop is alive."""
        board = self.shared.board
        board.turn(self.clock.monotonic_ns())
        board.set_detail({"status": status or f"1 partitions, {len(self.symbols)} symbols, lag 0, simulated"})

    def tick(self, count: int) -> None:
        """`count` simulated ticks of random symbols, each with its forecast."""
        for part in range(0, count, len(self.symbols)):
            size = min(len(self.symbols), count - part)
            self.tick_of(self._random.permutation(len(self.symbols))[:size])
        self.turn()

    def tick_of(self, indices: NDArray[np.int64]) -> None:
        """A tick of each of these symbols, none of them twice."""
        count = len(indices)
        steps = self._random.integers(-1, 2, count) * (self._random.random(count) < 0.4)
        self._mids[indices] += self._moves[indices, 0]
        self._moves[indices, :-1] = self._moves[indices, 1:]
        self._moves[indices, -1] = steps * PRICE_STEP
        self._positions[indices] += 1
        happens = np.cumsum(self._moves[indices], axis=1)
        noise = self._random.normal(0.0, 0.6 * PRICE_STEP, (count, 1)) * np.linspace(0.3, 1.0, len(HORIZONS))
        now_ns = self.clock.wall_ns()
        paths = np.full(count, PATH_NUMBERS["finish"], np.uint32)
        self.shared.tape.append(
            Ticks(
                [self.symbols[index] for index in indices],
                paths,
                self._positions[indices],
                np.full(count, now_ns - 1_500_000),
                np.full(count, now_ns),
                np.round(self._mids[indices], 6),
                (0.6 * happens + noise).astype(np.float32),
            )
        )
        self._count(count)

    def explain(self) -> None:
        """Answer the wish, as `spotlight.py` does."""
        symbol = self._wish.asked(self.clock.monotonic_ns())
        if symbol in self.symbols:
            rising = np.exp(np.linspace(-3.0, 0.0, WINDOW)) * self._random.uniform(0.6, 1.4, WINDOW)
            weights = rising / rising.sum()
            position = int(self._positions[self.symbols.index(symbol)])
            self.shared.tape.set_attention({"symbol": symbol, "weights": weights.tolist(), "position": position})

    def run(self, ticks_per_s: float, duration_s: float) -> None:
        """Tick at about this pace, on the real clock."""
        begin_s, done = time.monotonic(), 0
        while (passed_s := time.monotonic() - begin_s) < duration_s:
            due = int(passed_s * ticks_per_s) - done
            if due:
                self.tick(due)
                done += due
            self.explain()
            time.sleep(0.05)

    def _count(self, ticks: int) -> None:
        board, random = self.shared.board, self._random
        board.counter("tickcast_ticks_processed_total", topic=TOPIC).add(ticks)
        board.counter("tickcast_forecasts_total", path="finish").add(ticks)
        for name, middle_s in (
            ("received_to_handed", 60e-6),
            ("handed_to_acknowledged", 2e-3),
            ("kafka_to_sent", 3e-3),
            ("event_to_sent", 4e-3),
        ):
            seconds = middle_s * np.exp(random.normal(0.0, 0.4, min(ticks, 1_000)))
            board.histogram(f"tickcast_{name}_seconds").observe(seconds)
        for horizon in HORIZONS:
            label = str(horizon)
            board.counter("tickcast_forecasts_scored_total", horizon=label).add(ticks)
            board.counter("tickcast_persistence_squared_error_total", horizon=label).add(ticks * 0.1 * horizon)
            board.counter("tickcast_forecast_squared_error_total", horizon=label).add(ticks * 0.1 * horizon * 0.8)
            typical = ticks * (0.1 * horizon) ** 0.5
            for side, share in (("above", 0.30), ("below", 0.28)):
                board.counter("tickcast_forecast_absolute_error_total", horizon=label, side=side).add(typical * share)
        for column, kind, index in (("bid", "price", 4.1), ("bid_size", "input", 0.07), ("ask_size", "input", 0.31)):
            board.gauge("tickcast_feature_drift_psi", model="simulated-additive", column=column, kind=kind).set(index)
