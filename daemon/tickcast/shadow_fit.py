"""Whether one bundle may be the shadow of another: answer the same ticks, of the same windows.

Before the way of a tick.
"""

from collections.abc import Iterator

from tickcast.errors import BundleError
from tickcast.manifest import Manifest


def check(answering: Manifest, shadow: Manifest, mode: str) -> None:
    """Raises BundleError naming everything that keeps `shadow` from answering what `answering` does."""
    if problems := list(_problems(answering, shadow, mode)):
        name = f"{shadow.name} {shadow.version}"
        raise BundleError("\n".join(f"shadow {name}: {problem}" for problem in problems))


def common_horizons(answering: Manifest, shadow: Manifest) -> tuple[int, ...]:
    """Those that both forecast and whose outcome a full window proves to lie before any cut."""
    return tuple(h for h in answering.horizons if h in shadow.horizons and h < answering.rules.window)


def _problems(answering: Manifest, shadow: Manifest, mode: str) -> Iterator[str]:
    if mode == "carried":
        yield "inference.mode = carried: a shadow answers from windows only"
    if shadow.rules != answering.rules:
        yield f"its window rules are {shadow.rules.text()}, those of the bundle that answers {answering.rules.text()}"
    if shadow.columns != answering.columns:
        columns, others = ", ".join(shadow.columns), ", ".join(answering.columns)
        yield f"its columns are {columns}, those of the bundle that answers {others}"
    if not answering.reference_columns or shadow.reference_columns != answering.reference_columns:
        yield "its forecasts and those of the bundle that answers are no changes of one mid: they cannot be compared"
    elif not common_horizons(answering, shadow):
        yield f"none of its horizons, {', '.join(map(str, shadow.horizons))}, can be compared"
