"""PromQL of the dashboard: what is asked of the instances that `$job` and `$instance` select."""

# Every selector is narrowed by the dashboard's variables.
SELECTED = 'job=~"$job", instance=~"$instance"'
# A member of a group, over scrapes: what one daemon's series have in common.
DAEMON = "job, instance"

# The four latencies of a forecast.
RECEIVED_TO_HANDED = "tickcast_received_to_handed_seconds"
EVENT_TO_SENT = "tickcast_event_to_sent_seconds"
KAFKA_TO_SENT = "tickcast_kafka_to_sent_seconds"
HANDED_TO_ACKNOWLEDGED = "tickcast_handed_to_acknowledged_seconds"

# What fires now, of all instances: an alert on a whole group has no instance.
ALERTS = 'ALERTS{alertname=~"Tickcast.*", alertstate="firing"}'


def selected(metric: str) -> str:
    """The metric's series of the selected instances."""
    return f"{metric}{{{SELECTED}}}"


def total(metric: str, by: str = "instance") -> str:
    """The sum of the metric's newest values; over everything where `by` is empty."""
    return f"{_sum(by)} ({selected(metric)})"


def rate(counter: str, by: str = "instance") -> str:
    """The counter's increase per second; over everything where `by` is empty."""
    return f"{_sum(by)} (rate({selected(counter)}[$__rate_interval]))"


def events(counter: str, by: str = "instance") -> str:
    """How many times the counter moved between two points of a panel: for what is rare."""
    return f"{_sum(by)} (increase({selected(counter)}[$__rate_interval]))"


def quantile(q: float, histogram: str, by: str = "instance") -> str:
    """The histogram's quantile of what was observed lately; NaN where nothing was."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', ', '.join(filter(None, (by, 'le'))))})"


def budget(histogram: str) -> str:
    """What the recording rules allow the latency's p99; nothing where they are not loaded or name none for it."""
    latency = histogram.removeprefix("tickcast_").removesuffix("_seconds")
    return f'latency:tickcast_latency_budget:seconds{{latency="{latency}"}}'


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"
