"""`tickcast record`: a time range of the input topics into a tick file."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tickcast import config as configuration
from tickcast import moments, recording, tick_output
from tickcast.config import Config
from tickcast.errors import UsageError
from tickcast.recording import Recorded, Span
from tickcast.tick_output import SEQUENCE, Shape
from tickcast.topic_reader import TopicReader

# Where nobody looks at a terminal, nothing need be cut.
PIPED_WIDTH = 200
# Records between two looks at the bar.
TOLD_EVERY = 4_096


def record(
    config: Annotated[Path, typer.Option(help="A daemon's configuration: its topics, its mapping.", dir_okay=False)],
    out: Annotated[Path, typer.Option(metavar="TICKS", help="File to write: .parquet, .csv or .csv.gz.")],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TIME",
            show_default="the oldest record kept",
            help="From this time on: yesterday, today, 2026-03-01, 2026-03-01T08:30 (UTC), or epoch milliseconds.",
        ),
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="TIME", show_default="the newest record", help="Up to this time, which is left out.")
    ] = "",
    model: Annotated[
        int | None, typer.Option(min=0, help="Whose symbols: which entry of `models`, from 0; default: the only one.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="These columns, of every symbol: no bundle is needed; not with --model."),
    ] = "",
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Also where retention may have taken the begin of the range (else: exit 1)."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as one JSON object.")] = False,
) -> None:
    """Write what the input topics hold of a time range into a tick file, read as the daemon reads it.

    The range is by the records' own timestamps. What the file cannot hold is left out and counted: records that are
    bad, symbols of other bundles, market states that make no row. Exit 1 where no tick is left, or the range's begin
    is no longer kept.
    """
    settings = configuration.load(config, os.environ)
    tick_output.check(out)
    now = datetime.now(UTC)
    from_ms, to_ms = (moments.epoch_ms(text, now) if text else None for text in (from_, to))
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError(f"--from {from_} --to {to}: the range ends before it begins")
    if to_ms is not None and to_ms > now.timestamp() * 1_000:
        typer.echo(f"tickcast record: --to {to}: is yet to come: what is written after this is left out", err=True)
    using = recording.reading(settings, model, tuple(name for each in columns.split(",") if (name := each.strip())))
    console = Console(stderr=as_json) if sys.stdout.isatty() else Console(stderr=as_json, width=PIPED_WIDTH)
    with TopicReader(settings.kafka) as reader:
        span = recording.span(reader, settings.kafka.input_topics, from_ms, to_ms)
        if span.begun_later and not _may_begin_later(span, partial):
            raise typer.Exit(1)
        counted = _write(reader, span, using, out, bool(settings.input.sequence), console)
    if as_json:
        typer.echo(json.dumps(_document(counted, span)))
    else:
        _show(counted, out, settings, console)
    if not counted.ticks:
        typer.echo(f"tickcast record: no ticks: {out} is not written", err=True)
        raise typer.Exit(1)


def _may_begin_later(span: Span, partial: bool) -> bool:
    """Say what is no longer kept, and whether that may be."""
    for partition in span.begun_later:
        first = span.ranges[partition].first
        typer.echo(
            f"tickcast record: {partition.topic}/{partition.number}: the oldest record kept is at offset {first:,}: "
            "the begin of the range may be lost to retention",
            err=True,
        )
    if not partial:
        typer.echo("tickcast record: nothing written; --partial takes what there is", err=True)
    return partial


def _write(
    reader: TopicReader, span: Span, using: recording.Reading, out: Path, with_sequence: bool, console: Console
) -> Recorded:
    counted = Recorded()
    columns = (TextColumn("record"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("record", total=span.offsets)
        ticks = recording.ticks(recording.in_order(reader, span.ranges), using, counted)
        first = next(ticks, None)
        if first is None:
            return counted
        with tick_output.opened(out, Shape(using.columns, with_sequence)) as output:
            output.add(first)
            for tick in ticks:
                output.add(tick)
                if counted.ticks % TOLD_EVERY == 0:
                    bar.update(task, completed=counted.records)
    return counted


def _show(counted: Recorded, out: Path, settings: Config, console: Console) -> None:
    lines = [f"{counted.ticks:,} ticks of {counted.records:,} records"]
    if counted.first_event_time_ns is not None and counted.last_event_time_ns is not None:
        first, last = (
            moments.text_of(at // 1_000_000) for at in (counted.first_event_time_ns, counted.last_event_time_ns)
        )
        lines.append(f"event times {first} to {last}")
    left_out = [
        *(f"{count:,} bad ({reason})" for reason, count in sorted(counted.bad.items())),
        *(f"{count:,} {state}" for state, count in sorted(counted.no_row.items())),
        *([f"{counted.other_symbols:,} of other bundles' symbols"] if counted.other_symbols else []),
    ]
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    if counted.ticks:
        option = f" (with --sequence {SEQUENCE})" if settings.input.sequence else ""
        lines.append(f"wrote {out}{option}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _document(counted: Recorded, span: Span) -> dict[str, object]:
    """For JSON."""
    partitions = {f"{topic}/{number}": [*held] for (topic, number), held in sorted(span.ranges.items())}
    return {
        "ticks": counted.ticks,
        "records": counted.records,
        "bad": dict(counted.bad),
        "no_row": dict(counted.no_row),
        "other_symbols": counted.other_symbols,
        "first_event_time_ns": counted.first_event_time_ns,
        "last_event_time_ns": counted.last_event_time_ns,
        "offsets": partitions,
        "begun_later": [f"{topic}/{number}" for topic, number in span.begun_later],
    }
