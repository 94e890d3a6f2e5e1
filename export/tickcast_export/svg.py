"""Small drawings as SVG text, to stand inside a page: scales, axes, shapes. Colours come from the page's CSS classes.

Behind the way of a tick; nothing here knows what is drawn.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
Format = Callable[[float], str]

# Steps that read well on an axis, as multiples of a power of ten.
NICE_STEPS = (1.0, 2.0, 5.0, 10.0)
TICK_LENGTH = 4.0
LABEL_GAP = 8.0


@dataclass(frozen=True)
class Scale:
    """Data from `low` to `high` onto pixels from `start` to `end`; `log` for powers of ten."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Round values inside the scale, about so many; powers of ten on a logarithmic one."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        step = _nice_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [count * step for count in range(first, last + 1)]


def spread(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Lowest and highest with some room on either side; never equal."""
    kept = list(values)
    low, high = min(kept), max(kept)
    room = (high - low) * margin or abs(high) * margin or 1.0
    return low - room, high + room


def tag(name: str, *content: str, **attributes: float | str) -> str:
    """One element. `class_` reads class, `stroke_width` stroke-width; numbers are rounded to a tenth of a pixel."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(content)}</{name}>"


def picture(width: float, height: float, label: str, *content: str) -> str:
    """The whole drawing; `label` is what a screen reader says."""
    return tag("svg", *content, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label)


def text(words: str, x: float, y: float, class_: str = "label", anchor: str = "start") -> str:
    """Words at a place: `anchor` is start, middle or end."""
    return tag("text", escape(words), x=x, y=y, class_=class_, text_anchor=anchor)


def title(words: str) -> str:
    """What shows while the pointer rests on the element that holds it."""
    return tag("title", escape(words))


def rectangle(left: float, top: float, right: float, bottom: float, class_: str, *content: str, **more: float) -> str:
    """A filled box, whichever way round its corners are given."""
    size = {"width": max(abs(right - left), 0.0), "height": max(abs(bottom - top), 0.0)}
    return tag("rect", *content, x=min(left, right), y=min(top, bottom), class_=class_, **size, **more)


def line(points: Sequence[Point], class_: str, *content: str, **more: float) -> str:
    """Straight lines from point to point."""
    places = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
    return tag("polyline", *content, points=places, class_=class_, fill="none", **more)


def steps(points: Sequence[Point]) -> list[Point]:
    """The same points with each value held until the next one comes."""
    held: list[Point] = []
    for x, y in points:
        if held:
            held.append((x, held[-1][1]))
        held.append((x, y))
    return held


def bottom_axis(scale: Scale, y: float, form: Format, about: int = 6) -> str:
    """Values below the drawing."""
    marks = [(scale(value), form(value)) for value in scale.ticks(about)]
    drawn = [line([(x, y), (x, y + TICK_LENGTH)], "axis") for x, _ in marks]
    # The last one's words end with the drawing where they would reach over its edge.
    named = [
        text(words, x, y + TICK_LENGTH + 14, anchor="end" if x > scale.end - 1 else "middle") for x, words in marks
    ]
    return line([(scale.start, y), (scale.end, y)], "axis") + "".join(drawn + named)


def left_axis(scale: Scale, x: float, right: float, form: Format, about: int = 5) -> str:
    """Values left of the drawing, with a quiet line across it for each."""
    marks = [(scale(value), form(value)) for value in scale.ticks(about)]
    across = [line([(x, y), (right, y)], "grid") for y, _ in marks]
    named = [text(words, x - LABEL_GAP, y + 4, anchor="end") for y, words in marks]
    return "".join(across + named)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in NICE_STEPS if power * step >= rough * (1 - 1e-9))


def _text(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    return f"{round(value, 2):g}" if abs(value) < 1e5 else f"{value:.0f}"
