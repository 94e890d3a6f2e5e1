"""What happens while ticks are played, seen from outside: by reading the output topic as it grows.

Beside the way of a tick. Everything kept is bounded: the newest forecast of each symbol, the newest latencies.
"""

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from tickcast import records
from tickcast.clients import OffsetRange
from tickcast.config import Config
from tickcast.records import Forecast
from tickcast.topic_reader import TopicReader

from tickcast_export.demo_results import percentile

LATENCIES_KEPT = 5_000
SYMBOLS_KEPT = 64  # the demo plays fewer; a bound all the same


@dataclass
class View:
    """The state of things, for a screen."""

    to_play: int
    played: int = 0
    forecasts: int = 0
    status: str = ""  # of the daemon, in its own words
    newest: dict[str, Forecast] = field(default_factory=dict)  # by symbol
    counts: dict[str, int] = field(default_factory=dict)  # forecasts by symbol
    latencies_us: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))

    def latency_us(self, share: float) -> float | None:
        """A percentile of the newest latencies, from the Kafka timestamp to sent."""
        return percentile(np.array(self.latencies_us), share)


class Watch:
    """Follows the topics of a run from their beginning. A context manager."""

    def __init__(self, config: Config, to_play: int) -> None:
        self.view = View(to_play)
        with ExitStack() as opened:
            # One reader each: a consumer forgets the leaders of all topics but those that it reads.
            self._ticks, self._forecasts = (opened.enter_context(TopicReader(config.kafka)) for _ in range(2))
            self._inputs = self._ticks.partitions(config.kafka.input_topics[0])
            self._outputs = self._forecasts.partitions(config.kafka.output_topic)
            self._opened = opened.pop_all()
        self._read_to = dict.fromkeys(self._outputs, 0)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *raised: object) -> None:
        self._opened.close()

    def look(self, status: str) -> View:
        """Read what is new."""
        held = self._forecasts.held(self._outputs)
        new = {p: OffsetRange(self._read_to[p], held[p].end) for p in self._outputs if held[p].end > self._read_to[p]}
        for record in self._forecasts.read(new) if new else ():
            self._take(records.decode(record.value or b""))
        self._read_to |= {partition: part.end for partition, part in new.items()}
        self.view.played = sum(part.end for part in self._ticks.held(self._inputs).values())
        self.view.status = status
        return self.view

    def committed(self) -> int:
        """How many of the ticks played the daemon has committed: answered, acknowledged, never to come again."""
        found = self._ticks.committed(self._inputs)
        return sum(at.offset for at in found.values() if at is not None)

    def _take(self, forecast: Forecast) -> None:
        view = self.view
        view.forecasts += 1
        view.latencies_us.append((forecast.sent_time_ns - forecast.tick_time_ns) / 1e3)
        if forecast.symbol in view.newest or len(view.newest) < SYMBOLS_KEPT:
            view.newest[forecast.symbol] = forecast
            view.counts[forecast.symbol] = view.counts.get(forecast.symbol, 0) + 1
