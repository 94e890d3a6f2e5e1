"""How far off a running daemon is, as its own metrics say: what the retraining example shows while ticks are played.

Beside the way of a tick. Counters only grow; what is shown is of the newest few looks.
"""

import re
import urllib.request
from collections import deque
from typing import NamedTuple

from tickcast.errors import TickcastError

HTTP_TIMEOUT_S = 5.0
LOOKS_KEPT = 8
ERRORS_KEPT = 60  # of the picture
SAMPLE = re.compile(r"^(tickcast_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
SHA256 = re.compile(r'sha256="(\w+)"')

SQUARED, PERSISTENCE = "tickcast_forecast_squared_error_total", "tickcast_persistence_squared_error_total"
SHADOW_SQUARED = "tickcast_shadow_squared_error_total"
SHADOW_PERSISTENCE = "tickcast_shadow_persistence_squared_error_total"
MODEL_INFO = "tickcast_model_info"


class Errors(NamedTuple):
    """1 - squared error / that of no change, over all horizons; None where nothing has moved."""

    answering: float | None
    shadow: float | None


class Live:
    """Looks at a daemon's `/metrics`."""

    def __init__(self, url: str) -> None:
        self.in_force: frozenset[str] = frozenset()  # sha256 of what answered at the last look
        self.history: deque[float] = deque(maxlen=ERRORS_KEPT)
        self._url = f"{url}/metrics"
        self._sums: deque[dict[str, float]] = deque(maxlen=LOOKS_KEPT)

    def look(self) -> Errors:
        """What the newest looks say. Raises TickcastError where nobody answers there."""
        try:
            with urllib.request.urlopen(self._url, timeout=HTTP_TIMEOUT_S) as answer:
                text = answer.read().decode()
        except OSError as error:
            raise TickcastError(f"{self._url}: {error}") from error
        self.take(text)
        found = self.errors()
        if found.answering is not None:
            self.history.append(found.answering)
        return found

    def errors(self) -> Errors:
        """Of what was scored between the oldest and the newest look kept."""
        return Errors(self._saved(SQUARED, PERSISTENCE), self._saved(SHADOW_SQUARED, SHADOW_PERSISTENCE))

    def take(self, text: str) -> None:
        """One page of metrics."""
        sums = dict.fromkeys((SQUARED, PERSISTENCE, SHADOW_SQUARED, SHADOW_PERSISTENCE), 0.0)
        in_force = set()
        for name, labels, value in SAMPLE.findall(text):
            if name in sums:
                sums[name] += float(value)  # over all horizons
            elif name == MODEL_INFO and float(value):
                in_force.update(SHA256.findall(labels))
        self._sums.append(sums)
        self.in_force = frozenset(in_force)

    def _saved(self, error: str, persistence: str) -> float | None:
        oldest, newest = self._sums[0], self._sums[-1]
        moved = newest[persistence] - oldest[persistence]
        return 1 - (newest[error] - oldest[error]) / moved if moved > 0 else None
