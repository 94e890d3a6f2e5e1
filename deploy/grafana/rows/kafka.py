"""Row four: partitions, deliveries, commits and takeovers."""

from panels import THIRD, Column, Panel, Query, bars, lines, table
from queries import events, rate, selected, total

TITLE = "Kafka"

# Of a thousand partitions the few that matter.
WORST = 20
PLACE = "partition"


def panels() -> list[Panel]:
    """Where each partition stands; what goes out; what changes hands."""
    return [*_partitions(), *_deliveries(), *_takeovers()]


def _partitions() -> list[Panel]:
    return [
        lines(
            f"Lag of the {WORST} worst partitions",
            "Records that wait in each partition. Good: near 0. One partition alone: too many symbols in it, or an "
            "open transaction of whoever writes ticks. All of an instance: that instance.",
            "short",
            Query(f"topk({WORST}, {selected('tickcast_lag_records')})", "{{topic}}/{{partition}}, {{instance}}"),
        ),
        table(
            "Partitions",
            "Each partition as it is now, the largest lag first: records that wait, the offset processed next, records "
            "that an open transaction hides, and that are still to be replayed. Good: positions move, all else is 0.",
            PLACE,
            Column(_of_partition("tickcast_lag_records", ", instance"), "lag", labels={"instance": "instance"}),
            Column(_of_partition("tickcast_position_offset"), "position", "none"),
            Column(_of_partition("tickcast_unstable_records"), "unstable"),
            Column(_of_partition("tickcast_rebuild_remaining_records"), "to replay"),
            worst_first="lag",
        ),
    ]


def _of_partition(gauge: str, labels: str = "") -> str:
    """The gauge by `topic/partition`: numbers alone are not one of a kind where there are several topics."""
    joined = f'label_join({selected(gauge)}, "{PLACE}", "/", "topic", "partition")'
    return f"max by ({PLACE}{labels}) ({joined})"


def _deliveries() -> list[Panel]:
    return [
        lines(
            "Handed over and acknowledged per second",
            "Forecasts and dead letters handed to the producer, and records that the cluster acknowledged. Good: the "
            "two lines on each other.",
            "none",
            Query(f"{rate('tickcast_forecasts_total', '')} + {rate('tickcast_dead_letters_total', '')}", "handed over"),
            Query(rate("tickcast_records_acknowledged_total", ""), "acknowledged"),
            width=THIRD,
        ),
        lines(
            "Outstanding records",
            "Handed over and not yet acknowledged. Good: some hundred at most, steady. At `kafka.outstanding_max` "
            "consuming pauses.",
            "short",
            Query(total("tickcast_outstanding_records")),
            width=THIRD,
        ),
        lines(
            "Paused",
            "Share of scrapes at which back-pressure paused the consumer. Good: 0; with exactly_once some percent.",
            "percentunit",
            Query(f"max by (instance) (avg_over_time({selected('tickcast_paused')}[$__rate_interval]))"),
            width=THIRD,
        ),
        lines(
            "Commits per second",
            "Commits that the group coordinator accepted, and those that failed. Good: steady, none failed; a few "
            "around a rebalance.",
            "none",
            Query(rate("tickcast_commits_total"), "{{instance}}"),
            Query(rate("tickcast_commit_failures_total"), "failed, {{instance}}"),
            width=THIRD,
        ),
        lines(
            "Transactions per second",
            "Transactions by how they ended; 0 with at_least_once. Good: none aborted but around a rebalance.",
            "none",
            Query(rate("tickcast_transactions_total", "result"), "{{result}}"),
            width=THIRD,
        ),
        lines(
            "Records behind open transactions",
            "Ticks written that nobody may read yet, because whoever writes them has not ended a transaction. Good: "
            "as many as one transaction of the feed holds.",
            "short",
            Query(total("tickcast_unstable_records")),
            width=THIRD,
        ),
    ]


def _takeovers() -> list[Panel]:
    return [
        bars(
            "Partitions taken over, by what was known",
            "Good: metadata and fresh, when instances come or go. Missing, unreadable, other_rules: windows were "
            "filled from further back, forecasts are right. Truncated: retention is too short.",
            "none",
            Query(events("tickcast_recoveries_total", "kind"), "{{kind}}"),
            width=THIRD,
        ),
        lines(
            "Records to replay",
            "What is still read again until windows stand, and how fast. Good: 0, but after a start or a takeover.",
            "short",
            Query(total("tickcast_rebuild_remaining_records"), "to replay, {{instance}}"),
            Query(rate("tickcast_ticks_replayed_total"), "per second, {{instance}}"),
            width=THIRD,
        ),
        bars(
            "Hindrances",
            "Partitions assigned and not taken up yet, former owners that had to be fenced, and partitions that stood "
            "still, which ends the process. Good: pending for a second or two when instances come or go.",
            "none",
            Query(total("tickcast_pending_partitions"), "pending, {{instance}}"),
            Query(events("tickcast_fenced_owners_total"), "fenced, {{instance}}"),
            Query(events("tickcast_stalls_total"), "stalled, {{instance}}"),
            width=THIRD,
        ),
    ]
