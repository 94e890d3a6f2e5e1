"""`tickcast top`: a running instance on a terminal, here or on another host."""

from typing import Annotated, Literal

import typer
from rich.console import Console

from tickcast import top as view
from tickcast.page_view import LIMIT_MAX
from tickcast.top_choice import Choice
from tickcast.top_stream import Address


def top(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="Where the instance serves its metrics.", show_default=True)
    ] = "http://127.0.0.1:9464",
    symbol: Annotated[str, typer.Option(help="Symbol to show; default: the one with most ticks.")] = "",
    sort: Annotated[
        Literal["movers", "errors", "rate", "name"],
        typer.Option(help="Symbols that moved most, that were forecast worst, that tick most, or by name."),
    ] = "movers",
    search: Annotated[str, typer.Option(help="Only symbols with this in their names.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Symbols in the table at most.")] = 50,
    once: Annotated[
        bool, typer.Option("--once", help="Print it once; so it is done where there is no terminal.")
    ] = False,
) -> None:
    """Show a running instance: latency, lag, error, its symbols, and one symbol's forecasts and attention.

    Keys: q quit, arrows choose a symbol, s sort, / search. With --once, exit 1 unless the instance is ready.
    """
    console, address = Console(), Address.of(url)
    choice = Choice(symbol, sort, search, limit)
    if not once and console.is_terminal:
        view.watch(console, address, choice)
    elif not view.once(console, address, choice):
        raise typer.Exit(1)
