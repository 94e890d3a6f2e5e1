"""`tickcast verify`: is a bundle what it says, here and now? Needs no tensorflow: the golden windows travel with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from tickcast import bundle, parity
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.manifest import GOLDEN_NAME, MANIFEST_NAME
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
    results = parity.check(loaded, engine)
    show(Console(), loaded, results, engine.provider)
    if not all(result.holds for result in results):
        raise typer.Exit(1)


def show(console: Console, loaded: Bundle, results: Sequence[PathParity], provider: str) -> None:
    """Print a loaded bundle's files, whose hashes loading has checked, and what its paths came to on `provider`."""
    manifest = loaded.manifest
    console.print(f"{manifest.name} {manifest.version}, family {manifest.family}")
    files = Table("file", "bytes", "sha256", "hash", title="Files", title_justify="left")
    for role, graph in manifest.graphs.items():
        files.add_row(graph.file, str(len(loaded.graphs[role])), graph.sha256[:16], "[green]holds[/green]")
    files.add_row(GOLDEN_NAME, "", manifest.golden_sha256[:16], "[green]holds[/green]")
    files.add_row(MANIFEST_NAME, "", loaded.sha256[:16], "[green]holds[/green]")
    console.print(files)
    console.print(_parity_table(manifest.certificate.reference, results, provider))


def _parity_table(reference: str, results: Sequence[PathParity], provider: str) -> Table:
    table = Table("path", "at once", "cases", "largest error", "99 %", "tolerance", "verdict")
    table.title, table.title_justify = f"Parity with {reference} on {provider}", "left"
    table.caption, table.caption_justify = "errors in units of max(target_scale, |forecast|)", "left"
    for result in results:
        numbers = (f"{value:.1e}" for value in (result.error_max, result.error_p99, result.tolerance))
        verdict = "[green]holds[/green]" if result.holds else "[red]FAILS[/red]"
        table.add_row(result.path, str(result.batch), str(result.cases), *numbers, verdict)
    return table
