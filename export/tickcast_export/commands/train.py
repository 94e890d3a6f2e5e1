"""`tickcast train`: tick files in; a trained model with its card, its scores and its learning curves out."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from tickcast import tick_files, tick_options
from tickcast.clock import SystemClock
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules

from tickcast_export import curves, dataset, model_card, progress, scores, training
from tickcast_export.checkpoint import Checkpoints
from tickcast_export.dataset import Rows, Split
from tickcast_export.family import FamilySettings
from tickcast_export.features import BOOK
from tickcast_export.training import Trained
from tickcast_export.training_settings import TrainingSettings


def _model(*flags: str, **options: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Model", **options)


def _rule(*flags: str, **options: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Window rules: part of the model", **options)


def _fitting(*flags: str, **options: Any) -> Any:
    return typer.Option(*flags, rich_help_panel="Fitting", **options)


TickFile = Annotated[
    list[Path],
    typer.Option(metavar="FILE...", exists=True, dir_okay=False, help="CSV, CSV.gz or Parquet, oldest first."),
]
MoreTickFiles = Annotated[
    list[Path] | None, typer.Argument(metavar="[FILE]...", exists=True, dir_okay=False, help="More tick files.")
]  # what makes `--ticks *.csv` work: the shell puts the others behind
Out = Annotated[Path, typer.Option(metavar="MODEL.keras", dir_okay=False, help="Model file to write.")]

Family = Annotated[Literal["stacked", "additive", "seq2seq"], _model(help="Network.")]
Name = Annotated[str, _model(show_default="MODEL", help="Name of the model.")]
Version = Annotated[str, _model(help="Version of the model.")]
Horizons = Annotated[int, _model(min=1, help="Forecast 1 to so many sampled ticks ahead.")]
Units = Annotated[int, _model(min=1, help="Width of the LSTM.")]
SecondUnits = Annotated[int, _model(min=1, help="stacked: width of the second LSTM.")]
AttentionUnits = Annotated[int, _model(min=1, help="additive, seq2seq: width of the attention.")]
DecoderStart = Annotated[Literal["encoder", "zero"], _model(help="seq2seq: the decoder's first state.")]

Window = Annotated[int, _rule(min=2, help="Rows in a window.")]
Sampling = Annotated[Literal["all", "on_change", "grid_ms"], _rule(help="Which ticks make a row.")]
ChangeColumn = Annotated[
    list[str] | None,
    _rule(metavar="NAME", show_default=", ".join(BOOK), help="on_change: watch this column; repeatable."),
]
GridMs = Annotated[int, _rule(min=0, help="grid_ms: width of the grid.")]
MaxGapS = Annotated[float, _rule(min=0, help="A longer silence starts a fresh run; 0: none does.")]
Order = Annotated[Literal["accept", "skip", "reset"], _rule(help="A tick older than the one before it.")]
Duplicates = Annotated[Literal["accept", "skip"], _rule(help="A tick with the previous one's sequence number.")]

SplitBy = Annotated[
    Literal["share", "day"],
    _fitting(help="Train, validate, test: 60/20/20 % of the time-ordered ticks, or all days but two, one, one."),
]
DayStartsAt = Annotated[
    datetime, _fitting(formats=["%H:%M"], metavar="HH:MM", show_default="00:00", help="When a day begins, UTC.")
]
Epochs = Annotated[int, _fitting(min=1, help="Most epochs.")]
Batch = Annotated[int, _fitting(min=1, help="Windows per step; each has dozens of targets.")]
StepsPerEpoch = Annotated[
    int | None, _fitting(min=1, show_default="each row a target once, 150 to 500", help="Steps per epoch.")
]
TimeBudgetS = Annotated[float | None, _fitting(min=1, help="End fitting after so long; scoring comes on top.")]
LearningRate = Annotated[float, _fitting(min=1e-9, help="Adam's, once warm; falls to 0.")]
WeightDecay = Annotated[float, _fitting(min=0, help="Share of each weight, times the learning rate, lost per step.")]
Patience = Annotated[int, _fitting(min=1, help="Stop after so many epochs without a better validation error.")]
Seed = Annotated[int, _fitting(min=0, help="Same seed, same weights, unless the time budget ends it.")]

Resume = Annotated[bool, _fitting("--resume", help="Go on from MODEL.partial, which an interrupted training leaves.")]


def train(
    ticks: TickFile,
    out: Out,
    more_ticks: MoreTickFiles = None,
    family: Family = "additive",
    name: Name = "",
    version: Version = "1",
    horizons: Horizons = 10,
    units: Units = 64,
    second_units: SecondUnits = 32,
    attention_units: AttentionUnits = 64,
    decoder_start: DecoderStart = "encoder",
    window: Window = 64,
    sampling: Sampling = "on_change",
    change_column: ChangeColumn = None,
    grid_ms: GridMs = 0,
    max_gap_s: MaxGapS = 60.0,
    order: Order = "reset",
    duplicates: Duplicates = "accept",
    split: SplitBy = "share",
    day_starts_at: DayStartsAt = datetime.min,
    epochs: Epochs = 60,
    batch: Batch = 16,
    steps_per_epoch: StepsPerEpoch = None,
    time_budget_s: TimeBudgetS = None,
    learning_rate: LearningRate = 3e-3,
    weight_decay: WeightDecay = 0.0,
    patience: Patience = 10,
    seed: Seed = 1,
    resume: Resume = False,
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    symbol: tick_options.Symbol = "",
    symbol_name: tick_options.SymbolName = "",
    sequence: tick_options.SequenceNumber = "",
    map_: tick_options.Map = None,
) -> None:
    """Train a model on tick files, and score it against persistence (no change) on the last of them.

    Writes MODEL.keras, and next to it MODEL.scores.json and MODEL.curves.png; while it trains, MODEL.partial.
    """
    given = dict(locals())  # every option by its name: what each part takes of them, it names itself
    settings, rules = _settings(given), _rules(given)
    console = Console()
    rows = _rows(given, rules, console)
    parts = _split(given, rows, settings)
    counts = ", ".join(f"{len(ends)} to {purpose}" for purpose, ends in _purposes(parts).items())
    console.print(f"windows of {window} rows: {counts}", highlight=False)
    checkpoints = Checkpoints(out.with_suffix(".partial"))
    trained = training.train(
        rows,
        parts,
        rules,
        settings,
        progress.on(console),
        SystemClock(),
        name or out.stem,
        version,
        checkpoints,
        resume,
    )
    _write(trained, out, console)


def _settings(given: Mapping[str, Any]) -> TrainingSettings:
    network = {key: given[key] for key in ("units", "second_units", "attention_units", "decoder_start")}
    keys = (
        "family",
        "epochs",
        "batch",
        "steps_per_epoch",
        "time_budget_s",
        "learning_rate",
        "weight_decay",
        "patience",
        "seed",
    )
    horizons = tuple(range(1, given["horizons"] + 1))
    return TrainingSettings(network=FamilySettings(**network), horizons=horizons, **{key: given[key] for key in keys})


def _rules(given: Mapping[str, Any]) -> WindowRules:
    keys = ("window", "sampling", "grid_ms", "order", "duplicates")
    watched = tuple(given["change_column"] or (BOOK if given["sampling"] == "on_change" else ()))
    try:
        return WindowRules(
            change_columns=watched, max_gap_s=given["max_gap_s"] or None, **{key: given[key] for key in keys}
        )
    except ValidationError as error:
        raise UsageError("\n".join(f"window rules: {problem['msg']}" for problem in error.errors())) from error


def _rows(given: Mapping[str, Any], rules: WindowRules, console: Console) -> Rows:
    paths = [*given["ticks"], *(given["more_ticks"] or ())]
    keys = ("event_time", "event_time_unit", "symbol", "symbol_name", "sequence")
    mapping = tick_options.mapping(paths[0], **{key: given[key] for key in keys}, pairs=given["map_"])
    console.print(f"columns: {mapping.text()}", highlight=False, soft_wrap=True)
    ticks = tick_files.read_all(paths, mapping)
    console.print(f"{len(ticks)} ticks, {len(ticks.symbols)} symbols", highlight=False)
    return dataset.cut(ticks, rules)


def _split(given: Mapping[str, Any], rows: Rows, settings: TrainingSettings) -> Split:
    window, horizon = given["window"], max(settings.horizons)
    if given["split"] == "day":
        return dataset.split_by_day(rows, window, horizon, given["day_starts_at"].time())
    return dataset.split_by_share(rows, window, horizon)


def _purposes(parts: Split) -> Mapping[str, Any]:
    return {"train": parts.train, "validate": parts.validation, "test": parts.test}


def _write(trained: Trained, out: Path, console: Console) -> None:
    scores_path, curves_path = out.with_suffix(".scores.json"), out.with_suffix(".curves.png")
    model_card.save(trained.model, trained.card, trained.sample_ticks, out, trained.runs)
    scores_path.write_text(json.dumps(trained.card.training, indent=2) + "\n", encoding="utf-8")
    title = f"{trained.card.name} ({trained.card.family})"
    curves.save(trained.epochs, trained.test_scores, title, curves_path)
    console.print(scores.table(trained.test_scores, f"{title}: test"))
    told = trained.card.training["direction"]
    console.print(f"direction {told['horizon']} ahead: kappa {told['test_kappa']:.3f}", highlight=False)  # type: ignore[index]
    console.print(f"wrote {out}, {scores_path}, {curves_path}", highlight=False, soft_wrap=True)
