"""`tickcast retrain-demo`: a market changes, a model is trained anew, shadowed and promoted, on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tickcast_export import demo_signals
from tickcast_export import retrain_demo as steps
from tickcast_export.demo_settings import FamilyName
from tickcast_export.figures import percent
from tickcast_export.retrain_errors import Summary
from tickcast_export.retrain_settings import Settings


def retrain_demo(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for everything that is made.")] = Path(
        "retrain-out"
    ),
    family: Annotated[FamilyName, typer.Option(help="Network.")] = "additive",
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated ticks and of training.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs that each model is trained for.")] = 8,
    window: Annotated[int, typer.Option(min=11, help="Rows in a window.")] = 32,
    units: Annotated[int, typer.Option(min=1, help="Width of the network's layers.")] = 32,
    history_ticks: Annotated[int, typer.Option(min=1_000, help="Ticks that the first model learns from.")] = 60_000,
    calm_ticks: Annotated[int, typer.Option(min=500, help="Ticks played of the market as it was.")] = 8_000,
    changed_ticks: Annotated[int, typer.Option(min=1_000, help="Of the changed one; the second learns from.")] = 60_000,
    shadow_ticks: Annotated[
        int, typer.Option(min=6_000, help="Most ticks played from the shadow's start on.")
    ] = 40_000,
    after_ticks: Annotated[int, typer.Option(min=100, help="Forecasts to wait for after the promotion.")] = 6_000,
    rate: Annotated[float, typer.Option(min=1, help="Ticks a second on days 1 and 2.")] = 2_500.0,
    shadow_rate: Annotated[float, typer.Option(min=1, help="Ticks a second while both answer.")] = 800.0,
) -> None:
    """Show the whole loop on a simulated market that changes its ways, on a real Kafka, each step as a command.

    The last line is the summary as JSON. Exit 1 if a step fails or a forecast is missing or doubled, 130 after Ctrl-C.
    """
    settings = Settings(
        out=out,
        family=family,
        seed=seed,
        window=window,
        units=units,
        epochs=epochs,
        history_ticks=history_ticks,
        calm_ticks=calm_ticks,
        changed_ticks=changed_ticks,
        shadow_ticks=shadow_ticks,
        after_ticks=after_ticks,
        rate=rate,
        shadow_rate=shadow_rate,
    )
    console = Console()
    summary = demo_signals.until_asked_to_end("retrain-demo", lambda: steps.run(settings, console))
    console.print(_table(summary))
    typer.echo(summary.as_json())
    if summary.missing or summary.doubled:
        raise typer.Exit(1)


def _table(summary: Summary) -> Table:
    """The summary for a terminal."""
    made = Table(show_header=False, box=None, padding=(0, 2))
    made.add_column(style="dim")
    made.add_column()
    errors = {
        "before the change": summary.error_before_change,
        "after it, old model": summary.error_after_change,
        "after the promotion": summary.error_after_promotion,
    }
    for when, error in errors.items():
        made.add_row(when, f"{percent(error)} error saved against no change")
    made.add_row("promoted by", f"look at {summary.look_ticks:,} scored ticks")
    whole = "green" if not (summary.missing or summary.doubled) else "red"
    made.add_row("missing, doubled", f"[{whole}]{summary.missing:,}, {summary.doubled:,}[/] (by tickcast audit)")
    made.add_row("took", f"{summary.seconds:.0f} s, on simulated ticks")
    return made
