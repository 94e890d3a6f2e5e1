"""`tickcast demo`: the whole job on this machine, with a report at its end."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from tickcast import tick_options

from tickcast_export import demo as steps
from tickcast_export import demo_signals
from tickcast_export.demo_settings import FamilyName, Settings
from tickcast_export.demo_ticks import Pace

DEFAULT_RATE = 500.0


def demo(
    ticks: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV, CSV.gz or Parquet; default: simulated ticks.")
    ] = None,
    family: Annotated[FamilyName, typer.Option(help="Network.")] = "additive",
    duration_s: Annotated[float, typer.Option(min=0.5, help="How long ticks are played.")] = 20.0,
    rate: Annotated[
        float | None, typer.Option(min=0, show_default="500", help="Ticks a second; 0: at recorded pace.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=1e-3, help="So many times as fast as recorded, instead of a rate.")
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for everything that is made.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated ticks and of training.")] = 1,
    train_s: Annotated[float, typer.Option(min=1, help="Time to train.")] = 30.0,
    window: Annotated[int, typer.Option(min=2, help="Rows in a window.")] = 32,
    units: Annotated[int, typer.Option(min=1, help="Width of the network's layers.")] = 32,
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    symbol: tick_options.Symbol = "",
    symbol_name: tick_options.SymbolName = "",
    map_: tick_options.Map = None,
) -> None:
    """Train, export, certify, serve and audit on this machine, on a real Kafka, and write a report.

    The last line is the summary as JSON. Exit 1 if a forecast is missing or doubled, 130 after Ctrl-C.
    """
    if rate is not None and speed is not None:
        raise typer.BadParameter("--rate sets the pace alone: leave out --speed")
    mapping = None
    if ticks is not None:
        mapping = tick_options.mapping(
            ticks,
            event_time=event_time,
            event_time_unit=event_time_unit,
            symbol=symbol,
            symbol_name=symbol_name,
            sequence="",  # the model's window rules do not ask for it
            pairs=map_,
        )
    per_s = 0.0 if speed is not None else DEFAULT_RATE if rate is None else rate
    pace = Pace(duration_s, per_s, speed or 1.0)
    command = shlex.join(["tickcast", "demo", *sys.argv[2:]])
    _run(Settings(ticks, mapping, family, pace, out, seed, train_s, window, units, command))


def _run(settings: Settings) -> None:
    console = Console()
    summary = demo_signals.until_asked_to_end("demo", lambda: steps.run(settings, console))
    console.print(steps.table(summary))
    typer.echo(summary.as_json())
    if summary.missing or summary.doubled:
        raise typer.Exit(1)
