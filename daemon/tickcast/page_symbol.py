"""The page's document, of one symbol: its path, the forecasts along it, how they turned out, what they lean on.

Beside the way of a tick, in the process that serves.
"""

import math
from typing import Any

from tickcast.page_feed import Watch
from tickcast.symbol_history import PATH_POINTS_MAX, Path, SymbolHistory

# Ticks on the chart: some windows, so that attention over one has its ticks beneath it.
POINTS_MIN = 240
WINDOWS = 1.5


def symbol_of(watch: Watch, symbol: str, wall_ns: int) -> dict[str, Any]:
    """Everything about `symbol`; with empty lists where no tick of it has been seen."""
    history = watch.history(symbol)
    path = None if history is None else watch.path(symbol, _points(watch.model_of(history).get("window", 0)))
    if path is None or history is None:
        empty: dict[str, Any] = {"path": [], "fans": [], "rms": [], "scored": None, "attention": None, "last": None}
        return {"symbol": symbol, "model": None, **empty}
    return {
        "symbol": symbol,
        "model": history.place,
        "path": [
            [time_ns // 1_000_000, position, _known(mid)]
            for time_ns, position, mid in zip(path.event_times_ns, path.positions, path.mids, strict=True)
        ],
        "fans": _fans(path),
        "rms": [_rms(_outcomes(path, column)) for column in range(len(path.shape.horizons))],
        "scored": _scored(path),
        "attention": watch.attention.of(symbol),
        "latency_ms": _latency_ms(history),
        "last": _last(history),
    }


def _points(window: int) -> int:
    return min(PATH_POINTS_MAX, max(POINTS_MIN, round(window * WINDOWS)))


def _last(history: SymbolHistory) -> dict[str, Any]:
    newest = history.newest
    return {
        "position": newest.position,
        "event_ms": newest.event_time_ns // 1_000_000,
        "received_ms": newest.received_ns // 1_000_000,
        "mid": newest.mid,
        "path": newest.path,
        "forecast": [_short(value) for value in newest.forecast],
    }


def _latency_ms(history: SymbolHistory) -> float:
    """Of the newest tick: its event to our having it, wall clocks of two hosts."""
    return round((history.newest.received_ns - history.newest.event_time_ns) / 1e6, 3)


def _fans(path: Path) -> list[dict[str, Any]]:
    """The newest forecast, last, and earlier ones as far apart as they look ahead: always the same ones."""
    width = len(path.shape.horizons)
    if not width:
        return []
    apart, newest = max(path.shape.horizons), len(path.positions) - 1
    fans = []
    for at, position in enumerate(path.positions):
        forecast, mid = path.forecasts[at * width : (at + 1) * width], path.mids[at]
        if (position % apart == 0 or at == newest) and math.isfinite(mid) and all(map(math.isfinite, forecast)):
            values = [_short(value) for value in forecast]
            event_ms = path.event_times_ns[at] // 1_000_000
            fans.append({"position": position, "event_ms": event_ms, "mid": mid, "forecast": values})
    return fans


def _scored(path: Path) -> dict[str, Any] | None:
    """What was forecast for the longest horizon that can be compared, and what happened."""
    shape = path.shape
    if not shape.scored:
        return None
    points = _outcomes(path, shape.scored[-1])
    return {
        "horizon": shape.horizons[shape.scored[-1]],
        "points": [[position, _short(forecast), _short(happened)] for position, forecast, happened in points],
    }


def _outcomes(path: Path, column: int) -> list[tuple[int, float, float]]:
    """Position, forecast and what happened, of each forecast whose tick has come in the same run."""
    shape = path.shape
    if column not in shape.scored:
        return []
    ahead, width = shape.horizons[column], len(shape.horizons)
    positions, mids, forecasts = path.positions, path.mids, path.forecasts
    outcomes = []
    for at in range(len(positions) - ahead):
        # Positions only grow: as many entries as positions between the two leave no gap.
        if positions[at + ahead] - positions[at] == ahead:
            forecast, happened = forecasts[at * width + column], mids[at + ahead] - mids[at]
            if math.isfinite(forecast) and math.isfinite(happened):
                outcomes.append((positions[at], forecast, happened))
    return outcomes


def _rms(outcomes: list[tuple[int, float, float]]) -> float | None:
    if not outcomes:
        return None
    # Not a sum of squares: one of a broken price would raise OverflowError.
    return _short(math.hypot(*(forecast - happened for _, forecast, happened in outcomes)) / math.sqrt(len(outcomes)))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _short(value: float) -> float | None:
    """To six digits: a float32 has no more worth showing."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
