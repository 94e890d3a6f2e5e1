"""`tickcast verify`: is a bundle what it says, here and now? Needs no tensorflow: the golden windows travel with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from tickcast import bundle, carried_parity, parity
from tickcast.bundle import Bundle
from tickcast.carried_engine import CarriedEngine
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.manifest import CARRIED_GOLDEN_NAME, GOLDEN_NAME, MANIFEST_NAME, CarriedCertificate
from tickcast.parity import PathParity


def verify(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder made by `tickcast export`.")],
    provider: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Execution provider to run on.")] = "auto",
) -> None:
    """Re-check hashes, and every path through the graphs against the golden windows.

    Exit 1 where an answer is off, 78 for a bundle that cannot be used at all.
    """
    loaded = bundle.load(folder)
    engine = Engine(loaded, InferenceConfig(provider=provider))
    results = checked(loaded, engine)
    show(Console(), loaded, results, engine.provider)
    if not all(result.holds for result in results):
        raise typer.Exit(1)


def checked(loaded: Bundle, engine: Engine) -> list[PathParity]:
    """Every path of a bundle, that of the mode `carried` included where it is certified for it."""
    results = parity.check(loaded, engine)
    if loaded.manifest.carried is not None:
        carried = CarriedEngine(loaded, InferenceConfig(provider=engine.provider))
        results += carried_parity.check(carried, engine.features)
    return results


def show(console: Console, loaded: Bundle, results: Sequence[PathParity], provider: str) -> None:
    """Print a loaded bundle's files, whose hashes loading has checked, and what its paths came to on `provider`."""
    manifest = loaded.manifest
    console.print(f"{manifest.name} {manifest.version}, family {manifest.family}")
    files = Table("file", "bytes", "sha256", "hash", title="Files", title_justify="left")
    for role, graph in manifest.graphs.items():
        files.add_row(graph.file, str(len(loaded.graphs[role])), graph.sha256[:16], "[green]holds[/green]")
    files.add_row(GOLDEN_NAME, "", manifest.golden_sha256[:16], "[green]holds[/green]")
    if manifest.carried is not None:
        files.add_row(CARRIED_GOLDEN_NAME, "", manifest.carried.golden_sha256[:16], "[green]holds[/green]")
    files.add_row(MANIFEST_NAME, "", loaded.sha256[:16], "[green]holds[/green]")
    console.print(files)
    console.print(_parity_table(manifest.certificate.reference, results, provider))
    if manifest.carried is not None:
        console.print(_distance_table(manifest.carried, manifest.unit))


def _parity_table(reference: str, results: Sequence[PathParity], provider: str) -> Table:
    table = Table("path", "at once", "cases", "largest error", "99 %", "tolerance", "verdict")
    table.title, table.title_justify = f"Parity with {reference} on {provider}", "left"
    table.caption, table.caption_justify = "errors in units of max(target_scale, |forecast|)", "left"
    for result in results:
        numbers = (f"{value:.1e}" for value in (result.error_max, result.error_p99, result.tolerance))
        verdict = "[green]holds[/green]" if result.holds else "[red]FAILS[/red]"
        table.add_row(result.path, str(result.batch), str(result.cases), *numbers, verdict)
    return table


def _distance_table(carried: CarriedCertificate, unit: str) -> Table:
    table = Table("of", "median", "99 %", "largest")
    table.title, table.title_justify = "Distance of the mode carried to the windowed answer", "left"
    table.caption = f"over {carried.ticks} validation ticks in {carried.runs} runs, as measured by tickcast export"
    table.caption_justify = "left"
    for name, distance in (("target_scale", carried.distance), (unit, carried.distance_absolute)):
        table.add_row(name, *(f"{value:.2g}" for value in (distance.median, distance.p99, distance.maximum)))
    table.add_row("windowed answers' root mean square, in target_scale", f"{carried.windowed_spread:.2g}", "", "")
    return table
