"""The symbols on a terminal: a line for each, as many as there is room for around the chosen one.

Beside the way of a tick: what a terminal shows of it.
"""

from collections.abc import Callable
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from tickcast import top_words as words
from tickcast.top_choice import Choice
from tickcast.top_document import Document, SymbolRow

MARK, NO_MARK = "> ", "  "
SYMBOL_WIDTH_MIN, SYMBOL_WIDTH_MAX = 12, 32
ROWS_MIN = 1


class _Column(NamedTuple):
    name: str
    width: int
    text: Callable[[SymbolRow], str]
    is_signed: bool = False


# Where there is no room for all, the last ones are left out.
COLUMNS = (
    _Column("mid", 13, lambda row: words.price(row.mid)),
    _Column("forecast", 10, lambda row: words.signed(row.forecast), True),
    _Column("moved", 10, lambda row: words.moved(row.change_share), True),
    _Column("ticks", 8, lambda row: words.per_second(row.rate)),
    _Column("error", 7, lambda row: words.number(row.error, ".3g")),
    _Column("age", 7, lambda row: words.age(row.age_s)),
)


def drawn(document: Document, choice: Choice, width: int, height: int | None) -> list[Text]:
    """At most `height` lines of at most `width` columns; without a limit all that the instance told."""
    columns = _fitting(width)
    name_width = min(width - len(MARK) - sum(column.width for column in columns), SYMBOL_WIDTH_MAX)
    lines = [_header(document, columns, name_width)]
    rows = document.symbols
    if height is not None:
        rows = _around(rows, choice.symbol, max(height - 1, ROWS_MIN))
    return lines + [_line(row, choice, columns, name_width) for row in rows]


def _fitting(width: int) -> list[_Column]:
    left = width - len(MARK) - SYMBOL_WIDTH_MIN
    fitting = []
    for column in COLUMNS:
        left -= column.width
        if left < 0:
            break
        fitting.append(column)
    return fitting


def _header(document: Document, columns: list[_Column], name_width: int) -> Text:
    shown, matching = len(document.symbols), document.symbols_matching
    counted = f"symbol ({shown} of {matching:,})" if matching is not None and matching > shown else "symbol"
    line = Text(NO_MARK + _left(counted, name_width), style="dim underline")
    return line.append("".join(f"{column.name:>{column.width}}" for column in columns))


def _line(row: SymbolRow, choice: Choice, columns: list[_Column], name_width: int) -> Text:
    is_chosen = row.symbol == choice.symbol
    line = Text(MARK if is_chosen else NO_MARK, style="bold" if is_chosen else "")
    line.append(_left(words.plain(row.symbol, name_width - 1), name_width))
    for column in columns:
        text = column.text(row)
        style = {"+": "green", "-": "red"}.get(text[0], "") if column.is_signed and len(text) > 1 else ""
        line.append(f"{words.plain(text, column.width - 1):>{column.width}}", style)
    return line


def _around(rows: list[SymbolRow], symbol: str, count: int) -> list[SymbolRow]:
    """`count` rows of which `symbol` is one, where it is there at all."""
    at = next((place for place, row in enumerate(rows) if row.symbol == symbol), 0)
    first = max(0, min(at - count // 2, len(rows) - count))
    return rows[first : first + count]


def _left(text: str, width: int) -> str:
    """`text` and blanks: wide characters take two columns."""
    return text + " " * (width - cell_len(text))
