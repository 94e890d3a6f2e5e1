"""Command-line options that say which column of a tick file is what, alike for every command that reads one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tickcast import tick_columns, tick_files
from tickcast.errors import UsageError
from tickcast.tick_columns import TickColumns, TimeUnit

EventTime = Annotated[
    str,
    typer.Option(
        "--event-time",
        metavar="COLUMN",
        show_default="event_time_ns, else the only column named like a time",
        help="Column of the event time.",
    ),
]
EventTimeUnit = Annotated[
    TimeUnit | None,
    typer.Option(
        "--event-time-unit", show_default="as the column's name says, else ns", help="Unit of the event time."
    ),
]
Symbol = Annotated[str, typer.Option("--symbol", metavar="COLUMN", show_default="symbol", help="Column of the symbol.")]
SymbolName = Annotated[
    str, typer.Option("--symbol-name", metavar="NAME", help="One symbol for every tick, where no column holds it.")
]
SequenceNumber = Annotated[
    str, typer.Option("--sequence", metavar="COLUMN", help="Column of the exchange's sequence number; default: none.")
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="NAME=COLUMN", help="Take tick column NAME from the file's COLUMN; repeatable."),
]


def mapping(
    path: Path,
    *,
    columns: Sequence[str] = tick_columns.BOOK_COLUMNS,
    event_time: str,
    event_time_unit: TimeUnit | None,
    symbol: str,
    symbol_name: str,
    sequence: str,
    pairs: Sequence[str] | None,
) -> TickColumns:
    """The mapping for `path` and files like it: what was given, and for the rest what its header suggests."""
    columns_map = dict(_pair(text) for text in pairs or ())
    return tick_columns.choose(
        tick_files.header(path),
        columns,
        event_time=event_time,
        event_time_unit=event_time_unit,
        symbol=symbol,
        symbol_name=symbol_name,
        sequence=sequence,
        columns_map=columns_map,
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise UsageError(f"--map {text}: write NAME=COLUMN")
    return name, column
