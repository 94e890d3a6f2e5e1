"""Names and numbers as `tickcast top` writes them: nothing of what an instance tells reaches the terminal as a command.

Beside the way of a tick: what a terminal shows of it.
"""

import re
import unicodedata

from rich.cells import cell_len, set_cell_size

from tickcast.bench_percentiles import duration

UNKNOWN = "-"
# Of one name, before it is cut to its place.
CHARACTERS_MAX = 300
_HASH = re.compile(r"\b[0-9a-f]{32,}\b")


def plain(text: str | None, width: int = CHARACTERS_MAX) -> str:
    """`text` in at most `width` columns. What is no visible character shows as its code: `\\x1b`, `\\u202e`."""
    shown = "".join(map(_visible, (text or "")[:CHARACTERS_MAX]))
    if cell_len(shown) <= width:
        return shown
    return f"{set_cell_size(shown, max(width - 1, 0))}…" if width > 0 else ""


def number(value: float | None, form: str = ",.0f") -> str:
    """`1,024`."""
    return UNKNOWN if value is None else format(value, form)


def price(value: float | None) -> str:
    """All digits that a price has."""
    return UNKNOWN if value is None else f"{value:.10g}"


def signed(value: float | None) -> str:
    """`+0.0123`."""
    return UNKNOWN if value is None else f"{value:+.3g}"


def share(value: float | None) -> str:
    """`94.1%`."""
    return UNKNOWN if value is None else f"{value:.1%}"


def moved(value: float | None) -> str:
    """`+0.021%`."""
    return UNKNOWN if value is None else f"{value:+.3%}"


def per_second(value: float | None) -> str:
    """`1,003/s`, and `0.25/s`."""
    return UNKNOWN if value is None else f"{value:,.0f}/s" if value >= 10 else f"{value:.2g}/s"


def time(seconds: float | None, over_s: float | None = None) -> str:
    """`84.1 us`; and `> 10 s` of what lies somewhere beyond `over_s`."""
    if seconds is None:
        return UNKNOWN
    return duration(seconds) if over_s is None or seconds < over_s else f"> {over_s:g} s"


def without_hashes(text: str) -> str:
    """`text` with the first digits of each hash."""
    return _HASH.sub(lambda found: f"{found[0][:8]}…", text)


def age(seconds: float | None) -> str:
    """`3.2 s`, `12 min`, `5 h`."""
    if seconds is None:
        return UNKNOWN
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _visible(character: str) -> str:
    # Control, format (which may turn the direction of writing), unassigned, private and surrogate; breaks of lines.
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
