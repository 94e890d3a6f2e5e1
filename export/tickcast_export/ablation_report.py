"""The ablation's table and picture: mean over seeds per network and window, and how sure that is.

Before the way of a tick; `ablation.py` makes what is shown. The intervals are Student's, of the seeds: what another
seed's training would give on the same ticks, not what other ticks would.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tickcast_export import svg

Cells = Mapping[str, Mapping[str, Any]]  # "network/window/seed" -> what was found
Found = dict[tuple[str, int], list[float]]  # network, window -> one value per seed

# Student's t, two-sided 95 %, by the number of seeds; of more it is near enough a normal distribution's.
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
NORMAL = 1.96
COLOURS = ("#777777", "#cc6633", "#4477aa", "#228833", "#aa3377")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860.0, 330.0, 52.0, 400.0, 30.0, 270.0
STYLE = "text{font:12px sans-serif;fill:#555}.axis{stroke:#888}.grid{stroke:#ccc;stroke-width:.5}" + "".join(
    f".n{n}{{stroke:{c};stroke-width:2}}.b{n}{{stroke:{c};stroke-width:1}}.t{n}{{fill:{c}}}"
    for n, c in enumerate(COLOURS)
)


def documents(cells: Cells, horizons: Sequence[int]) -> dict[str, str]:
    """File ending -> content: a Markdown table and a picture."""
    shown = [(place, horizon) for place, horizon in enumerate(horizons) if horizon in (horizons[0], horizons[-1])]
    found = {
        horizon: by_cell(cells, lambda cell, place=place: 100 * cell["below_persistence"][place])
        for place, horizon in shown
    }
    kappa = by_cell(cells, lambda cell: cell["kappa"])
    return {"md": _table(found, kappa), "svg": _picture(found)}


def by_cell(cells: Cells, value: Any) -> Found:
    """`value` of each cell, seeds together."""
    found: Found = defaultdict(list)
    for key, cell in cells.items():
        network, window, _ = key.split("/")
        found[network, int(window)].append(value(cell))
    return dict(found)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval; of one value that is NaN."""
    count = len(values)
    mean = sum(values) / count
    if count == 1:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, STUDENT.get(count, NORMAL) * math.sqrt(variance / count)


def _table(found: Mapping[int, Found], kappa: Found) -> str:
    horizons = [f"{horizon} ahead, %" for horizon in found]
    lines = [
        "| network | window | " + " | ".join([*horizons, "kappa"]) + " |",
        "| --- | --- | " + " | ".join(["---"] * (len(found) + 1)) + " |",
    ]
    for network, window in kappa:
        values = [_text(by[network, window], 1) for by in found.values()]
        lines.append(f"| {network} | {window} | " + " | ".join([*values, _text(kappa[network, window], 3)]) + " |")
    return "\n".join(lines) + "\n"


def _text(values: Sequence[float], digits: int) -> str:
    mean, half = interval(values)
    return f"{mean:.{digits}f}" if math.isnan(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def _picture(found: Mapping[int, Found]) -> str:
    """One panel per horizon: below persistence over the window, a line per network with its intervals."""
    shift = RIGHT + 30.0
    panels = [
        svg.tag("g", _panel(values, horizon), transform=f"translate({place * shift:g},0)")
        for place, (horizon, values) in enumerate(found.items())
    ]
    label = "Squared error below persistence over the window's length, one line per network"
    drawn = svg.picture(WIDTH, HEIGHT, label, svg.tag("style", STYLE), *panels)
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _panel(found: Found, horizon: int) -> str:
    networks = list(dict.fromkeys(network for network, _ in found))
    windows = sorted({window for _, window in found})
    means = {key: interval(values) for key, values in found.items()}
    across = svg.Scale(0, max(len(windows) - 1, 1), LEFT + 12, RIGHT - 12)
    up = svg.Scale(*svg.spread(mean for mean, _ in means.values()), BOTTOM, TOP)
    drawn = [svg.left_axis(up, LEFT, RIGHT, lambda value: f"{value:g} %")]
    drawn += [
        svg.text(str(window), across(place), BOTTOM + 18, anchor="middle") for place, window in enumerate(windows)
    ]
    drawn.append(svg.text(f"{horizon} ahead: below persistence, by rows in a window", LEFT, TOP - 12))
    for number, network in enumerate(networks):
        points = [(across(place), *means[network, w]) for place, w in enumerate(windows) if (network, w) in means]
        drawn.append(svg.line([(x, up(mean)) for x, mean, _ in points], f"n{number}", svg.title(network)))
        drawn += [svg.line([(x, up(m - h)), (x, up(m + h))], f"b{number}") for x, m, h in points if not math.isnan(h)]
        drawn.append(svg.text(network, LEFT + 75 * number, BOTTOM + 44, class_=f"t{number}"))
    return "".join(drawn)
