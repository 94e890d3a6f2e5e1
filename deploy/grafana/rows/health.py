"""Row one, read first: is it all right? And if not, which instance, and since when."""

from panels import BUDGET, NONE, THIRD, TWO_THIRDS, YES, Column, Limits, Panel, Query, lines, stat, table
from queries import ALERTS, DAEMON, EVENT_TO_SENT, RECEIVED_TO_HANDED, budget, quantile, rate, selected, total

TITLE = "Is it all right?"

# Takeovers take up to ten seconds; nothing else does.
PROGRESS = Limits(watch=10, bad=30)
BEHIND = Limits(watch=5, bad=30)
OF_BUDGET = Limits(watch=0.5, bad=1)

# With nothing to read nothing moves: only where ticks have waited all the time does standing still mean anything.
WAITING = f"sum by ({DAEMON}) (min_over_time({selected('tickcast_lag_records')}[1m])) > 0"
MOVED = (
    f"{selected('tickcast_last_progress_timestamp_seconds')} or on ({DAEMON}) {selected('tickcast_start_time_seconds')}"
)
# 0 where nothing waits; nothing where no daemon is.
STANDING = f"max((time() - ({MOVED})) and on ({DAEMON}) ({WAITING})) or 0 * sum({selected('tickcast_ready')})"


def panels() -> list[Panel]:
    """Six numbers, then how they came about, then who is behind them."""
    return [*_numbers(), *_history(), *_whose()]


def _numbers() -> list[Panel]:
    return [
        stat(
            "Not ready",
            "Instances that are down, not warm, or not able to serve. Good: 0.",
            "none",
            f"count({selected('up')}) - (sum({selected('tickcast_ready')}) or vector(0))",
            NONE,
        ),
        stat(
            "No progress for",
            "How long the slowest instance has processed nothing although ticks wait. Good: 0; some seconds while "
            "partitions change hands. Longer: its log, then the row Kafka.",
            "s",
            STANDING,
            PROGRESS,
        ),
        stat(
            "Behind",
            "How long all waiting ticks take at the present speed. Good: under a second. More, and growing: too few "
            "instances, or one that stands still.",
            "s",
            f"{total('tickcast_lag_records', '')} / clamp_min({rate('tickcast_ticks_processed_total', '')}, 1)",
            BEHIND,
        ),
        stat(
            "Ticks per second",
            "Ticks processed by all selected instances. Good: what the market sends at this hour.",
            "short",
            rate("tickcast_ticks_processed_total", ""),
        ),
        stat(
            "p99 of budget",
            "Tick polled to forecast handed to the producer: the 99th percentile of the slowest instance, as a share "
            "of what the recording rules have as its budget. Good: under 50 %.",
            "percentunit",
            f"max({quantile(0.99, RECEIVED_TO_HANDED)}) / max({budget(RECEIVED_TO_HANDED)})",
            OF_BUDGET,
            where_empty="no forecasts, or no rules",
        ),
        stat(
            "Alerts firing",
            "Alerts of tickcast that fire now; below they are named. Good: 0.",
            "none",
            f"count({ALERTS}) or vector(0)",
            NONE,
        ),
    ]


def _history() -> list[Panel]:
    return [
        lines(
            "Ticks and forecasts per second",
            "Ticks processed, and forecasts by the path that computed them. Good: forecasts follow ticks, most of them "
            "by finish (or carried); much window means a backlog or bursts.",
            "none",
            Query(rate("tickcast_ticks_processed_total", ""), "ticks"),
            Query(rate("tickcast_forecasts_total", "path"), "forecasts, {{path}}"),
            width=THIRD,
        ),
        lines(
            "Lag by instance",
            "Records that wait: end of the topic minus position. Good: near 0, peaks that fall at once.",
            "short",
            Query(total("tickcast_lag_records")),
            width=THIRD,
        ),
        lines(
            "p99 of the critical path by instance",
            "Tick polled to forecast handed to the producer. Good: under the dashed line, instances alike.",
            "s",
            Query(quantile(0.99, RECEIVED_TO_HANDED)),
            Query(budget(RECEIVED_TO_HANDED), BUDGET),
            width=THIRD,
        ),
    ]


def _whose() -> list[Panel]:
    return [
        table(
            "Alerts",
            "Alerts of tickcast that fire now. What each means and what to do is in the operating guide. Good: none.",
            "alertname",
            Column(ALERTS, labels={"severity": "severity", "instance": "instance"}),
            width=THIRD,
            where_empty="none fires",
        ),
        table(
            "Instances",
            "Each instance as it is now, the slowest first. Choose it as `instance` above to see it alone. Good: all "
            "ready, alike, and of one version.",
            "instance",
            Column(f"max by (instance) ({selected('up')})", "up", "bool_yes_no", YES),
            Column(f"max by (instance) ({selected('tickcast_ready')})", "ready", "bool_yes_no", YES),
            Column(total("tickcast_lag_records"), "lag"),
            Column(rate("tickcast_ticks_processed_total"), "ticks/s"),
            Column(quantile(0.5, RECEIVED_TO_HANDED), "p50", "s"),
            Column(quantile(0.99, RECEIVED_TO_HANDED), "p99", "s"),
            Column(quantile(0.999, RECEIVED_TO_HANDED), "p99.9", "s"),
            Column(quantile(0.99, EVENT_TO_SENT), "p99 from event", "s"),
            Column(total("tickcast_symbols"), "symbols"),
            Column(
                f"max by (instance, name, version) ({selected('tickcast_model_info')})",
                labels={"name": "model", "version": "model version"},
            ),
            width=TWO_THIRDS,
            worst_first="p99",
        ),
    ]
