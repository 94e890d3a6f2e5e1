"""Row three: what becomes of each tick. Nothing may be lost between the stages."""

from panels import THIRD, Panel, Query, areas, bars, lines
from queries import events, rate, total

TITLE = "Flow"

FATES = {
    "tickcast_forecasts_total": "forecast",
    "tickcast_warming_ticks_total": "warming",
    "tickcast_skipped_ticks_total": "skipped",
    "tickcast_dead_letters_total": "dead letter",
}
# processed = forecasts + warming + skipped + dead letters
UNACCOUNTED = " - ".join(total(counter) for counter in ("tickcast_ticks_processed_total", *FATES))


def panels() -> list[Panel]:
    """All fates, those that are no forecast by reason, and the accounts."""
    return [
        areas(
            "What becomes of ticks, per second",
            "Each tick processed has one fate. Good: mostly forecast. Warming is normal after a start or a silence of "
            "the market; skipped and dead letter have their reasons beside.",
            "none",
            *(Query(rate(counter, ""), fate) for counter, fate in FATES.items()),
        ),
        lines(
            "Ticks not accounted for",
            "Ticks processed minus those with a fate, since the start. Good: 0, but for the turn of the loop that a "
            "scrape falls into. Any other number that stays: run `tickcast audit`.",
            "none",
            Query(UNACCOUNTED),
        ),
        lines(
            "Skipped per second, by reason",
            "Ticks without a forecast by the rules of the model, for want of one, or because a newer tick was there. "
            "Good: unsampled as the model's rules want it; latest and stale only where `lag` allows them.",
            "none",
            Query(rate("tickcast_skipped_ticks_total", "reason"), "{{reason}}"),
        ),
        bars(
            "Dead letters, by reason",
            "Records that are bad by themselves and went to the dead-letter topic. Good: none. One reason, suddenly: a "
            "feed has changed its format.",
            "none",
            Query(events("tickcast_dead_letters_total", "reason"), "{{reason}}"),
        ),
        lines(
            "Ticks and rows per second, by topic",
            "What was processed of each input topic, and feature rows computed for all of it. Good: rows are the ticks "
            "that the sampling rule keeps.",
            "none",
            Query(rate("tickcast_ticks_processed_total", "topic"), "{{topic}}"),
            Query(rate("tickcast_rows_total", ""), "rows"),
            width=THIRD,
        ),
        lines(
            "Symbols by instance",
            "Symbols with a window in memory. Good: instances alike; it grows in the first hours and then stands.",
            "short",
            Query(total("tickcast_symbols")),
            width=THIRD,
        ),
        bars(
            "Symbols forgotten or torn",
            "Symbols evicted for `recovery.max_symbols`, which warm up again, and symbols seen on two "
            "partitions, which get half a window on each. Good: none.",
            "none",
            Query(events("tickcast_symbols_evicted_total"), "evicted, {{instance}}"),
            Query(events("tickcast_symbols_on_two_partitions_total"), "on two partitions, {{instance}}"),
            width=THIRD,
        ),
    ]
