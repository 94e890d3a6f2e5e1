"""The page's table of symbols: the first so many of an order, however many there are.

Beside the way of a tick, in the process that serves. An order stands for some seconds, so that rows do not jump under
the reader's eyes, and is shared by all who look.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tickcast.symbol_history import SymbolHistory

ORDER_S = 3.0

Histories = Callable[[], Sequence[SymbolHistory]]
# Smallest first. Who has nothing to be ordered by comes last, and equals by name.
Key = Callable[[SymbolHistory, int], float]


def _move(history: SymbolHistory, now_ns: int) -> float:
    return -abs(moved(history, now_ns) or 0.0)


def _error(history: SymbolHistory, now_ns: int) -> float:
    error = history.error
    return 0.0 if error is None else -error


def _rate(history: SymbolHistory, now_ns: int) -> float:
    return -history.ticks_per_s(now_ns)


def _name(history: SymbolHistory, now_ns: int) -> float:
    return 0.0


SORTS: dict[str, Key] = {"movers": _move, "errors": _error, "rate": _rate, "name": _name}


class Rows(NamedTuple):
    """What is shown of the symbols that match."""

    shown: Sequence[SymbolHistory]
    matching: int


class _Order(NamedTuple):
    since_s: float
    histories: Sequence[SymbolHistory]


class Table:
    """Orders of all symbols, each renewed when it is asked for and old. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[str, _Order] = {}

    def rows(self, of: Histories, sort: str, search: str, limit: int, now_s: float, wall_ns: int) -> Rows:
        """The first `limit` of those whose names contain `search`, in whatever case; `now_s` is monotonic."""
        histories = self._ordered(of, sort, now_s, wall_ns)
        if search:
            wanted = search.casefold()
            histories = [history for history in histories if wanted in history.folded]
        return Rows(histories[:limit], len(histories))

    def _ordered(self, of: Histories, sort: str, now_s: float, wall_ns: int) -> Sequence[SymbolHistory]:
        with self._lock:
            order = self._orders.get(sort)
            if order is None or now_s - order.since_s >= ORDER_S:
                key = SORTS[sort]
                histories = sorted(of(), key=lambda each: (key(each, wall_ns), each.symbol))
                order = self._orders[sort] = _Order(now_s, histories)
            return order.histories


def moved(history: SymbolHistory, wall_ns: int) -> float | None:
    """The mid's change over about a minute, as a share of it; None where that means nothing."""
    change, mid = history.change(wall_ns), history.mid
    return None if change is None or not mid else change / abs(mid)


def row(history: SymbolHistory, model: Mapping[str, Any], wall_ns: int) -> dict[str, Any]:
    """One line of the table; `model` answers it."""
    newest, error, target_scale = history.newest, history.error, float(model.get("target_scale", 0.0))
    return {
        "symbol": history.symbol,
        "model": history.place,
        "mid": history.mid,
        "change": _short(history.change(wall_ns)),
        "change_share": _short(moved(history, wall_ns)),
        "forecast": _short(newest.forecast[-1] if newest.forecast else None),
        "error": None if error is None or not target_scale else _short(error / target_scale),
        "relative": _short(history.relative),
        "rate": round(history.ticks_per_s(wall_ns), 2),
        "age_s": round(max(0.0, (wall_ns - newest.received_ns) / 1e9), 1),
    }


def _short(value: float | None) -> float | None:
    """To six digits: what is shown has fewer."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
