"""The evaluation for programs: everything that the page says, as one JSON document.

Behind the way of a tick: what `tickcast evaluate --json` writes. Fields are only ever added.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from tickcast.block_bootstrap import Interval

from tickcast_export import evaluation_report
from tickcast_export.evaluation import DayScores
from tickcast_export.evaluation_report import Evaluated
from tickcast_export.evaluation_scores import HorizonScores

SCHEMA_VERSION = 1


def document(evaluated: Evaluated) -> str:
    """JSON; what has no value is null."""
    evaluation = evaluated.evaluation
    content = {
        "v": SCHEMA_VERSION,
        "verdict": evaluation_report.verdict(evaluation),
        "bundle": evaluated.bundle,
        "unit": evaluated.unit,
        "level": evaluated.level,
        "facts": dict(evaluated.facts),
        "counted_days": list(evaluation.counted),
        "exposure": evaluation.exposure,
        "horizons": [_horizon(one) for one in evaluation.pooled],
        "days": [_day(day) for day in evaluation.days],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _day(day: DayScores) -> dict[str, Any]:
    return {
        "day": day.name,
        "exposure": day.exposure,
        "first_event_time_ns": day.first_ns,
        "last_event_time_ns": day.last_ns,
        "earlier_windows": day.earlier_windows,
        "horizons": [_horizon(one) for one in day.horizons],
    }


def _horizon(one: HorizonScores) -> dict[str, Any]:
    return {
        "horizon": one.horizon,
        "windows": one.windows,
        "moved": one.moved,
        "block_windows": one.block,
        "blocks": one.blocks,
        "by": {name: _values(of) for name, of in one.by.items()},
        "below": _values(one.against),
        "calibration": [{"forecast": part.forecast, "happened": _value(part.happened)} for part in one.parts],
    }


def _values(values: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: Interval) -> dict[str, float | None]:
    parts = {"low": value.low, "value": value.mean, "high": value.high}
    return {name: part if math.isfinite(part) else None for name, part in parts.items()}
