"""The pipeline's hands on the board: each metric it writes, looked up once."""

from collections import Counter as Multiset
from collections.abc import Sequence

import numpy as np

from tickcast.board import Board, Counter, Gauge
from tickcast.clients import Partition
from tickcast.clock import Clock
from tickcast.deliveries import Batch
from tickcast.errors import BAD_RECORD_REASONS
from tickcast.metrics import LAG_REASONS, STAGES, TRANSACTION_RESULTS, UNANSWERED_REASONS
from tickcast.records import AnswerPath
from tickcast.symbols import Unanswered
from tickcast.windows import SKIPPED, Fate

Outcome = Fate | Unanswered


class StageTimer:
    """Splits a turn of the loop into its stages: `mark` notes the time since the last mark, `book` counts all of it."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._histograms = {stage: board.histogram("tickcast_stage_seconds", stage=stage) for stage in STAGES}
        self._monotonic_ns = clock.monotonic_ns
        self._since_ns = clock.monotonic_ns()
        self._spent_ns: dict[str, int] = {}

    def start(self) -> None:
        """The next stage begins now."""
        self._since_ns = self._monotonic_ns()

    def mark(self, stage: str) -> None:
        """`stage` ends now, and the next one begins."""
        now_ns = self._monotonic_ns()
        self._spent_ns[stage] = self._spent_ns.get(stage, 0) + now_ns - self._since_ns
        self._since_ns = now_ns

    def book(self) -> None:
        """The turn is over: count, for each stage that it had, the time it took in all."""
        for stage, spent_ns in self._spent_ns.items():
            self._histograms[stage].observe_one(spent_ns / 1e9)
        self._spent_ns.clear()


class PartitionGauges:
    """Where one partition stands."""

    def __init__(self, board: Board, partition: Partition) -> None:
        labels = {"topic": partition.topic, "partition": str(partition.number)}
        self.lag = board.gauge("tickcast_lag_records", **labels)
        self.position = board.gauge("tickcast_position_offset", **labels)
        self.rebuild_remaining = board.gauge("tickcast_rebuild_remaining_records", **labels)
        self.unstable = board.gauge("tickcast_unstable_records", **labels)

    def clear(self) -> None:
        """The partition is not ours any more."""
        for gauge in (self.lag, self.position, self.rebuild_remaining, self.unstable):
            gauge.clear()


class Instruments:
    """Everything else the pipeline counts."""

    def __init__(self, board: Board, clock: Clock, topics: Sequence[str], horizons: Sequence[int]) -> None:
        self.board = board
        self.stages = StageTimer(board, clock)
        self.processed = self._by_topic("tickcast_ticks_processed_total", topics)
        self.replayed = self._by_topic("tickcast_ticks_replayed_total", topics)
        self.forecasts: dict[AnswerPath, Counter] = {
            "finish": board.counter("tickcast_forecasts_total", path="finish"),
            "window": board.counter("tickcast_forecasts_total", path="window"),
            "carried": board.counter("tickcast_forecasts_total", path="carried"),
        }
        self.warming = board.counter("tickcast_warming_ticks_total")
        self.skipped = {
            reason: board.counter("tickcast_skipped_ticks_total", reason=reason)
            for reason in (*SKIPPED, *UNANSWERED_REASONS, *LAG_REASONS)
        }
        self.dead_letters = {
            reason: board.counter("tickcast_dead_letters_total", reason=reason) for reason in BAD_RECORD_REASONS
        }
        self.forecast_ahead(horizons)
        self.rows = board.counter("tickcast_rows_total")
        self.symbols_doubled = board.counter("tickcast_symbols_on_two_partitions_total")
        self.symbols: Gauge = board.gauge("tickcast_symbols")
        self.evicted: Counter = board.counter("tickcast_symbols_evicted_total")
        self.acknowledged = board.counter("tickcast_records_acknowledged_total")
        self.outstanding = board.gauge("tickcast_outstanding_records")
        self.paused = board.gauge("tickcast_paused")
        self.commits = board.counter("tickcast_commits_total")
        self.commit_failures = board.counter("tickcast_commit_failures_total")
        self.transactions = {
            result: board.counter("tickcast_transactions_total", result=result) for result in TRANSACTION_RESULTS
        }
        self.fenced_owners = board.counter("tickcast_fenced_owners_total")
        self.pending = board.gauge("tickcast_pending_partitions")
        self.progress = board.gauge("tickcast_last_progress_timestamp_seconds")
        self.event_to_sent = board.wall_latency("event_to_sent")
        self.kafka_to_sent = board.wall_latency("kafka_to_sent")
        self.received_to_handed = board.histogram("tickcast_received_to_handed_seconds")
        self.handed_to_acknowledged = board.histogram("tickcast_handed_to_acknowledged_seconds")

    def forecast_ahead(self, horizons: Sequence[int]) -> None:
        """Forecasts hold a value for each of `horizons` from now on; what was counted for others stays."""
        self.expired = {
            horizon: self.board.counter("tickcast_forecasts_expired_total", horizon=str(horizon))
            for horizon in horizons
        }

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """What became of decoded ticks. Forecasts are counted when they are sent."""
        for outcome, number in Multiset(outcomes).items():
            if outcome == "warming":
                self.warming.add(number)
            elif outcome != "forecast":
                self.skipped[outcome].add(number)

    def count_expired(self, late: Sequence[int], horizons: Sequence[int]) -> None:
        """Forecasts for `horizons` that came `late` sampled ticks late: those up to so far ahead are of use no more."""
        ahead = np.array(late)
        for horizon in horizons:
            self.expired[horizon].add(int(np.count_nonzero(ahead >= horizon)))

    def answered(self, batch: Batch) -> None:
        """All of `batch` was acknowledged."""
        self.acknowledged.add(batch.sent)
        self.handed_to_acknowledged.observe(batch.latencies_s())

    def recovered(self, kind: str) -> None:
        """A partition was taken up, `kind` says from what."""
        self.board.counter("tickcast_recoveries_total", kind=kind).add()

    def _by_topic(self, metric: str, topics: Sequence[str]) -> dict[str, Counter]:
        return {topic: self.board.counter(metric, topic=topic) for topic in topics}
