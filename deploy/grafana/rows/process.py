"""Row six: the processes themselves."""

from panels import NONE, THIRD, TWO_THIRDS, Column, Panel, Query, lines, stat, table
from queries import quantile, rate, selected

TITLE = "Process"

PAUSE = "tickcast_gc_pause_seconds"


def panels() -> list[Panel]:
    """Up or not, since when, of which version; and what disturbs them."""
    started = selected("tickcast_start_time_seconds")
    return [
        lines(
            "Up and ready",
            "Instances that answer scrapes, and that are ready to serve. Good: both lines at the number you run.",
            "none",
            Query(f"sum({selected('up')})", "up"),
            Query(f"sum({selected('tickcast_ready')})", "ready"),
            width=THIRD,
        ),
        table(
            "What runs",
            "The software, when it started, and how often it has in the time shown. Good: one version, no restart that "
            "nobody asked for.",
            "instance",
            Column(
                f"max by (instance, version, python) ({selected('tickcast_build_info')})",
                labels={"version": "version", "python": "python"},
            ),
            Column(f"max by (instance) ({started}) * 1000", "started", "dateTimeFromNow"),
            Column(f"sum by (instance) (changes({started}[$__range]))", "restarts", "none", NONE),
            width=TWO_THIRDS,
        ),
        lines(
            "Garbage collection pauses",
            "How long the loop stands still for one. Good: under a millisecond; live objects are frozen after warm-up.",
            "s",
            Query(quantile(0.99, PAUSE), "p99, {{instance}}"),
            width=THIRD,
        ),
        lines(
            "Time in garbage collection",
            "Share of the loop's time. Good: under 1 %.",
            "percentunit",
            Query(rate(f"{PAUSE}_sum")),
            width=THIRD,
        ),
        stat(
            "Series without room",
            "Metrics that found no room in shared memory and are not shown: too many topics, partitions or horizons. "
            "Good: 0.",
            "none",
            f"sum({selected('tickcast_series_dropped_total')})",
            NONE,
            width=THIRD,
        ),
    ]
