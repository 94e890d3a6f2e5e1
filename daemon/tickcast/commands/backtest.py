"""`tickcast backtest`: forecasts for the ticks of files or topics, and how they turned out."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tickcast import attention as weights
from tickcast import backtest as backtesting
from tickcast import backtest_answers, backtest_output, backtest_run, backtest_scores, bundle, tick_options
from tickcast import config as configuration
from tickcast.backtest import BacktestEngine, LocalEngine, Summary
from tickcast.backtest_scores import BacktestScores
from tickcast.bundle import Bundle
from tickcast.config import Config
from tickcast.errors import UsageError
from tickcast.tick_columns import TickColumns

# Where nobody looks at a terminal, nothing need be cut.
PIPED_WIDTH = 200


def backtest(
    out: Annotated[Path, typer.Option(metavar="FORECASTS", help="File to write: .parquet, .csv or .csv.gz.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", exists=True, dir_okay=False, help="CSV, CSV.gz or Parquet, in order."),
    ] = None,
    bundle_: Annotated[
        Path | None, typer.Option("--bundle", exists=True, file_okay=False, help="Bundle that answers.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A daemon's configuration: its symbols, market rules and limits.", dir_okay=False),
    ] = None,
    from_topics: Annotated[
        bool,
        typer.Option(
            "--from-topics", help="Instead of files: --config's input topics, each offset by the bundle in force there."
        ),
    ] = False,
    in_force: Annotated[
        Literal["answered", "wanted"],
        typer.Option(help="--from-topics: the bundles by the forecasts that are kept, or by the control topic."),
    ] = "answered",
    bundles: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="--from-topics: where bundles lie beside the configured ones; a bundle, or some.",
        ),
    ] = None,
    from_time_ms: Annotated[
        int | None, typer.Option(help="--from-topics: from this record timestamp on, epoch milliseconds.")
    ] = None,
    attention: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", show_default="as configured", help="Also what forecasts of these symbols lean on."
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Where to answer; ray: tasks of a symbol and day (extra `ray`).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, show_default="one a CPU", help="ray: tasks at a time on this machine.")
    ] = None,
    ray_address: Annotated[
        str, typer.Option(help="ray: a cluster that runs already; default: one on this machine for this backtest.")
    ] = "",
    provider: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(show_default="as configured, else auto", help="local: execution provider."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, show_default="one a CPU", help="local: graph runs side by side.")
    ] = None,
    batch_max: Annotated[
        int | None,
        typer.Option(min=2, max=16_384, show_default="as configured, else 64", help="Most windows in one graph run."),
    ] = None,
    allow_untrained_symbols: Annotated[
        bool, typer.Option("--allow-untrained-symbols", help="Answer also symbols that the bundle was not trained for.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many ticks.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT.html",
            dir_okay=False,
            help="Page that `tickcast evaluate` then makes of them (extra `export`).",
        ),
    ] = None,
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    symbol: tick_options.Symbol = "",
    symbol_name: tick_options.SymbolName = "",
    sequence: tick_options.SequenceNumber = "",
    map_: tick_options.Map = None,
) -> None:
    """Answer the ticks of files as the daemon would, and say how the forecasts turned out.

    FORECASTS has a row for each: symbol, event_time_ns, offset (the tick's row, from 0), reference_mid, and the mid's
    change h1, h2, ... sampled ticks ahead. With --from-topics also topic, partition and the sha256 of the bundle.
    """
    backtest_output.check(out)
    cpus = len(os.sched_getaffinity(0))
    given = None if config is None else configuration.load(config)
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    if from_topics:
        mapped = event_time or event_time_unit or symbol or symbol_name or sequence or map_
        apart = engine == "ray" or workers or ray_address
        of_files = files or bundle_ or report or limit or mapped or apart or allow_untrained_symbols
        if given is None or of_files:
            raise UsageError("--from-topics: with --config, not with FILE, --bundle and what else is about files")
        inference = {"provider": provider, "threads": threads or cpus, "batch_max": batch_max}
        backtest_run.of_topics(given, inference, in_force, bundles or (), from_time_ms, attention, out, console)
        return
    if in_force != "answered" or bundles or from_time_ms is not None:
        raise UsageError("--in-force, --bundles and --from-time-ms: only with --from-topics")
    if not files or bundle_ is None:
        raise UsageError("FILE and --bundle: which ticks, and who answers them; or --from-topics")
    if out.resolve() in {file.resolve() for file in files}:
        raise UsageError(f"{out}: is one of the tick files")
    if report is not None:
        if limit is not None:
            raise UsageError("--report is of whole files: leave out --limit")
        _evaluate("--help", quiet=True)  # where it cannot run it says so now, not in an hour
    settings = backtesting.settings(
        bundle_, given, allow_untrained_symbols, provider=provider, threads=threads or cpus, batch_max=batch_max
    )
    loaded = bundle.load(bundle_)
    if attention:
        settings = backtest_run.asking(settings, attention)
        weights.check(settings.model_copy(update={"models": settings.models[-1:]}), [loaded.manifest])
    leans = loaded.manifest.attention and bool(settings.output.attention)
    mapping = tick_options.mapping(
        files[0],
        columns=loaded.manifest.record_columns,
        event_time=event_time,
        event_time_unit=event_time_unit,
        symbol=symbol,
        symbol_name=symbol_name,
        sequence=sequence,
        pairs=map_,
    )
    console.print(f"columns: {mapping.text()}", highlight=False, soft_wrap=True)
    if settings.input.halted != "accept":
        console.print("input.halted: without effect, no column of a tick file says that a market is halted")
    with closing(_engine(engine, loaded, settings, workers or cpus, ray_address)) as answering:
        summary = _run(files, mapping, limit, loaded, answering, out, console, leans)
    console.print(summary.text(), highlight=False, soft_wrap=True)
    if any(score.scored for score in summary.scores):
        console.print(backtest_scores.table(summary.scores, loaded.manifest.unit))
    if report is not None:
        _evaluate(*map(str, files), "--bundle", str(bundle_), "--out", str(report), *_options(mapping))


def _engine(name: str, loaded: Bundle, settings: Config, workers: int, ray_address: str) -> BacktestEngine:
    if name == "local":
        return LocalEngine(backtest_answers.steady(loaded, settings.inference), settings)
    from tickcast.backtest_ray import RayEngine  # its extra is asked for by whoever wants it

    return RayEngine(loaded, settings, workers, ray_address)


def _evaluate(*arguments: str, quiet: bool = False) -> None:
    """`tickcast evaluate`, in a process of its own: what it needs the daemon has not. Ends this one where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tickcast", "evaluate", *arguments], stdout=subprocess.DEVNULL if quiet else None
    )
    if done.returncode:
        raise typer.Exit(done.returncode)


def _options(mapping: TickColumns) -> list[str]:
    """What says the same to a command that reads the same files."""
    symbol = ["--symbol", mapping.symbol] if mapping.symbol else ["--symbol-name", mapping.symbol_name]
    sequence = ["--sequence", mapping.sequence] if mapping.sequence else []
    columns = [text for name, column in mapping.columns.items() for text in ("--map", f"{name}={column}")]
    time = ["--event-time", mapping.event_time, "--event-time-unit", mapping.event_time_unit]
    return [*time, *symbol, *sequence, *columns]


def _run(
    files: list[Path],
    mapping: TickColumns,
    limit: int | None,
    loaded: Bundle,
    engine: BacktestEngine,
    out: Path,
    console: Console,
    leaning: bool,
) -> Summary:
    columns = (TextColumn("backtest"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
        backtest_output.opened(out, backtest_output.layout_of(loaded, leaning)) as writer,
    ):
        task = bar.add_task("backtest", total=limit)
        chunks = backtesting.chunks_of(files, mapping, limit, engine.chunk_rows)
        scores = BacktestScores(loaded.manifest)
        return backtesting.run(chunks, engine, writer, scores, lambda done: bar.update(task, completed=done))
