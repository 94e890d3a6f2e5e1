"""Where a turn's time goes: every stage as the pipeline itself books it, exactly and turn by turn.

Beside the way of a tick. The pipeline writes to the board as in production; this board also keeps what a histogram
would round to its buckets.
"""

from tickcast.board import Board, Histogram

METRIC = "tickcast_stage_seconds"


class StageBoard(Board):
    """A board that adds up, in `spent`, the seconds each stage took since someone cleared it."""

    def __init__(self, fd: int, slots_max: int, schema_bytes_max: int) -> None:
        self.spent: dict[str, float] = {}
        super().__init__(fd, slots_max, schema_bytes_max)

    def histogram(self, metric: str, /, **labels: str) -> Histogram:
        """See `Board`."""
        histogram = super().histogram(metric, **labels)
        return _Noting(histogram, labels["stage"], self.spent) if metric == METRIC else histogram


class _Noting(Histogram):
    """A histogram of a stage that notes each value beside counting it."""

    __slots__ = ("_histogram", "_spent", "_stage")

    def __init__(self, histogram: Histogram, stage: str, spent: dict[str, float]) -> None:
        self._histogram = histogram
        self._stage = stage
        self._spent = spent

    def observe_one(self, seconds: float) -> None:
        """See `Histogram`."""
        self._spent[self._stage] = self._spent.get(self._stage, 0.0) + seconds
        self._histogram.observe_one(seconds)
