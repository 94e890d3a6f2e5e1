"""The evaluation as one HTML page, for a person who must decide whether a model is worth running.

Behind the way of a tick: what `tickcast evaluate --out` writes. Figures are those of `evaluation`; nothing is computed
here but what is said of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rich.markup import escape as markup
from rich.table import Table
from tickcast.block_bootstrap import Interval

from tickcast_export import evaluation_pictures, report_parts, report_pictures
from tickcast_export.evaluation import DayScores, Evaluation
from tickcast_export.evaluation_folds import Exposure
from tickcast_export.evaluation_scores import MODEL, HorizonScores
from tickcast_export.figures import signed
from tickcast_export.report_parts import key, section
from tickcast_export.report_pictures import HALF, WIDE, Tenth
from tickcast_export.svg import tag

NAMES = {MODEL: "this bundle", "ridge": "ridge", "trees": "boosted trees"}
COLOURS = {MODEL: "blue", "ridge": "amber", "trees": "up"}
EXPOSURES: Mapping[Exposure, str] = {
    "unseen": "unseen",
    "chosen": "IN-SAMPLE: its weights were chosen by this day",
    "trained": "IN-SAMPLE: trained on this day",
    "unknown": "NOT KNOWN whether it was trained on this day",
}
NOTHING = "none"
PERCENT = "\u00a0%"  # never alone on a line

Form = Callable[[float], str]


@dataclass(frozen=True)
class Evaluated:
    """All that the page shows."""

    bundle: str  # name and version
    unit: str
    level: float
    evaluation: Evaluation
    facts: Mapping[str, str]  # how it was done: a label and its text


def page(evaluated: Evaluated) -> str:
    """The page as HTML."""
    pooled = evaluated.evaluation.pooled
    windows = pooled[0].windows
    return report_parts.page(
        heading=heading(evaluated),
        lead=f"The bundle <b>{escape(evaluated.bundle)}</b> on {windows:,} windows of "
        f"{_days(evaluated.evaluation.counted)}. Brackets hold {evaluated.level:.0%} intervals.",
        verdict=verdict(evaluated.evaluation),
        is_good=_is_good(evaluated.evaluation),
        tiles=_tiles(evaluated),
        sections=[
            _errors(evaluated),
            _direction(evaluated),
            _calibration(evaluated),
            _cost(evaluated),
            _coverage(evaluated),
            _days_section(evaluated),
            _facts(evaluated),
        ],
        footer="Made by <code>tickcast evaluate</code>. Figures as JSON: its option <code>--json</code>.",
    )


def terminal_table(evaluated: Evaluated) -> Table:
    """Errors per horizon, for a terminal."""
    pooled = evaluated.evaluation.pooled
    title = f"{evaluated.bundle}: squared error saved against no change, %; {_days(evaluated.evaluation.counted)}"
    made = Table("ticks ahead", title=title)
    for name in pooled[0].by:
        made.add_column(NAMES[name], justify="right")
    for one in pooled:
        saved = [_text(of["below_persistence"], lambda share: f"{100 * share:.1f}") for of in one.by.values()]
        made.add_row(str(one.horizon), *map(markup, saved))
    return made


def heading(evaluated: Evaluated) -> str:
    """The first and the last horizon in a line."""
    first, last = evaluated.evaluation.pooled[0], evaluated.evaluation.pooled[-1]
    saved = [_percent(one.by[MODEL]["below_persistence"].mean) for one in (first, last)]
    if first is last:
        return f"{saved[0]} less error than “no change” {_ahead(first)}"
    return f"{saved[0]} less error than “no change” {_ahead(first)}, {saved[1]} {_ahead(last)}"


def verdict(evaluation: Evaluation) -> str:
    """One sentence that says what to make of it."""
    pooled = evaluation.pooled
    words = {
        "unseen": f"On {_days(evaluation.counted)}, which it had never seen,",
        "unknown": f"Nobody knows whether it was trained on {_days(evaluation.counted)}; if not, then",
        "chosen": f"IN-SAMPLE ({_days(evaluation.counted)} chose its weights), so of little worth: there",
        "trained": f"IN-SAMPLE ({_days(evaluation.counted)} trained it), so of no worth: there",
    }[evaluation.exposure]
    said = [f"{words} it is {_compared([one.by[MODEL]['below_persistence'] for one in pooled], 'no change at all')}"]
    said += [_compared([one.against[name] for one in pooled], NAMES[name]) for name in pooled[0].against]
    return ", ".join(said[:-1]) + (" and " if len(said) > 1 else "") + said[-1] + "."


def _compared(saved: Sequence[Interval], other: str) -> str:
    """Better or worse than another, at how many horizons for sure."""
    better = sum(one.low > 0 for one in saved)
    worse = sum(one.high < 0 for one in saved)
    if better == len(saved):
        return f"better than {other} at every horizon"
    if worse == len(saved):
        return f"worse than {other} at every horizon"
    if not better and not worse:
        return f"not to be told from {other}"
    if better and worse:
        return f"better than {other} at {better} and worse at {worse} of {len(saved)} horizons"
    return f"{'better' if better else 'worse'} than {other} at {better or worse} of {len(saved)} horizons"


def _is_good(evaluation: Evaluation) -> bool:
    """Unseen, better than no change everywhere, and no simple baseline is better for sure at most horizons."""
    pooled = evaluation.pooled
    beaten = [sum(one.against[name].high < 0 for one in pooled) for name in pooled[0].against]
    is_better = all(one.by[MODEL]["below_persistence"].low > 0 for one in pooled)
    return evaluation.is_unseen and is_better and not any(2 * count > len(pooled) for count in beaten)


def _tiles(evaluated: Evaluated) -> list[tuple[str, str, str]]:
    first = evaluated.evaluation.pooled[0]
    of, is_unseen = first.by[MODEL], evaluated.evaluation.is_unseen
    saved = of["below_persistence"]
    tiles = [
        ("windows", f"{first.windows:,}", ""),
        ("unseen days" if is_unseen else "days, NOT unseen", str(len(evaluated.evaluation.counted)), ""),
        (f"error saved, {_ahead(first)}", _percent(saved.mean), "good" if saved.low > 0 else "bad"),
    ]
    for name, against in first.against.items():
        colour = "good" if against.low > 0 else "bad" if against.high < 0 else ""
        tiles.append((f"against {NAMES[name]}", _percent(against.mean), colour))
    tiles.append((f"kappa, {_ahead(first)}", f"{of['kappa'].mean:.2f}", ""))
    tiles.append((f"mid moved, {_ahead(first)}", _percent(first.moved), ""))
    return tiles


def _errors(evaluated: Evaluated) -> str:
    pooled = evaluated.evaluation.pooled
    rows = []
    for one in pooled:
        saved = [_text(of["below_persistence"], _percent) for of in one.by.values()]
        rows.append([str(one.horizon), *saved, *(_text(against, _percent) for against in one.against.values())])
    head = ["ticks ahead", *(NAMES[name] for name in pooled[0].by)]
    head += [f"bundle below {NAMES[name]}" for name in pooled[0].against]
    return section(
        "Squared error saved",
        "How much smaller the squared error is than that of forecasting no change (0: no better, below 0: worse). The "
        "last columns compare the bundle with each baseline on the same windows.",
        _colours(pooled[0]),
        _picture("squared error saved", pooled, "below_persistence", _percent),
        report_parts.table(head, rows),
    )


def _direction(evaluated: Evaluated) -> str:
    pooled = evaluated.evaluation.pooled
    rows = [
        [str(one.horizon), _percent(one.moved), *(_text(of["kappa"], _two) for of in one.by.values())] for one in pooled
    ]
    return section(
        "Direction",
        "Whether the mid goes down, stays or goes up, as kappa (Cohen): 1 is always right, 0 no better than chance. "
        "What counts as a forecast of a move was tuned on windows before the test day.",
        _colours(pooled[0]),
        _picture("kappa", pooled, "kappa", _two),
        report_parts.table(["ticks ahead", "mid moved", *(NAMES[name] for name in pooled[0].by)], rows),
    )


def _calibration(evaluated: Evaluated) -> str:
    pooled = evaluated.evaluation.pooled
    shown = [pooled[0], pooled[-1]] if len(pooled) > 1 else pooled[:1]
    cards = [_tenths(one, evaluated.unit) for one in shown]
    rows = []
    for one in pooled:
        of = one.by[MODEL]
        reach = _reach([of["intercept"], of["bias"]])
        form = _signed(reach)
        rows.append([str(one.horizon), _text(of["slope"], _two), _text(of["intercept"], form), _text(of["bias"], form)])
    head = ["ticks ahead", "slope", f"intercept, {evaluated.unit}", f"bias, {evaluated.unit}"]
    figures = section(
        "Calibration in figures",
        "The line through forecasts and what happened: slope 1 and intercept 0 are right; a slope below 1 means "
        "forecasts are too bold, above 1 too timid. Bias: how much more was forecast than happened, on average.",
        report_parts.table(head, rows),
    )
    return tag("div", *cards, class_="pair") + figures


def _tenths(one: HorizonScores, unit: str) -> str:
    tenths = [Tenth(part.forecast, part.happened.low, part.happened.mean, part.happened.high) for part in one.parts]
    return section(
        f"Does it mean what it says, {_ahead(one)}?",
        f"Forecasts in tenths, lowest to highest ({escape(unit)}): what was forecast (across), what "
        "happened on average (up).",
        report_pictures.in_tenths(tenths),
    )


def _cost(evaluated: Evaluated) -> str:
    pooled, unit = evaluated.evaluation.pooled, evaluated.unit
    if "net_mean" not in pooled[0].by[MODEL]:
        return section("Is it large enough to matter?", "Without bid and ask there is no spread to compare with.")
    rows = []
    for one in pooled:
        for name, of in one.by.items():
            mean, whole = (_signed(_reach([of[figure]])) for figure in ("net_mean", "net_total"))
            cells = [_text(of["exceeds_half_spread"], _percent), _text(of["net_mean"], mean)]
            cells += [_text(of["net_total"], whole), _text(of["hit_rate"], _percent)]
            rows.append([f"{one.horizon}, {NAMES[name]}", *cells])
    head = ["ticks ahead", "forecast above half the spread", f"then net, {unit}", f"net in all, {unit}", "it paid"]
    form = _signed(_reach([of["net_mean"] for one in pooled for of in one.by.values()]))
    return section(
        "Is it large enough to matter?",
        "How often a forecast exceeds half the spread, which is what crossing to the other side costs once; and what "
        "the mid then did in its direction, less that half spread. No trading is simulated: no fees, no queue, no "
        "way out, and neighbouring windows tell of the same move. Left: how often. Right: the mean net move.",
        _colours(pooled[0]),
        tag(
            "div",
            _picture("share of forecasts above half the spread", pooled, "exceeds_half_spread", _percent, HALF),
            _picture("mean net move", pooled, "net_mean", form, HALF),
            class_="pair",
        ),
        report_parts.table(head, rows),
    )


def _coverage(evaluated: Evaluated) -> str:
    pooled = evaluated.evaluation.pooled
    if "coverage" not in pooled[0].by[MODEL]:
        return ""
    rows = [[str(one.horizon), _text(one.by[MODEL]["coverage"], _percent)] for one in pooled]
    return section(
        "Bands",
        "How often what happened lay within the band that the bundle begins with; the daemon adapts its width as it "
        f"runs, which is not done here. {escape(evaluated.facts.get('bands', ''))}",
        report_parts.table(["ticks ahead", "held"], rows),
    )


def _days_section(evaluated: Evaluated) -> str:
    days = evaluated.evaluation.days
    head = ["day", "the bundle and it", "windows"]
    shown = sorted({0, len(days[0].horizons) - 1})
    for at in shown:
        one = days[0].horizons[at]
        head += [f"{figure}, {one.horizon}" for figure in (*(NAMES[name] for name in one.by), "its kappa")]
    return section(
        "Day by day",
        "Error saved, and the bundle's kappa, so many ticks ahead. Baselines were fitted to what was before each day. "
        "Above count the days of the best standing only: those the bundle had not seen, where there are any.",
        report_parts.table(head, [_day(day, shown) for day in days]),
    )


def _day(day: DayScores, shown: Sequence[int]) -> list[str]:
    cells = [day.name, EXPOSURES[day.exposure], f"{day.horizons[0].windows:,}"]
    for at in shown:
        by = day.horizons[at].by
        cells += [_text(of["below_persistence"], _percent) for of in by.values()]
        cells.append(_text(by[MODEL]["kappa"], _two))
    return cells


def _facts(evaluated: Evaluated) -> str:
    facts = "".join(tag("dt", escape(label)) + tag("dd", escape(text)) for label, text in evaluated.facts.items())
    return section("How it was done", "", tag("dl", facts, class_="facts"))


def _picture(label: str, pooled: Sequence[HorizonScores], figure: str, form: Form, width: float = WIDE) -> str:
    values = {name: [one.by[name][figure] for one in pooled] for name in pooled[0].by}
    drawn = evaluation_pictures.by_horizon(label, [one.horizon for one in pooled], values, form, width)
    return tag("div", drawn, class_="scroll") if width == WIDE else drawn


def _colours(one: HorizonScores) -> str:
    return key(*((COLOURS[name], "box", NAMES[name]) for name in one.by))


def _days(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} days ({', '.join(names)})"


def _ahead(one: HorizonScores) -> str:
    return f"{one.horizon} tick{'s' if one.horizon > 1 else ''} ahead"


def _text(value: Interval, form: Form) -> str:
    """17.3 % [16.1, 18.4]"""
    if not math.isfinite(value.mean):
        return NOTHING
    if not math.isfinite(value.low):
        return f"{form(value.mean)} [too few]"
    low, high = (form(end).removesuffix(PERCENT) for end in (value.low, value.high))
    return f"{form(value.mean)} [{low}, {high}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{PERCENT}"


def _two(value: float) -> str:
    return f"{value:.2f}"


def _signed(reach: float) -> Form:
    return lambda value: signed(value, reach)


def _reach(values: Sequence[Interval]) -> float:
    return max((abs(end) for one in values for end in one if math.isfinite(end)), default=1.0)
