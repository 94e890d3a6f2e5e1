"""Whose attention is asked for: the symbols that viewers look at, in turn, for the loop answers one a second.

Beside the way of a tick, in the process that serves: the other side of `spotlight.py`.
"""

import threading
from collections.abc import Callable
from typing import Any

from tickcast.wish import Wish

ASK_INTERVAL_S = 1.0
# Each viewer looks at one symbol; one that nobody has looked at for so long is not asked for any more.
WANTED_S = 5.0
SYMBOLS_MAX = 16


class AttentionRota:
    """`want` may be called from any thread, `turn` from one."""

    def __init__(self, wish: Wish, told: Callable[[], dict[str, Any]]) -> None:
        """`told` is what the loop last said, see `TapeReader.attention`."""
        self._wish = wish
        self._told = told
        self._lock = threading.Lock()
        self._wanted: dict[str, float] = {}  # symbol -> when it was last wanted; the first is asked for next
        self._answers: dict[str, dict[str, Any]] = {}
        self._asked_s = 0.0

    def want(self, symbol: str, now_s: float) -> None:
        """Somebody looks at `symbol`; of more than `SYMBOLS_MAX` at once the last are not asked for."""
        with self._lock:
            if symbol in self._wanted or len(self._wanted) < SYMBOLS_MAX:
                self._wanted[symbol] = now_s

    def wanted(self) -> set[str]:
        """The symbols that somebody looks at."""
        with self._lock:
            return set(self._wanted)

    def of(self, symbol: str) -> dict[str, Any] | None:
        """What was last told of it; None where nothing was yet."""
        return self._answers.get(symbol)

    def turn(self, now_s: float) -> None:
        """Take note of the answer; ask for the next one, if it is time."""
        told = self._told()
        with self._lock:
            for symbol, wanted_s in list(self._wanted.items()):
                if now_s - wanted_s > WANTED_S:
                    del self._wanted[symbol]
                    self._answers.pop(symbol, None)
            if told.get("symbol") in self._wanted:
                self._answers[told["symbol"]] = {name: value for name, value in told.items() if name != "symbol"}
            asked = self._next(now_s)
        if asked is not None:
            self._wish.ask(asked, int(now_s * 1e9))

    def forget(self) -> None:
        """Another model answers: what was told is of the one before."""
        self._answers.clear()

    def _next(self, now_s: float) -> str | None:
        if not self._wanted or now_s - self._asked_s < ASK_INTERVAL_S:
            return None
        self._asked_s = now_s
        symbol = next(iter(self._wanted))
        self._wanted[symbol] = self._wanted.pop(symbol)  # to the end
        return symbol
