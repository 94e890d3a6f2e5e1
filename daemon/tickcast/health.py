"""Whether the loop lives and is ready, as the board shows it to the process that serves."""

import time
from typing import Any

from tickcast.board_reader import BoardReader


class Health:
    """What `/livez` and `/readyz` say."""

    def __init__(self, reader: BoardReader, live_timeout_s: float) -> None:
        self._reader = reader
        self._live_timeout_s = live_timeout_s

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Alive: the loop's last turn is younger than the timeout."""
        age_s = time.monotonic() - self._reader.turn_s()
        live = age_s < self._live_timeout_s
        answer: dict[str, Any] = {"live": live, "turn_age_s": round(age_s, 3)}
        if not live:
            answer["reason"] = f"the loop has made no turn for {age_s:.1f} s (allowed: {self._live_timeout_s:g} s)"
        return live, answer

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Ready: alive, and the loop says so; with the loop's own account of its state."""
        live, answer = self.live()
        ready, detail = live and self._reader.ready(), self._reader.detail()
        if live and not ready:
            answer["reason"] = ": ".join(["the loop is not ready", *([detail["status"]] if "status" in detail else [])])
        return ready, {"ready": ready, **answer, "detail": detail}
