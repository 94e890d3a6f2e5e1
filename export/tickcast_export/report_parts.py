"""What the pages of reports are put together from: the frame, sections, tables, the key to a picture's colours.

Behind the way of a tick. The frame is `report.html`; a page needs nothing beside itself, on any screen, light or dark.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from tickcast_export.svg import tag

FRAME = "report.html"


def page(
    *,
    heading: str,
    lead: str,
    verdict: str,
    is_good: bool,
    tiles: Sequence[tuple[str, str, str]],
    sections: Iterable[str],
    footer: str,
) -> str:
    """The page as HTML; `lead` and `footer` are HTML, tiles are (label, value, good, bad or nothing)."""
    frame = Template((files("tickcast_export") / FRAME).read_text("utf-8"))
    return frame.substitute(
        heading=escape(heading),
        lead=lead,
        verdict=escape(verdict),
        verdict_class="good" if is_good else "bad",
        tiles="\n".join(
            tag("div", tag("dt", label), tag("dd", value, class_=kind), class_="tile") for label, value, kind in tiles
        ),
        sections="\n".join(one for one in sections if one),
        footer=footer,
    )


def section(heading: str, words: str, *content: str) -> str:
    """A card; `words` are HTML."""
    return tag("section", tag("h2", heading), tag("p", words) if words else "", *content)


def key(*entries: tuple[str, str, str]) -> str:
    """What the colours mean: (colour, form, words)."""
    items = (tag("li", tag("i", class_=f"{colour} {form}".strip()), escape(words)) for colour, form, words in entries)
    return tag("ul", *items, class_="key")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> str:
    """Words and numbers; each row begins with its name. Wider than the screen, it scrolls by itself."""
    columns = "".join(tag("th", escape(name), scope="col") for name in head)
    body = "".join(
        tag("tr", tag("th", escape(name), scope="row"), *(tag("td", escape(cell)) for cell in cells))
        for name, *cells in rows
    )
    whole = tag("table", tag("thead", tag("tr", columns)), tag("tbody", body), class_=class_)
    return tag("div", whole, class_="scroll")
