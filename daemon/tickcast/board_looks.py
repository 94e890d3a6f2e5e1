"""What the page shows of the board: rates and quantiles of the last seconds, and how they were in the last minutes.

Beside the way of a tick, in the process that serves, only while somebody looks.
"""

from collections import deque
from typing import NamedTuple

from tickcast.board_reader import BoardReader
from tickcast.rates import Interval, Look, quantile_s

LOOK_INTERVAL_S = 1.0
# Rates and quantiles are of the last five seconds: long enough for a quiet market, short enough to see what happens.
RECENT_LOOKS = 6
# A point of the latencies' history every two seconds, for five minutes.
POINT_LOOKS = 2
POINTS_MAX = 150
# How forecasts turned out is said of the last five minutes, seen every ten seconds.
FAR_LOOKS = 10
FAR_MAX = 31

LATENCY = "tickcast_received_to_handed_seconds"
NAMES = frozenset(
    (
        LATENCY,
        "tickcast_build_info",
        "tickcast_dead_letters_total",
        "tickcast_event_to_sent_seconds",
        "tickcast_feature_drift_psi",
        "tickcast_forecast_absolute_error_total",
        "tickcast_forecast_squared_error_total",
        "tickcast_forecasts_expired_total",
        "tickcast_forecasts_scored_total",
        "tickcast_forecasts_total",
        "tickcast_handed_to_acknowledged_seconds",
        "tickcast_kafka_to_sent_seconds",
        "tickcast_lag_records",
        "tickcast_persistence_squared_error_total",
        "tickcast_position_offset",
        "tickcast_provider_info",
        "tickcast_skipped_ticks_total",
        "tickcast_start_time_seconds",
        "tickcast_symbols",
        "tickcast_ticks_processed_total",
        "tickcast_warming_ticks_total",
    )
)


class LatencyPoint(NamedTuple):
    """Received to handed, of two seconds; None where nothing was handed over."""

    wall_ms: int
    p50_s: float | None
    p99_s: float | None


class BoardLooks:
    """Looks at the board from time to time. One thread takes them; what it leaves to read is replaced whole."""

    def __init__(self, reader: BoardReader) -> None:
        self._reader = reader
        self._looks = 0
        self._due_s = 0.0
        self._recent: deque[Look] = deque(maxlen=RECENT_LOOKS)
        self._far: deque[Look] = deque(maxlen=FAR_MAX)
        self._point: Look | None = None
        self.recent: Interval | None = None
        self.far: Interval | None = None
        self.latencies: tuple[LatencyPoint, ...] = ()

    def turn(self, now_s: float, wall_ms: int) -> None:
        """Look, if it is time: `now_s` is monotonic."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + LOOK_INTERVAL_S
        look = Look.at(self._reader, NAMES, now_s)
        self._recent.append(look)
        self.recent = Interval(self._recent[0], look)
        if self._looks % FAR_LOOKS == 0:
            self._far.append(look)
        self.far = Interval(self._far[0], look)
        if self._looks % POINT_LOOKS == 0:
            self._add_point(look, wall_ms)
        self._looks += 1

    def _add_point(self, look: Look, wall_ms: int) -> None:
        if self._point is not None:
            counts = Interval(self._point, look).counts(LATENCY)
            point = LatencyPoint(wall_ms, quantile_s(counts, 0.5), quantile_s(counts, 0.99))
            self.latencies = (*self.latencies, point)[-POINTS_MAX:]
        self._point = look
