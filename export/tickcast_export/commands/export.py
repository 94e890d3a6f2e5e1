"""`tickcast export`: a model becomes a certified bundle, or nothing does."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from pydantic import ValidationError
from rich.console import Console
from tickcast.bundle import Bundle
from tickcast.commands.verify import checked, show
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast.manifest import SECONDS_SINCE_PREVIOUS, WindowRules

from tickcast_export import (
    bundle_writer,
    carried_certificate,
    certificate,
    conformal,
    extremes,
    foreign,
    graphs,
    model_card,
)
from tickcast_export.conversion import hide_gpu
from tickcast_export.model_card import ModelCard

# Where a foreign model's forecast is quoted against a mid price.
REFERENCE_COLUMNS = ("bid", "ask")


class ForeignOptions(NamedTuple):
    """What a foreign model's file does not say."""

    columns: str
    window: int | None
    horizons: str
    unit: str
    target_scale: float | None


def export(
    model: Annotated[Path, typer.Argument(help="Model file: .keras of `tickcast train`, or any .keras, .h5, .onnx.")],
    out: Annotated[Path, typer.Option(help="Folder to write.", metavar="BUNDLE")],
    name: Annotated[str, typer.Option(help="Name in the manifest; default: the model's own, or the file's.")] = "",
    version: Annotated[str, typer.Option(help="Version in the manifest; default: the model's own, or 1.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    columns: Annotated[str, typer.Option(help="Foreign models: raw columns, in order, `a,b,c`.")] = "",
    window: Annotated[int | None, typer.Option(help="Foreign models that leave it open: ticks in a window.")] = None,
    horizons: Annotated[str, typer.Option(help="Foreign models: ticks ahead, `1,2,5`; default: 1, 2, 3, ...")] = "",
    unit: Annotated[str, typer.Option(help="Foreign models: unit of the forecast.")] = "price",
    target_scale: Annotated[
        float | None, typer.Option(help="Foreign models: the target's standard deviation, the unit of tolerances.")
    ] = None,
    band_level: Annotated[
        float | None, typer.Option(help="Share of what happens that forecasts' bands hold; default: 0.9.")
    ] = None,
) -> None:
    """Turn a model into a bundle: ONNX graphs, manifest, golden windows, certificate. Nothing is written that fails."""
    hide_gpu()
    options = ForeignOptions(columns, window, horizons, unit, target_scale)
    if model_card.has_card(model):
        if any(options._replace(unit="")):
            raise UsageError(f"{model}: a model of `tickcast train` has its own columns, window, horizons and scale")
        unwritten = draft_trained(model, name, version, conformal.LEVEL if band_level is None else band_level)
    else:
        if band_level is not None:
            raise UsageError(f"{model}: no model of `tickcast train`: it has no validation ticks to make bands by")
        unwritten = draft_foreign(model, name, version, options)
    written = bundle_writer.write(unwritten, out, replace=force)
    engine = Engine(written, InferenceConfig(provider="cpu"))
    show(Console(), written, checked(written, engine), engine.provider)
    typer.echo(f"wrote {out}")


def draft_trained(path: Path, name: str = "", version: str = "", band_level: float = conformal.LEVEL) -> Bundle:
    """The bundle of a model of `tickcast train`, uncertified and unwritten."""
    model, card, sample_ticks = model_card.load(path)
    card = card.model_copy(update={key: text for key, text in (("name", name), ("version", version)) if text})
    windows = {"real": sample_ticks, **extremes.book_windows(card.rules.window + 1)}
    golden = certificate.golden(windows, certificate.keras_reference(model))
    traced = graphs.trace(model, card)
    draft = bundle_writer.draft(card, traced, graphs.carry_pairs(model, card), golden, "keras")
    runs = model_card.load_runs(path, card)
    if not runs:
        return draft
    return carried_certificate.with_carried(conformal.with_bands(draft, runs, band_level), model, card, runs)


def draft_foreign(path: Path, name: str, version: str, options: ForeignOptions) -> Bundle:
    """The bundle of any other model, uncertified and unwritten."""
    if not options.columns or options.target_scale is None:
        raise UsageError(f"{path}: no model of `tickcast train`: needs --columns and --target-scale")
    columns = tuple(options.columns.split(","))
    if "" in columns or len(set(columns)) < len(columns) or SECONDS_SINCE_PREVIOUS in columns[:-1]:
        raise UsageError(f"--columns {options.columns}: names, each once, {SECONDS_SINCE_PREVIOUS} last")
    model = foreign.read(path, len(columns), options.window)
    card = _foreign_card(path, name or path.stem, version or "1", columns, model, options)
    golden = certificate.golden(extremes.plain_windows(model.window, len(columns)), model.reference)
    return bundle_writer.draft(card, {"window": model.graph}, (), golden, model.reference_name)


def _foreign_card(
    path: Path, name: str, version: str, columns: tuple[str, ...], model: foreign.Foreign, options: ForeignOptions
) -> ModelCard:
    horizons = options.horizons.split(",") if options.horizons else range(1, model.horizons + 1)
    if len(horizons) != model.horizons:
        raise UsageError(f"{path}: gives {model.horizons} values, --horizons names {len(horizons)}")
    try:
        return ModelCard.model_validate(
            {
                "name": name,
                "version": version,
                "family": "foreign",
                "columns": columns,
                "reference_columns": REFERENCE_COLUMNS if set(REFERENCE_COLUMNS) <= set(columns) else (),
                "rules": WindowRules.model_validate({"window": model.window}),
                "horizons": tuple(horizons),
                "target": "foreign",
                "unit": options.unit,
                "target_scale": options.target_scale,
                "feature_names": columns,
            }
        )
    except ValidationError as error:
        raise UsageError(
            "\n".join(f"{path}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        ) from error
