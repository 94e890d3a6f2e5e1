"""Tables of a bench for a person at a terminal: a title, a header, right-aligned figures.

Beside the way of a tick: what the benches say about it.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 100


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column holds names and whose others hold figures."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, 1),
    )
    made.add_column(header[0], justify="left", no_wrap=True)
    for name in header[1:]:
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def console() -> Console:
    """Standard output: as wide as the terminal, and where there is none wide enough for any table of a bench."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=WIDTH)


def rate(per_s: float) -> str:
    """`15,200/s`, to three digits."""
    if per_s >= 100:
        digits = len(str(int(per_s)))
        return f"{round(per_s, 3 - digits):,.0f}/s"
    return f"{per_s:.3g}/s"


def share(part: float) -> str:
    """A part of 1 in percent, with a decimal: `98.4%`."""
    return f"{part:.1%}"
