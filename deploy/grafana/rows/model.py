"""Row five: which model answers, on what, and whether it is of any use."""

from panels import NONE, THIRD, TWO_THIRDS, YES, Column, Limits, Panel, Query, bars, lines, stat, table
from queries import SELECTED, events, rate, selected

TITLE = "Model"

# Squared errors are noisy, and a horizon is scored ticks later: the recording rules look back as far.
SCORED_LATELY = "1h"
PERSISTENCE = Limits(watch=1, bad=1)
DRIFT = Limits(watch=0.1, bad=0.25)
TOLERANCE = Limits(watch=0.5, bad=1)
OF_TOLERANCE = (
    f"max by (instance) ({selected('tickcast_certificate_error_ratio')})"
    f" / max by (instance) ({selected('tickcast_certificate_tolerance_ratio')})"
)
# Two while a new model goes round.
BUNDLES = Limits(watch=2, bad=3)


def panels() -> list[Panel]:
    """What answers, how well, what became of changing it, and whether it still fits what comes in."""
    return [*_identity(), *_quality(), *_fit()]


def _identity() -> list[Panel]:
    return [
        table(
            "What answers",
            "The bundle, and the execution provider that runs it: in use and as configured; the largest error of the "
            "golden windows here as a share of what the certificate allows; and whether the last reload was taken. "
            "Good: one bundle, the provider you paid for, no graph without CUDA graphs, errors under half.",
            "instance",
            Column(
                f"max by (instance, name, version, family, sha256) ({selected('tickcast_model_info')})",
                labels={"name": "model", "version": "version", "family": "family", "sha256": "sha256"},
            ),
            Column(
                f"max by (instance, provider, requested) ({selected('tickcast_provider_info')})",
                labels={"provider": "provider", "requested": "configured"},
            ),
            Column(f"max by (instance) ({selected('tickcast_uncaptured_graphs')})", "uncaptured graphs", "none", NONE),
            Column(OF_TOLERANCE, "error of tolerance", "percentunit", TOLERANCE),
            Column(f"max by (instance) ({selected('tickcast_last_reload_successful')})", "reload", "bool_yes_no", YES),
            width=TWO_THIRDS,
        ),
        stat(
            "Bundles in use",
            "Different bundles among the selected instances. Good: 1, and 2 while a new one goes round.",
            "none",
            f"count(count by (sha256) ({selected('tickcast_model_info')}))",
            BUNDLES,
            width=THIRD,
        ),
    ]


def _quality() -> list[Panel]:
    error, persistence, scored = map(
        _lately,
        (
            "tickcast_forecast_squared_error_total",
            "tickcast_persistence_squared_error_total",
            "tickcast_forecasts_scored_total",
        ),
    )
    return [
        lines(
            "Error against persistence, by horizon",
            f"Squared error of the forecasts over that of the guess that nothing changes, over {SCORED_LATELY}. Good: "
            "below the line at 1, nearer horizons lower. Above: the model is worse than none.",
            "none",
            Query(f"{error} / {persistence}", "{{horizon}} ahead"),
            limits=PERSISTENCE,
        ),
        lines(
            "Root mean squared error, by horizon",
            f"Over {SCORED_LATELY}, in units of the bundle's `target_scale`; dashed what persistence has. Good: as in "
            "the bundle's certificate.",
            "none",
            Query(f"sqrt({error} / {scored})", "{{horizon}} ahead"),
            Query(f"sqrt({persistence} / {scored})", "persistence, {{horizon}} ahead"),
        ),
        lines(
            "Forecasts that came too late, by horizon",
            "Share of forecast values whose tick had been received already when they were sent. Good: 0, but in the "
            "nearest horizons during bursts.",
            "percentunit",
            Query(
                f"{rate('tickcast_forecasts_expired_total', 'horizon')}"
                f" / on () group_left () {rate('tickcast_forecasts_total', '')}",
                "{{horizon}} ahead",
            ),
            width=THIRD,
        ),
        lines(
            "Forecasts scored per second, by horizon",
            "Forecasts whose tick has come, and that count in the errors. Good: nearly as many as forecasts are made.",
            "none",
            Query(rate("tickcast_forecasts_scored_total", "horizon"), "{{horizon}} ahead"),
            width=THIRD,
        ),
        bars(
            "Reloads",
            "Reloads by what came of them. Good: swapped when you meant it. Refused: the old bundle answers on, the "
            "reason is in the log.",
            "none",
            Query(events("tickcast_reloads_total", "instance, result"), "{{result}}, {{instance}}"),
            width=THIRD,
        ),
    ]


def _fit() -> list[Panel]:
    error, directions = "tickcast_forecast_absolute_error_total", "tickcast_forecast_directions_total"
    scored, persistence = map(_lately, ("tickcast_forecasts_scored_total", "tickcast_persistence_squared_error_total"))
    covered, banded = map(_lately, ("tickcast_forecasts_covered_total", "tickcast_forecasts_banded_total"))
    above, below = _lately(error, 'side="above"'), _lately(error, 'side="below"')
    right = _lately(directions, 'result="right"')
    return [
        lines(
            "Bias, by horizon",
            f"Mean of forecast less what happened over {SCORED_LATELY}, as a share of how far the mid moves (root mean "
            "square). Good: near 0, now on this side and now on that. Above 10 % either way: it errs to one side.",
            "percentunit",
            Query(f"({above} - {below}) / sqrt({persistence} * {scored})", "{{horizon}} ahead"),
        ),
        lines(
            "Coverage of the bands, by horizon",
            f"How often what happened lay in the forecast's band, over {SCORED_LATELY}; empty where the bundle makes "
            "none. Good: about 90 %. Below 85 % they are too narrow, above 95 % too wide.",
            "percentunit",
            Query(f"{covered} / {banded}", "{{horizon}} ahead"),
        ),
        lines(
            "Right direction, by horizon",
            f"Where the mid moved, how often to the side that was forecast, over {SCORED_LATELY}. Good: above 50 %, "
            "nearer horizons higher.",
            "percentunit",
            Query(f"{right} / {_lately(directions)}", "{{horizon}} ahead"),
        ),
        lines(
            "Drift of the input, by column",
            "Population stability index of the raw columns that the model sees by value: the ticks of late against "
            "those of the training. Good: below 0.1. Above 0.25: another population than the one it was trained on.",
            "none",
            Query(f'tickcast_feature_drift_psi{{{SELECTED}, kind="input"}}', "{{column}}, {{instance}}"),
            limits=DRIFT,
        ),
    ]


def _lately(counter: str, narrowed: str = "") -> str:
    selector = f"{SELECTED}, {narrowed}" if narrowed else SELECTED
    return f"sum by (horizon) (rate({counter}{{{selector}}}[{SCORED_LATELY}]))"
