"""The pictures of the evaluation report: a figure by horizon, with its intervals, for each forecaster.

Behind the way of a tick. Each function draws what it is given and computes no more than it takes to place it.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from tickcast.block_bootstrap import Interval

from tickcast_export import svg
from tickcast_export.report_pictures import BOTTOM, LEFT, RIGHT, TOP
from tickcast_export.svg import Scale

HEIGHT = 330.0
# Of the room that a horizon has on the picture, what its forecasters are spread over.
SPREAD = 0.5
HORIZONS_NAMED_MAX = 12

Form = Callable[[float], str]


def by_horizon(
    label: str, horizons: Sequence[int], values: Mapping[str, Sequence[Interval]], form: Form, width: float
) -> str:
    """Dots with their intervals; `values`: forecaster -> one for each horizon. Those without a value are left out."""
    x = Scale(0, len(horizons), LEFT, width - RIGHT)
    ends = [end for of in values.values() for one in of for end in one if math.isfinite(end)]
    y = Scale(*svg.spread([0.0, *ends], 0.1), HEIGHT - BOTTOM, TOP)
    drawn = [svg.left_axis(y, LEFT, width - RIGHT, form), svg.line([(x.start, y(0)), (x.end, y(0))], "axis")]
    step = SPREAD / max(len(values), 1)
    for place, (name, of) in enumerate(values.items()):
        for at, one in enumerate(of):
            across = x(at + 0.5 + (place - (len(values) - 1) / 2) * step)
            said = f"{name}, {horizons[at]} ticks ahead: {form(one.mean)}"
            drawn.append(_dot(name, across, one, y, said))
    every = math.ceil(len(horizons) / HORIZONS_NAMED_MAX)
    drawn += [
        svg.text(str(horizon), x(at + 0.5), HEIGHT - BOTTOM + 18, anchor="middle")
        for at, horizon in enumerate(horizons)
        if at % every == 0
    ]
    drawn.append(svg.text("ticks ahead", (x.start + x.end) / 2, HEIGHT - 4, "note", "middle"))
    return svg.picture(width, HEIGHT, f"{label} by horizon", *drawn)


def _dot(name: str, across: float, one: Interval, y: Scale, said: str) -> str:
    if not math.isfinite(one.mean):
        return ""
    drawn = ""
    if math.isfinite(one.low):
        drawn = svg.line([(across, y(one.low)), (across, y(one.high))], f"whisker {name}")
    return drawn + svg.tag("circle", svg.title(said), cx=across, cy=y(one.mean), r=4, class_=f"dot {name}")
