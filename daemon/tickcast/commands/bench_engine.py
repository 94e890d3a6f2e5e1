"""`tickcast bench engine`: how fast the pipeline is, from record bytes to forecast bytes, without a broker."""

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from tickcast import bench_engine as bench
from tickcast import bench_subject, bench_table, bundle, log, tick_options
from tickcast.bench_line import NOTHING, Extras
from tickcast.bench_report import show
from tickcast.bench_rounds import Settings
from tickcast.clock import SystemClock
from tickcast.config import InferenceConfig, LogConfig
from tickcast.errors import UsageError


def bench_engine(
    bundle_: Annotated[
        Path | None, typer.Option("--bundle", exists=True, file_okay=False, help="Bundle to measure.")
    ] = None,
    family: Annotated[
        Literal["stacked", "additive", "seq2seq"] | None,
        typer.Option(help="Instead: make a bundle of this family, with random weights (extra `export`)."),
    ] = None,
    window: Annotated[str, typer.Option(help="--family: rows in a window; `64,512` measures both, in turn.")] = "64",
    symbols: Annotated[str, typer.Option(help="Simulated symbols; `10,100000` measures both, in turn.")] = "64",
    provider: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Execution provider.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of one graph run on the CPU.")] = 1,
    batch_max: Annotated[int, typer.Option(min=1, max=16_384, help="Most windows in one graph run.")] = 32,
    ticks: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Tick file; default: simulated ticks.")
    ] = None,
    pace: Annotated[
        Literal["poisson", "recorded"], typer.Option(help="Arrivals: Poisson at --rate, or as the tick file has them.")
    ] = "poisson",
    rate: Annotated[float, typer.Option(min=1e-3, help="Ticks a second, on average.")] = 1_000.0,
    duration_s: Annotated[
        float, typer.Option(min=0.01, help="Paced ticks are sent for so long, in all rounds.")
    ] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="So many rounds: what is compared takes turns.")] = 5,
    saturated_ticks: Annotated[int, typer.Option(min=1, help="Ticks of each saturated round.")] = 20_000,
    saturated_only: Annotated[bool, typer.Option("--saturated-only", help="Leave out the paced rounds.")] = False,
    watched: Annotated[
        bool, typer.Option("--watched", help="Only: paced, while nobody looks and with scrapes and an open page.")
    ] = False,
    scrapes_per_s: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="--watched: so many scrapes, beside the open page.")
    ] = 10.0,
    shadow: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Only: without and with this bundle as a shadow, in turn."),
    ] = None,
    attention: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only: without and with these symbols' attention in forecasts, in turn."),
    ] = None,
    bands: Annotated[bool, typer.Option("--bands", help="Only: without and with the bundle's bands, in turn.")] = False,
    plain: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="ONNX file for plain runs; default: the bundle's window graph."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="--bundle: its .keras, to time `predict` (extra `export`)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals, simulated ticks and random weights.")] = 1,
    json_: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write everything here, too.")] = None,
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    symbol: tick_options.Symbol = "",
    symbol_name: tick_options.SymbolName = "",
    sequence: tick_options.SequenceNumber = "",
    map_: tick_options.Map = None,
) -> None:
    """Time the pipeline from record bytes to forecast bytes: paced and saturated, by stage, against plain runs."""
    if (bundle_ is None) == (family is None):
        raise UsageError("give --bundle or --family: what is to be measured")
    if ticks is None and pace == "recorded":
        raise UsageError("--pace recorded needs --ticks")
    if family is not None and model is not None:
        raise UsageError("--model goes with --bundle: --family makes its own")
    if watched and (saturated_only or plain is not None or model is not None):
        raise UsageError("--watched compares paced rounds alone: not with --saturated-only, --plain or --model")
    extras = Extras(shadow, tuple(attention or ()), bands)
    if extras != NOTHING and (watched or plain is not None or model is not None):
        raise UsageError(
            "--shadow, --attention and --bands compare two lines alone: not with --watched, --plain or --model"
        )
    windows, counts = _numbers("--window", window, 2), _numbers("--symbols", symbols, 1)
    clock = SystemClock()
    log.configure(LogConfig(level="warning"), clock)
    settings = Settings(
        pace=pace,
        rate_per_s=rate,
        duration_s=duration_s,
        rounds=rounds,
        saturated_ticks=saturated_ticks,
        saturated_only=saturated_only,
        seed=seed,
        inference=InferenceConfig(provider=provider, threads=threads, batch_max=batch_max),
        plain_graph=plain.read_bytes() if plain else None,
        scrapes_per_s=scrapes_per_s,
        extras=extras,
    )
    mapping = partial(
        tick_options.mapping,
        event_time=event_time,
        event_time_unit=event_time_unit,
        symbol=symbol,
        symbol_name=symbol_name,
        sequence=sequence,
        pairs=map_,
    )
    console = bench_table.console()
    with TemporaryDirectory(prefix="tickcast-bench-") as folder, console.status("") as status:
        if bundle_ is None:
            status.update(f"making bundles of {family} with random weights")
            made = bench_subject.of_family(str(family), windows, seed, Path(folder))
        else:
            made = [(bundle.load(bundle_), model)]
        subjects = []
        for of, its_model in made:
            if ticks is None:
                subjects += [bench_subject.simulated(of, its_model, count, seed) for count in counts]
            else:
                columns = mapping(ticks, columns=of.manifest.record_columns)
                subjects.append(bench_subject.recorded(of, its_model, ticks, columns))
        source = ticks.name if ticks else f"simulated, seed {seed}"
        report = bench.run(subjects, settings, source, clock, status.update, watched)
    show(console, report)
    if json_ is not None:
        json_.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def _numbers(option: str, text: str, least: int) -> list[int]:
    """`64` or `64,512`. Raises UsageError for anything else."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) >= least for part in parts):
        raise UsageError(f"{option} {text}: whole numbers from {least} on, `64` or `64,512`")
    return [int(part) for part in parts]
