"""The table of every metric the daemon has: name, kind, help and labels. `board.py` holds the numbers.

Names follow Prometheus' rules (https://prometheus.io/docs/practices/naming/): prefix, base units last, `_total` on
counters, `_info` on constants that only carry labels. A label with listed values accepts no other one, and a counter
or histogram all of whose labels are listed stands on the board from the start, at zero.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from types import MappingProxyType
from typing import Literal, NamedTuple

from tickcast.errors import BAD_RECORD_REASONS

PREFIX = "tickcast_"

# 5 us to 10 s, six bounds per decade: neighbours differ by at most 5/3, so that a quantile tells 30 from 50 us.
BOUNDS_S = tuple(
    bound
    for exponent in range(-6, 2)
    for mantissa in ("1", "1.5", "2", "3", "5", "7")
    if 5e-6 <= (bound := float(f"{mantissa}e{exponent}")) <= 10.0
)

# The stages of the way of a tick that are timed.
STAGES = ("decode", "features", "push", "run", "attention", "encode", "produce", "prefix")
# Wall clocks of two hosts may disagree: only these latencies can come out negative.
WALL_LATENCIES = ("event_to_sent", "kafka_to_sent")
# The ways to answer a tick; each is held to the bundle's certificate by itself.
ANSWER_PATHS = ("finish", "window", "carried")
# What becomes of a transaction.
TRANSACTION_RESULTS = ("committed", "aborted")
# By which of its rules a tick makes no row, and by which state of its market.
RULE_REASONS = ("unsampled", "late", "duplicate", "one_sided", "crossed", "halted")
# Why there is no model for a symbol: no pattern has it, or the bundle was trained for others.
UNANSWERED_REASONS = ("no_model", "untrained")
# Why a due tick is not answered: it was not its symbol's newest, or too old.
LAG_REASONS = ("latest", "stale")
# On which side of what happened a forecast lay, and whether the mid moved to the side that was forecast.
ERROR_SIDES = ("above", "below")
DIRECTION_RESULTS = ("right", "wrong")
# Why nothing that was kept of a symbol is of use.
STATE_REASONS = ("absent", "other_offset", "other_rules", "other_bundle", "other_row", "unreadable")
# What a raw column is to the model: an input by its value, or a price of which it only sees changes.
COLUMN_KINDS = ("input", "price")

Kind = Literal["counter", "gauge", "histogram"]
ANY: tuple[str, ...] = ()


class Metric(NamedTuple):
    """One line of the table. `labels`: label name -> the values it may take, `ANY` where they come from outside."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @property
    def slots(self) -> int:
        """How many float64 one series takes: its value, or the buckets' counts (the last one open) and the sum."""
        return len(BOUNDS_S) + 2 if self.kind == "histogram" else 1

    def label_values(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The values of `labels` in the table's order. Raises ValueError for labels the table does not have."""
        if labels.keys() != self.labels.keys():
            raise ValueError(f"{self.name} has the labels {sorted(self.labels)}, not {sorted(labels)}")
        for label, allowed in self.labels.items():
            if allowed and labels[label] not in allowed:
                raise ValueError(f"{self.name}: {label} is one of {', '.join(allowed)}, not {labels[label]!r}")
        return tuple(labels[label] for label in self.labels)

    def known_series(self) -> Iterator[tuple[str, ...]]:
        """Label values of each series known beforehand; none for a gauge (it is absent until set) or open labels."""
        if self.kind != "gauge":
            yield from product(*self.labels.values())


_TOPIC = {"topic": ANY}
_PARTITION = {"topic": ANY, "partition": ANY}

_TABLE = (
    # what came in
    Metric("tickcast_ticks_processed_total", "counter", "Records of an input topic that met their fate.", _TOPIC),
    Metric("tickcast_ticks_replayed_total", "counter", "Records read again to rebuild windows, silently.", _TOPIC),
    # what became of it: processed = forecasts + warming + skipped + dead letters
    Metric(
        "tickcast_forecasts_total",
        "counter",
        "Forecasts handed to the producer.",
        {"path": ANSWER_PATHS},
    ),
    Metric("tickcast_warming_ticks_total", "counter", "Ticks without a forecast: their window is not full yet."),
    Metric(
        "tickcast_skipped_ticks_total",
        "counter",
        "Ticks without a forecast by the rules of windows and market states, for want of a model, or by `lag`.",
        {"reason": (*RULE_REASONS, *UNANSWERED_REASONS, *LAG_REASONS)},
    ),
    Metric(
        "tickcast_dead_letters_total",
        "counter",
        "Records sent to the dead-letter topic.",
        {"reason": BAD_RECORD_REASONS},
    ),
    Metric(
        "tickcast_forecasts_expired_total",
        "counter",
        "Forecast values whose tick had already been received when they were sent.",
        {"horizon": ANY},
    ),
    # what came of the forecasts
    Metric(
        "tickcast_forecasts_scored_total",
        "counter",
        "Forecast values whose tick has come: what happened is known.",
        {"horizon": ANY},
    ),
    Metric(
        "tickcast_forecast_squared_error_total",
        "counter",
        "Sum of their squared errors, in squares of the bundle's target_scale.",
        {"horizon": ANY},
    ),
    Metric(
        "tickcast_persistence_squared_error_total",
        "counter",
        "Sum of the squared errors that the guess of no change would have had, in the same unit.",
        {"horizon": ANY},
    ),
    Metric(
        "tickcast_forecast_absolute_error_total",
        "counter",
        "Sum of their absolute errors, in target_scale, by the side of what happened that the forecast lay on: above "
        "less below is the bias.",
        {"horizon": ANY, "side": ERROR_SIDES},
    ),
    Metric(
        "tickcast_forecast_directions_total",
        "counter",
        "Those of them where the mid moved, by whether it was to the side that was forecast.",
        {"horizon": ANY, "result": DIRECTION_RESULTS},
    ),
    Metric("tickcast_forecasts_banded_total", "counter", "Those of them that came with a band.", {"horizon": ANY}),
    Metric(
        "tickcast_forecasts_covered_total",
        "counter",
        "Those of them with a band that what happened was in.",
        {"horizon": ANY},
    ),
    Metric(
        "tickcast_bands_begun_total",
        "counter",
        "Windows whose bands began with the half-widths of the export, as nothing was known of their symbol's errors.",
    ),
    # what lives on over a restart
    Metric("tickcast_state_records_total", "counter", "Records of live state handed to the producer, with commits."),
    Metric("tickcast_state_bytes_total", "counter", "Bytes of their keys and values."),
    Metric(
        "tickcast_state_restored_symbols_total",
        "counter",
        "Symbols whose bands and scores went on where the former owner of their partition had left them.",
    ),
    Metric(
        "tickcast_state_begun_anew_symbols_total",
        "counter",
        "Symbols whose bands and scores began anew with a takeover: nothing was kept of them, or not as of the "
        "committed offset, or for other rules, another bundle or another newest row, or it was damaged.",
        {"reason": STATE_REASONS},
    ),
    # what went in, against what the model was trained on
    Metric(
        "tickcast_feature_drift_psi",
        "gauge",
        "Population stability index of a raw column: the ticks answered lately against those of the training. `price`: "
        "its level is no input of the model, which sees changes.",
        {"model": ANY, "column": ANY, "kind": COLUMN_KINDS},
    ),
    Metric("tickcast_feature_drift_ticks", "gauge", "Ticks answered lately that it is of.", {"model": ANY}),
    # what a shadow answered, and what came of it
    Metric("tickcast_shadow_forecasts_total", "counter", "Forecasts of shadows handed to the producer."),
    Metric(
        "tickcast_shadow_dropped_ticks_total",
        "counter",
        "Ticks that were answered and that a shadow did not: it did not keep up.",
    ),
    Metric(
        "tickcast_shadow_forecasts_scored_total",
        "counter",
        "Forecast values of shadows whose tick has come.",
        {"horizon": ANY},
    ),
    Metric(
        "tickcast_shadow_squared_error_total",
        "counter",
        "Sum of their squared errors, in squares of the shadow's target_scale.",
        {"horizon": ANY},
    ),
    Metric(
        "tickcast_shadow_persistence_squared_error_total",
        "counter",
        "Sum of the squared errors that the guess of no change would have had, in the same unit.",
        {"horizon": ANY},
    ),
    # windows
    Metric("tickcast_rows_total", "counter", "Feature rows computed."),
    Metric("tickcast_symbols", "gauge", "Symbols remembered."),
    Metric(
        "tickcast_symbols_on_two_partitions_total",
        "counter",
        "Symbols met on a partition while another one of the topic remembered them: half a window each.",
    ),
    Metric("tickcast_symbols_evicted_total", "counter", "Symbols forgotten because of `recovery.max_symbols`."),
    # delivery
    Metric("tickcast_records_acknowledged_total", "counter", "Records handed over that the cluster acknowledged."),
    Metric("tickcast_outstanding_records", "gauge", "Records handed over and not yet acknowledged."),
    Metric("tickcast_paused", "gauge", "1 while back-pressure of the producer pauses the consumer, else 0."),
    Metric("tickcast_commits_total", "counter", "Commits the group coordinator accepted."),
    Metric("tickcast_commit_failures_total", "counter", "Commits that were refused or not answered."),
    Metric("tickcast_transactions_total", "counter", "Transactions ended.", {"result": TRANSACTION_RESULTS}),
    Metric("tickcast_fenced_owners_total", "counter", "Former owners whose open transactions were ended for them."),
    # progress
    Metric("tickcast_pending_partitions", "gauge", "Partitions assigned and not taken up yet."),
    Metric("tickcast_lag_records", "gauge", "End offset minus position.", _PARTITION),
    Metric("tickcast_position_offset", "gauge", "Offset of the next record to process.", _PARTITION),
    Metric("tickcast_rebuild_remaining_records", "gauge", "Records still to replay until windows stand.", _PARTITION),
    Metric(
        "tickcast_recoveries_total",
        "counter",
        "Partitions taken over, by what was known about them.",
        {"kind": ("metadata", "missing", "unreadable", "other_rules", "truncated", "fresh")},
    ),
    Metric(
        "tickcast_unstable_records", "gauge", "Records behind an open transaction of whoever writes ticks.", _PARTITION
    ),
    Metric("tickcast_stalls_total", "counter", "Partitions not read though there was more: the process ends then."),
    Metric("tickcast_last_progress_timestamp_seconds", "gauge", "When a position last moved."),
    Metric("tickcast_ready", "gauge", "1 while `/readyz` says ready, else 0."),
    # latency
    Metric("tickcast_event_to_sent_seconds", "histogram", "Event time to hand-over, wall clocks."),
    Metric("tickcast_kafka_to_sent_seconds", "histogram", "Kafka timestamp of the tick to hand-over, wall clocks."),
    Metric("tickcast_received_to_handed_seconds", "histogram", "Tick polled to forecast handed to the producer."),
    Metric("tickcast_handed_to_acknowledged_seconds", "histogram", "Forecast handed to the producer to acknowledged."),
    Metric(
        "tickcast_negative_latencies_total",
        "counter",
        "Latencies below zero, observed as zero: the hosts' clocks disagree.",
        {"latency": WALL_LATENCIES},
    ),
    Metric("tickcast_stage_seconds", "histogram", "Time one turn of the loop spent in a stage.", {"stage": STAGES}),
    Metric("tickcast_gc_pause_seconds", "histogram", "Garbage collections of the loop's process."),
    # what runs
    Metric("tickcast_build_info", "gauge", "The software.", {"version": ANY, "python": ANY}),
    Metric(
        "tickcast_model_info",
        "gauge",
        "A bundle that answers.",
        {"name": ANY, "version": ANY, "sha256": ANY, "family": ANY},
    ),
    Metric("tickcast_shadow_info", "gauge", "The shadow.", {"name": ANY, "version": ANY, "sha256": ANY}),
    Metric(
        "tickcast_certificate_error_ratio",
        "gauge",
        "Largest error of the golden windows on this machine, over max(target_scale, |reference|).",
        {"path": ANSWER_PATHS},
    ),
    Metric("tickcast_certificate_tolerance_ratio", "gauge", "The largest such error with which a bundle is accepted."),
    Metric(
        "tickcast_reloads_total",
        "counter",
        "Reloads: swapped to another bundle, refused (the old one answers on), or the bundle was the same.",
        {"result": ("swapped", "refused", "unchanged")},
    ),
    Metric("tickcast_last_reload_timestamp_seconds", "gauge", "When a reload last ended, whatever came of it."),
    Metric("tickcast_last_reload_successful", "gauge", "1 unless the last reload was refused, then 0."),
    Metric("tickcast_provider_info", "gauge", "The execution provider in use.", {"provider": ANY, "requested": ANY}),
    Metric("tickcast_uncaptured_graphs", "gauge", "Graphs on a GPU that run without CUDA graphs, slower."),
    Metric("tickcast_start_time_seconds", "gauge", "When the process started."),
    Metric("tickcast_series_dropped_total", "counter", "Series asked for that found no room on the board."),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _TABLE})
