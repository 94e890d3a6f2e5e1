"""`tickcast evaluate`: how good a bundle's forecasts are on recorded ticks, with intervals, beside strong baselines."""

import dataclasses
from collections.abc import Sequence
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from tickcast import bundle, tick_files, tick_options
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast.manifest import Manifest
from tickcast.tick_columns import TickColumns
from tickcast.tick_files import Ticks

from tickcast_export import baselines, dataset, evaluation, evaluation_folds, evaluation_json, evaluation_report
from tickcast_export.dataset import Rows
from tickcast_export.evaluation import Question
from tickcast_export.evaluation_folds import Fold, Folds
from tickcast_export.evaluation_forecasts import BundleForecasts
from tickcast_export.evaluation_progress import ConsoleSteps
from tickcast_export.evaluation_report import Evaluated
from tickcast_export.evaluation_scores import Drawing

# Windows in one run: onnxruntime's best on a CPU.
BATCH = 128
MODEL_TARGET = "mid_change"

TickFile = Annotated[
    list[Path],
    typer.Argument(metavar="TICKS...", exists=True, dir_okay=False, help="CSV, CSV.gz or Parquet, oldest first."),
]
BundleFolder = Annotated[Path, typer.Option("--bundle", metavar="BUNDLE", help="Folder made by `tickcast export`.")]
Days = Annotated[
    list[datetime] | None,
    typer.Option(
        formats=["%Y-%m-%d"], metavar="DATE", show_default="the newest five", help="Score this day; repeatable."
    ),
]
DayStartsAt = Annotated[
    datetime, typer.Option(formats=["%H:%M"], metavar="HH:MM", show_default="00:00", help="When a day begins, UTC.")
]
TrainedUntil = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"],
        metavar="TIME",
        help="The bundle was trained on what came before (UTC); default: what its manifest says.",
    ),
]
Only = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Score this symbol; repeatable; default: the bundle's.")
]
Out = Annotated[Path | None, typer.Option(metavar="REPORT.html", dir_okay=False, help="Page to write.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="OUT.json", dir_okay=False, help="Figures to write.")]
NoBaselines = Annotated[bool, typer.Option("--no-baselines", help="Compare with no change only: much quicker.")]
Level = Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")]
Draws = Annotated[int, typer.Option(min=100, help="Resampled sets of blocks.")]
Seed = Annotated[int, typer.Option(min=0, help="Of trees and intervals: same seed, same figures.")]
Provider = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Execution provider to run on.")]


def evaluate(
    ticks: TickFile,
    folder: BundleFolder,
    out: Out = None,
    json_: Json = None,
    days: Days = None,
    day_starts_at: DayStartsAt = datetime.min,
    trained_until: TrainedUntil = None,
    only: Only = None,
    no_baselines: NoBaselines = False,
    level: Level = 0.95,
    draws: Draws = 1_000,
    seed: Seed = 1,
    provider: Provider = "auto",
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    symbol: tick_options.Symbol = "",
    symbol_name: tick_options.SymbolName = "",
    sequence: tick_options.SequenceNumber = "",
    map_: tick_options.Map = None,
) -> None:
    """Score a bundle on recorded ticks, walking forward by day, beside no change, ridge regression and boosted trees.

    Prints the verdict and the errors per horizon; --out writes them as a page with pictures, --json for programs.
    """
    loaded = bundle.load(folder)
    manifest = loaded.manifest
    if not manifest.reference_columns:
        raise UsageError(f"{folder}: names no reference columns: there is no mid whose change could be scored")
    mapping = tick_options.mapping(
        ticks[0],
        columns=manifest.record_columns,
        event_time=event_time,
        event_time_unit=event_time_unit,
        symbol=symbol,
        symbol_name=symbol_name,
        sequence=sequence,
        pairs=map_,
    )
    with ConsoleSteps(Console(stderr=True)) as steps:
        steps.say(f"columns: {mapping.text()}")
        rows = _rows(ticks, mapping, manifest, only or (), steps)
        folds = _folds(rows, manifest, trained_until, [day.date() for day in days or ()], day_starts_at)
        steps.say("; ".join(f"{fold.name}: {len(fold.test)} windows, {fold.exposure}" for fold in folds))
        engine = Engine(loaded, InferenceConfig(provider=provider, batch_max=BATCH))
        engine.warm()
        question = _question(rows, manifest, folds, not no_baselines, Drawing(level, draws, seed))
        steps.begin("features", 1)
        found = evaluation.evaluate(question, BundleForecasts(engine, rows), steps)
    facts = _facts(ticks, mapping, loaded, question, engine.provider)
    evaluated = Evaluated(f"{manifest.name} {manifest.version}", manifest.unit, level, found, facts)
    _write(evaluated, out, json_)


def _rows(
    paths: Sequence[Path], mapping: TickColumns, manifest: Manifest, only: Sequence[str], steps: ConsoleSteps
) -> Rows:
    steps.begin("reading ticks", 1)
    ticks = _of_symbols(tick_files.read_all(paths, mapping), manifest, only, steps)
    steps.begin(f"windows of {len(ticks)} ticks", 1)
    return dataset.cut(ticks, manifest.rules)


def _of_symbols(ticks: Ticks, manifest: Manifest, only: Sequence[str], steps: ConsoleSteps) -> Ticks:
    """Those of the symbols asked for, or else of those that the bundle was trained for."""
    absent = [name for name in only if name not in ticks.symbols]
    if absent:
        raise UsageError(f"no such symbol: {', '.join(absent)}; there are {', '.join(ticks.symbols[:20])}")
    patterns = only or manifest.symbols or ("*",)
    chosen = [any(fnmatchcase(name, pattern) for pattern in patterns) for name in ticks.symbols]
    if not any(chosen):
        known, there = ", ".join(manifest.symbols), ", ".join(ticks.symbols[:20])
        raise UsageError(f"no such symbol: the bundle was trained for {known}, the ticks are of {there}; see --only")
    if all(chosen):
        return ticks
    left_out = [name for name, is_chosen in zip(ticks.symbols, chosen, strict=True) if not is_chosen]
    steps.say(f"left out, as the bundle was not trained for them or by --only: {', '.join(left_out[:20])}")
    kept = np.asarray(chosen)[ticks.symbol_ids]
    parts = ("symbol_ids", "event_time_ns", "values", "sequence")
    return dataclasses.replace(ticks, **{name: getattr(ticks, name)[kept] for name in parts})


def _folds(
    rows: Rows, manifest: Manifest, until: datetime | None, wanted: Sequence[date], day_starts_at: datetime
) -> tuple[Fold, ...]:
    exposure = evaluation_folds.trained_until(until) if until else evaluation_folds.exposure_by(manifest.training)
    folds = Folds(rows, manifest.rules.window, max(manifest.horizons), exposure)
    return folds.by_day(day_starts_at.time(), wanted)


def _question(
    rows: Rows, manifest: Manifest, folds: tuple[Fold, ...], with_baselines: bool, drawing: Drawing
) -> Question:
    bands = manifest.bands
    return Question(
        rows=rows,
        window=manifest.rules.window,
        horizons=manifest.horizons,
        reference_columns=manifest.reference_columns,
        half_widths=bands.half_widths[bands.levels.index(bands.level)] if bands else None,
        folds=folds,
        with_baselines=with_baselines,
        drawing=drawing,
    )


def _facts(
    paths: Sequence[Path], mapping: TickColumns, loaded: Bundle, question: Question, provider: str
) -> dict[str, str]:
    manifest, drawing = loaded.manifest, question.drawing
    facts = {
        "ticks": f"{', '.join(map(str, paths))}; {len(question.rows.ticks)} of them",
        "columns": mapping.text(),
        "bundle": f"{manifest.name} {manifest.version}, family {manifest.family}, sha256 {loaded.sha256}",
        "window rules": manifest.rules.text(),
        "run on": f"onnxruntime, provider {provider}, window graph",
        "intervals": f"{drawing.level:.0%}, {drawing.draws} draws of blocks of windows that never reach over a run or "
        "a day; a block is twice as long as the rule of Politis and White finds for the bundle's error, at least twice "
        f"the horizon; seed {drawing.seed}",
        "thresholds of direction": f"tuned on the newest {evaluation_folds.VALIDATION_SHARE:.0%} of the windows "
        "before each test day, each forecaster's by itself",
    }
    if question.with_baselines:
        facts["baselines"] = (
            f"scikit-learn; ridge fitted to at most {baselines.RIDGE_WINDOWS_MAX:,} windows, evenly spaced over all "
            f"earlier days; trees to at most {baselines.TREE_WINDOWS_MAX:,} of them but for the newest "
            f"{evaluation_folds.VALIDATION_SHARE:.0%}, which say how many trees, as they choose ridge's penalty"
        )
    if manifest.bands:
        facts["bands"] = f"They are to hold {manifest.bands.level:.0%}."
    if manifest.target != MODEL_TARGET:
        facts["note"] = f"the bundle's target is {manifest.target!r}: its forecasts are read as changes of the mid"
    return facts


def _write(evaluated: Evaluated, out: Path | None, json_: Path | None) -> None:
    if out is not None:
        out.write_text(evaluation_report.page(evaluated), encoding="utf-8")
    if json_ is not None:
        json_.write_text(evaluation_json.document(evaluated), encoding="utf-8")
    console = Console()
    console.print(evaluation_report.terminal_table(evaluated))
    console.print(evaluation_report.verdict(evaluated.evaluation), highlight=False, soft_wrap=True)
    if written := [str(path) for path in (out, json_) if path is not None]:
        console.print(f"wrote {', '.join(written)}", highlight=False, soft_wrap=True)
