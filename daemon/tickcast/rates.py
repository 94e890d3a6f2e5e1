"""Rates and quantiles of what happened between two looks at the board.

Beside the way of a tick, in the process that serves: counters only ever grow, and what lies between two looks is news.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Self

from tickcast.board_reader import BoardReader
from tickcast.metrics import BOUNDS_S, METRICS

Labels = tuple[str, ...]


class Look(NamedTuple):
    """Some metrics as they stood at one time: name -> label values in the table's order -> `Sample.values`."""

    at_s: float  # monotonic
    values: Mapping[str, Mapping[Labels, Sequence[float]]]

    @classmethod
    def at(cls, reader: BoardReader, names: Collection[str], at_s: float) -> Self:
        """The metrics called `names`, now."""
        values: dict[str, dict[Labels, Sequence[float]]] = {name: {} for name in names}
        for sample in reader.samples():
            series = values.get(sample.metric.name)
            if series is not None:
                series[sample.labels] = sample.values
        return cls(at_s, values)

    def series(self, name: str) -> Mapping[Labels, Sequence[float]]:
        """What there is of a metric; nothing where nothing is set."""
        return self.values.get(name, {})

    def total(self, name: str) -> float | None:
        """The sum over a metric's labels; None where nothing is set."""
        series = self.series(name)
        return sum(values[0] for values in series.values()) if series else None

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The sums of a metric for each value of one of its labels."""
        at = list(METRICS[name].labels).index(label)
        sums: dict[str, float] = {}
        for labels, values in self.series(name).items():
            sums[labels[at]] = sums.get(labels[at], 0.0) + values[0]
        return sums


class Interval(NamedTuple):
    """What happened between two looks."""

    before: Look
    after: Look

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.after.at_s - self.before.at_s

    def increase(self, name: str) -> float:
        """How much a counter has grown, over all its labels."""
        return (self.after.total(name) or 0.0) - (self.before.total(name) or 0.0)

    def per_s(self, name: str) -> float | None:
        """How fast a counter has grown; None where no time has passed."""
        return self.increase(name) / self.seconds if self.seconds > 0 else None

    def increases(self, name: str, label: str) -> dict[str, float]:
        """How much a counter has grown, for each value of one of its labels."""
        before = self.before.by_label(name, label)
        return {value: total - before.get(value, 0.0) for value, total in self.after.by_label(name, label).items()}

    def counts(self, name: str) -> list[float]:
        """How many values of a histogram without labels fell into each bucket, the last one open; empty: no such."""
        after = self.after.series(name).get(())
        if after is None:
            return []
        before = self.before.series(name).get(()) or [0.0] * len(after)
        return [now - then for now, then in zip(after[:-1], before[:-1], strict=True)]


def quantile_s(counts: Sequence[float], share: float) -> float | None:
    """The value that `share` of the counted ones stay below; even within a bucket. None where none was counted.

    In the open bucket it is that bucket's lower bound, as Prometheus' `histogram_quantile` has it: whoever shows it
    says that it lies beyond.
    """
    rank = share * sum(counts)
    below, last = 0.0, _last_bucket(counts)
    if last is None:
        return None
    for bucket, count in enumerate(counts[: last + 1]):
        if count > 0 and below + count >= rank:
            last = bucket
            break
        below += count
    if last == len(BOUNDS_S):
        return BOUNDS_S[-1]
    low = BOUNDS_S[last - 1] if last else 0.0
    return low + (BOUNDS_S[last] - low) * min(1.0, max(0.0, rank - below) / counts[last])


def max_bound_s(counts: Sequence[float]) -> float | None:
    """What no counted value was above, as far as the buckets tell: None where none was counted, or one was beyond."""
    last = _last_bucket(counts)
    return None if last is None or last == len(BOUNDS_S) else BOUNDS_S[last]


def _last_bucket(counts: Sequence[float]) -> int | None:
    return max((bucket for bucket, count in enumerate(counts) if count > 0), default=None)
