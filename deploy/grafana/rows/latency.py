"""Row two: where the time goes, from the tick's event to the acknowledged forecast."""

from panels import BUDGET, Panel, Query, areas, heat, lines
from queries import (
    EVENT_TO_SENT,
    HANDED_TO_ACKNOWLEDGED,
    KAFKA_TO_SENT,
    RECEIVED_TO_HANDED,
    budget,
    events,
    quantile,
    rate,
)

TITLE = "Latency"

STAGE = "tickcast_stage_seconds"
# The recording rules promise nothing about the market's own clock.
BUDGETED = (RECEIVED_TO_HANDED, KAFKA_TO_SENT, HANDED_TO_ACKNOWLEDGED)


def panels() -> list[Panel]:
    """The four latencies, the critical path's whole distribution, and its stages."""
    return [*_latencies(), *_inside()]


def _latencies() -> list[Panel]:
    return [
        _percentiles(
            "Received to handed over",
            "The critical path, the daemon's own part: tick polled to forecast handed to the producer. Good: steady, "
            "p99.9 within ten times p50.",
            RECEIVED_TO_HANDED,
        ),
        _percentiles(
            "Handed over to acknowledged",
            "Forecast handed to the producer until the cluster has it. Good: some milliseconds, steady. Rising alone: "
            "the brokers or the network.",
            HANDED_TO_ACKNOWLEDGED,
        ),
        _percentiles(
            "Kafka timestamp to sent",
            "From the timestamp that the tick's record carries to hand-over, on the hosts' clocks. Good: little more "
            "than the critical path; what is above it the tick waited in Kafka.",
            KAFKA_TO_SENT,
        ),
        _percentiles(
            "Event to sent",
            "From the market's event time to hand-over, on the hosts' clocks. Good: what the feed costs plus the panel "
            "beside. Huge and steady: old ticks are replayed, or a clock is wrong.",
            EVENT_TO_SENT,
        ),
    ]


def _percentiles(title: str, description: str, histogram: str) -> Panel:
    return lines(
        title,
        f"{description} Percentiles over all selected instances, and the slowest one's.",
        "s",
        Query(quantile(0.5, histogram, ""), "p50"),
        Query(quantile(0.99, histogram, ""), "p99"),
        Query(quantile(0.999, histogram, ""), "p99.9"),
        Query(f"max({quantile(0.99, histogram)})", "p99 of the slowest"),
        *([Query(budget(histogram), BUDGET)] if histogram in BUDGETED else []),
        logarithmic=True,
    )


def _inside() -> list[Panel]:
    return [
        heat(
            "Received to handed over, all of it",
            "Forecasts by their latency; colour is how many. Good: one narrow band. A second band above it: bursts, "
            "garbage collections, or a neighbour on the same cores.",
            "s",
            events(f"{RECEIVED_TO_HANDED}_bucket", "le"),
        ),
        lines(
            "p99 of each stage",
            "What one turn of the loop spends in a stage. Good: run is the largest of those on the critical path; "
            "prefix is prepared when no tick waits.",
            "s",
            Query(quantile(0.99, STAGE, "stage"), "{{stage}}"),
            logarithmic=True,
        ),
        areas(
            "How full the loop is",
            "Share of the loop's time in each stage, the mean over instances. The client's fetching is no stage: with "
            "kafka-python a full loop shows about 60 % without prefix, which fills the time left over. Good: well "
            "below that.",
            "percentunit",
            Query(f"avg by (stage) ({rate(f'{STAGE}_sum', 'instance, stage')})", "{{stage}}"),
        ),
        lines(
            "Latencies below zero per second",
            "Ticks that seem to be sent before they happened: two hosts' clocks disagree, and the two latencies on "
            "wall clocks are wrong by as much. Good: 0.",
            "none",
            Query(rate("tickcast_negative_latencies_total", "instance, latency"), "{{latency}}, {{instance}}"),
        ),
    ]
