"""The chosen symbol on a terminal: where its mid went, what is forecast from there, and what that leaned on.

Beside the way of a tick: what a terminal shows of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from tickcast import top_words as words
from tickcast.top_chart import Canvas, strip
from tickcast.top_document import Attention, Chosen, Document, Fan, Model

# Of the path so many times as much as lies ahead: the fan is a sixth of the picture, or more.
PATH_TO_FAN = 5
ROWS_MIN, ROWS_MAX = 3, 20
# Columns for the prices beside the picture.
SCALE_WIDTH_MAX = 14
UP, DOWN, PATH, DIM = "green", "red", "cyan", "dim"


class _Place(NamedTuple):
    position: int
    mid: float


class _Frame(NamedTuple):
    """What the picture spans."""

    left: int
    right: int
    low: float
    high: float

    def dot(self, canvas: Canvas, place: _Place) -> tuple[int, int]:
        across = (place.position - self.left) / max(self.right - self.left, 1)
        down = (self.high - place.mid) / (self.high - self.low) if self.high > self.low else 0.5
        return round(across * (canvas.width - 1)), round(down * (canvas.height - 1))


def drawn(document: Document, symbol: str, width: int, height: int) -> list[Text]:
    """In `height` lines, or a few less: a title, the picture, attention."""
    chosen = document.symbol
    title = Text(words.plain(symbol, width), style="bold")
    if not symbol or chosen is None or chosen.symbol != symbol:
        said = "choose a symbol with the arrow keys" if not symbol else "waiting for what there is of it"
        return [title, Text(said[:width], style=DIM)] if symbol else [Text(said[:width], style=DIM)]
    model = _model(document, chosen)
    horizons = model.horizons if model else []
    fan = _fan(chosen.fans, horizons)
    path = _run(chosen, PATH_TO_FAN * max(horizons, default=10))
    _add_forecast(title, fan, (model.unit if model else None) or "", width)
    rows = min(max(height - 2, ROWS_MIN), ROWS_MAX)
    picture = _picture(path, fan, width, rows) if path else [Text("no mid is known of it yet", style=DIM)]
    return [title, *picture, _attention(chosen.attention, width)]


def _run(chosen: Chosen, positions: int) -> list[_Place]:
    """The newest part of the path, over so many positions, back to where they begin anew."""
    run: list[_Place] = []  # newest first
    for _, position, mid in reversed(chosen.path):
        if run and not run[0].position - positions <= position < run[-1].position:
            break
        if mid is not None:
            run.append(_Place(position, mid))
    return run[::-1]


def _fan(fans: Sequence[Fan], horizons: Sequence[int]) -> list[_Place]:
    """The newest forecast, from where it was made; empty where there is none."""
    fan = fans[-1] if fans else None
    if fan is None or fan.mid is None:
        return []
    ahead = zip(horizons, fan.forecast, strict=False)
    return [
        _Place(fan.position, fan.mid),
        *(_Place(fan.position + horizon, fan.mid + change) for horizon, change in ahead if change is not None),
    ]


def _picture(path: Sequence[_Place], fan: Sequence[_Place], width: int, rows: int) -> list[Text]:
    mids = [place.mid for place in (*path, *fan)]
    low, high = min(mids), max(mids)
    scale = [words.price(high), words.price(low)]
    margin = min(max(map(cell_len, scale)), SCALE_WIDTH_MAX)
    right = max(place.position for place in (*path, *fan))
    frame = _Frame(path[0].position, right, low, high)
    canvas = Canvas(max(width - margin - 1, 1), rows)
    _draw(canvas, frame, path, PATH)
    _draw(canvas, frame, fan, UP if fan and fan[-1].mid >= fan[0].mid else DOWN)
    labels = [scale[0], *[""] * (rows - 2), scale[1]]
    return [
        row.append(f" {words.plain(label, margin):<{margin}}", DIM)
        for row, label in zip(canvas.rows(), labels, strict=True)
    ]


def _draw(canvas: Canvas, frame: _Frame, places: Sequence[_Place], style: str) -> None:
    dots = [frame.dot(canvas, place) for place in places]
    for start, end in zip(dots, dots[1:] or dots, strict=False):
        canvas.line(start, end, style)


def _model(document: Document, chosen: Chosen) -> Model | None:
    """What answers the symbol; of an instance that tells of one model only, that one."""
    place = chosen.model or 0
    return document.models[place] if 0 <= place < len(document.models) else document.model


def _add_forecast(title: Text, fan: Sequence[_Place], unit: str, width: int) -> None:
    """`61837.6  next 10 ticks +1.5 USD`, as far as there is room."""
    if not fan:
        return
    change, ahead = fan[-1].mid - fan[0].mid, fan[-1].position - fan[0].position
    unit = words.plain(unit, 12)
    for said, style in (
        (f"  {words.price(fan[0].mid)}", ""),
        (f"  in {ahead} ticks {words.signed(change)} {unit}".rstrip(), UP if change >= 0 else DOWN),
    ):
        if title.cell_len + cell_len(said) <= width:
            title.append(said, style)


def _attention(attention: Attention | None, width: int) -> Text:
    if attention is None or not attention.weights:
        reason = attention.reason if attention is not None and attention.reason else "not told yet"
        return Text(words.plain(f"attention: {reason}", width), style=DIM)
    weights = attention.weights
    most = max(range(len(weights)), key=weights.__getitem__)
    back = len(weights) - 1 - most
    where = "the newest tick" if not back else f"{back} back"
    line = Text("attention ", style=DIM)
    said = f" most {weights[most]:.0%}, {where}"
    room = width - line.cell_len - cell_len(said)
    if room < 1:
        return Text(words.plain(f"attention:{said}", width), style=DIM)
    return line.append(strip(weights, room), "magenta").append(said, DIM)
