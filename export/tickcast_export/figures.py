"""Numbers as people read them, alike on the demo's screen and in its report."""

import math


def duration(microseconds: float | None) -> str:
    """850 µs, 3.2 ms, 1.4 s."""
    if microseconds is None:
        return "none"
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if abs(microseconds) >= 0.9995 * size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} µs"


def percent(share: float | None) -> str:
    """With its sign."""
    return "none" if share is None else f"{100 * share:+.1f} %"


def signed(value: float, reach: float) -> str:
    """With its sign, and three digits for a value as large as `reach`: numbers of one kind line up."""
    places = max(0, 2 - math.floor(math.log10(reach))) if reach > 0 else 0
    return f"{value:+.{places}f}"
