"""Small pictures of text: a canvas of braille dots, and bars.

Beside the way of a tick: what a terminal shows of it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
# Unicode's braille patterns: a cell is two dots wide and four high.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
CELL_WIDTH, CELL_HEIGHT = 2, 4


class Canvas:
    """Dots in `height` rows of `width` characters; the origin is at the top left. A cell has its last dot's style."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width * CELL_WIDTH  # in dots
        self.height = height * CELL_HEIGHT
        self._cells = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]

    def dot(self, x: int, y: int, style: str) -> None:
        """Set one dot, which lies on the canvas."""
        row, column = y // CELL_HEIGHT, x // CELL_WIDTH
        self._cells[row][column] |= DOTS[y % CELL_HEIGHT][x % CELL_WIDTH]
        self._styles[row][column] = style

    def line(self, start: tuple[int, int], end: tuple[int, int], style: str) -> None:
        """Set the dots from one place (x, y) to another."""
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            part = step / steps
            x, y = (round(a + (b - a) * part) for a, b in zip(start, end, strict=True))
            self.dot(x, y, style)

    def rows(self) -> list[Text]:
        """What there is, from the top."""
        rows = []
        for cells, styles in zip(self._cells, self._styles, strict=True):
            row = Text()
            for cell, style in zip(cells, styles, strict=True):
                row.append(chr(0x2800 + cell) if cell else " ", style)
            rows.append(row)
        return rows


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The newest `values` as bars on a logarithmic scale, of several for one column the largest; blank where none."""
    columns = [_most(part) for part in _parts(values, width)]
    known = [math.log(value) for value in columns if value]
    if not known:
        return ""
    low, reach = min(known), (max(known) - min(known)) or 1.0
    top = len(BARS) - 1
    return "".join(BARS[round((math.log(value) - low) / reach * top)] if value else " " for value in columns)


def strip(weights: Sequence[float], width: int) -> str:
    """Shares of 1 as bars, the largest one full; of several for one column the largest."""
    columns = [_most(part) or 0.0 for part in _parts(weights, width)]
    most = max(columns, default=0.0) or 1.0
    return "".join(BARS[round(value / most * (len(BARS) - 1))] for value in columns)


def _parts(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    """`values` in order, in at most `width` parts of nearly equal length."""
    count = min(width, len(values))
    edges = [at * len(values) // count for at in range(count + 1)] if count > 0 else [0]
    return [values[start:end] for start, end in pairwise(edges)]


def _most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and value > 0]
    return max(known, default=None)
