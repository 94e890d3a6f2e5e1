"""The pictures of the demo's report: forecasts beside what happened, errors, latencies, attention.

Behind the way of a tick. Each function draws what it is given and computes no more than it takes to place it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast_export import svg
from tickcast_export.demo_results import Results, Series, percentile
from tickcast_export.figures import duration, signed
from tickcast_export.scores import Score
from tickcast_export.svg import Point, Scale

Array = NDArray[np.float64]

WIDE, HALF = 1040.0, 500.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 12.0, 42.0
STRETCH_ROWS = 150  # sampled ticks in the stretch that is shown: single ones can still be told apart
FAN_EVERY = 5
CALIBRATION_BINS = 10
LATENCY_BINS_PER_DECADE = 12
STRIP_HEIGHT, STRIP_GAP = 26.0, 10.0


@dataclass(frozen=True)
class AttentionWindow:
    """One window and what the model looked at in it, oldest first."""

    symbol: str
    weights: Array  # [window], they sum to 1
    mid: Array  # [window]
    forecast: float  # at the longest horizon


class Tenth(NamedTuple):
    """A tenth of the forecasts: on average so much was said, so much seen, within these bounds (NaN: unknown)."""

    said: float
    low: float
    seen: float
    high: float


def stretch(series: Sequence[Series]) -> tuple[Series, slice] | None:
    """The rows to show: where forecasts are strongest, whether or not they came true. None where none are complete."""
    best: tuple[float, Series, slice] | None = None
    for one in series:
        complete = np.isfinite(one.forecast + one.happened).all(axis=1)
        strength = np.where(complete, np.abs(np.nan_to_num(one.forecast[:, -1])), 0.0)
        length = min(STRETCH_ROWS, int(complete.sum()))
        if not length:
            continue
        sums = np.convolve(strength, np.ones(length), "valid")
        whole = np.convolve(complete, np.ones(length), "valid") >= length
        # A symbol's strength is told in its own moves, so that the highest price does not always win.
        sums = np.where(whole, sums, -1.0) / (np.nanstd(one.happened[:, -1]) or 1.0)
        start = int(sums.argmax())
        if sums[start] >= 0 and (best is None or sums[start] > best[0]):
            best = float(sums[start]), one, slice(start, start + length)
    return best[1:] if best else None


def fans(series: Series, rows: slice, horizons: Sequence[int]) -> str:
    """The mid over a stretch, forecast paths from every fifth tick; below, longest horizon against what happened."""
    mid, forecast, happened = series.mid[rows], series.forecast[rows], series.happened[rows]
    paths = [_path(i, mid[i], forecast[i], horizons) for i in range(0, len(mid), FAN_EVERY)]
    x = Scale(0, len(mid) + horizons[-1], LEFT, WIDE - RIGHT)
    prices = Scale(*svg.spread([*mid, *(y for path in paths for _, y in path)]), 250, TOP)
    form, reach = decimals(prices), float(np.abs(forecast).max())
    drawn = [svg.left_axis(prices, LEFT, WIDE - RIGHT, form, 6)]
    drawn.append(svg.line(svg.steps([(x(i), prices(value)) for i, value in enumerate(mid)]), "mid"))
    for path in paths:
        (_, start), (_, end) = path[0], path[-1]
        said = svg.title(f"from {form(start)}: {signed(end - start, reach)} in {horizons[-1]} ticks")
        drawn.append(svg.line([(x(i), prices(y)) for i, y in path], _direction("path", end - start), said))
    drawn.append(_changes(x, happened[:, -1], forecast[:, -1]))
    drawn.append(svg.text(f"change over the next {horizons[-1]} ticks", LEFT + 4, 286, "note"))
    drawn.append(svg.bottom_axis(x, 410, lambda value: f"{value:.0f}", 10))
    return svg.picture(WIDE, 436, f"mid of {series.symbol} with forecast paths, and forecast against change", *drawn)


def calibration(results: Results) -> str:
    """Mean of what happened in each tenth of the forecasts, at the longest horizon, with two standard errors."""
    forecast, happened = (values[:, -1] for values in results.checked())
    order = np.argsort(forecast, kind="stable")
    bins = [part for part in np.array_split(order, CALIBRATION_BINS) if len(part) > 1]
    dots = [(forecast[part].mean(), happened[part].mean(), _standard_error(happened[part])) for part in bins]
    return in_tenths([Tenth(said, seen - 2 * error, seen, seen + 2 * error) for said, seen, error in dots])


def in_tenths(tenths: Sequence[Tenth]) -> str:
    """What happened against what was forecast."""
    reach = max([abs(value) for tenth in tenths for value in tenth if np.isfinite(value)], default=1.0) or 1.0
    x, y = Scale(-reach, reach, LEFT, HALF - RIGHT), Scale(-reach, reach, 330 - BOTTOM, TOP)
    drawn = [svg.left_axis(y, LEFT, HALF - RIGHT, decimals(y)), svg.bottom_axis(x, 330 - BOTTOM, decimals(x))]
    drawn.append(svg.line([(x(-reach), y(-reach)), (x(reach), y(reach))], "ideal"))
    drawn.append(svg.text("perfect", x(0.5 * reach) + 8, y(0.5 * reach) + 18, "note"))
    for tenth in tenths:
        if np.isfinite(tenth.low):
            drawn.append(svg.line([(x(tenth.said), y(tenth.low)), (x(tenth.said), y(tenth.high))], "whisker"))
        around = f" ({signed(tenth.low, reach)} to {signed(tenth.high, reach)})" if np.isfinite(tenth.low) else ""
        words = svg.title(f"forecast {signed(tenth.said, reach)}, happened {signed(tenth.seen, reach)}{around}")
        drawn.append(svg.tag("circle", words, cx=x(tenth.said), cy=y(tenth.seen), r=5, class_="dot"))
    return svg.picture(HALF, 330, "what happened against what was forecast, in tenths of the forecasts", *drawn)


def errors(scores: Sequence[Score]) -> str:
    """Share of persistence's squared error saved at each horizon, in percent."""
    heights = [100 * score.below_persistence for score in scores]
    low, high = min(0.0, *heights), max(0.0, *heights)
    room = (high - low) * 0.12 or 1.0
    x = Scale(0, len(scores), LEFT, HALF - RIGHT)
    y = Scale(low - (room if low < 0 else 0), high + room, 330 - BOTTOM, TOP)
    drawn = [svg.left_axis(y, LEFT, HALF - RIGHT, lambda value: f"{value:g} %")]
    for i, (score, height) in enumerate(zip(scores, heights, strict=True)):
        said = svg.title(f"{score.horizon} ticks ahead: {height:.1f} % below persistence")
        drawn.append(svg.rectangle(x(i + 0.16), y(height), x(i + 0.84), y(0), _direction("bar", height), said, rx=2))
        over = y(max(height, 0.0)) - 5
        drawn.append(svg.text(f"{height:.1f}", x(i + 0.5), over, "value", "middle"))
        drawn.append(svg.text(str(score.horizon), x(i + 0.5), 330 - BOTTOM + 18, anchor="middle"))
    drawn.append(svg.line([(x.start, y(0)), (x.end, y(0))], "axis"))
    drawn.append(svg.text("ticks ahead", (x.start + x.end) / 2, 326, "note", "middle"))
    return svg.picture(HALF, 330, "squared error below persistence at each horizon", *drawn)


def latency(results: Results) -> str:
    """How long forecasts took, on a logarithmic scale: from the Kafka timestamp, and inside the daemon alone."""
    # Kafka's timestamps are whole milliseconds and two clocks are read: what comes out under 10 us is drawn as 10 us.
    whole, own = (np.maximum(values, 10.0) for values in (results.latency_us, results.own_latency_us))
    low, high = 10 ** np.floor(np.log10(own.min())), 10 ** np.ceil(np.log10(whole.max() * 1.01))
    edges = np.geomspace(low, high, round(np.log10(high / low)) * LATENCY_BINS_PER_DECADE + 1)
    counts = [np.histogram(values, edges)[0] for values in (own, whole)]
    x = Scale(float(low), float(high), LEFT, WIDE - RIGHT, log=True)
    y = Scale(0, max(map(int, (c.max() for c in counts))) * 1.22, 300 - BOTTOM, TOP)
    drawn = [svg.left_axis(y, LEFT, WIDE - RIGHT, lambda value: f"{value:,.0f}", 4)]
    drawn.append(svg.bottom_axis(x, 300 - BOTTOM, duration))
    for values, heights, kind in ((own, counts[0], "own"), (whole, counts[1], "whole")):
        for left, right, count in zip(edges, edges[1:], heights.tolist(), strict=False):
            if count:
                said = svg.title(f"{duration(left)} to {duration(right)}: {count:,} forecasts")
                drawn.append(svg.rectangle(x(left) + 0.5, y(0), x(right) - 0.5, y(count), f"histogram {kind}", said))
        drawn.extend(_marked_percentiles(values, x, kind))
    return svg.picture(WIDE, 300, "histogram of latencies", *drawn)


def attention(windows: Sequence[AttentionWindow]) -> str:
    """One strip per window, oldest tick left, shaded from the window's least weight to its greatest."""
    length = len(windows[0].weights)
    left, right = 132.0, WIDE - 150
    x = Scale(0, length, left, right)
    height = len(windows) * (STRIP_HEIGHT + STRIP_GAP) + 34
    reach = max(abs(window.forecast) for window in windows)
    drawn = []
    for at, window in enumerate(windows):
        top = 4 + at * (STRIP_HEIGHT + STRIP_GAP)
        drawn.append(svg.text(window.symbol[:14], left - 12, top + 17, "value", "end"))
        for i, weight in enumerate(window.weights):
            said = svg.title(f"{length - 1 - i} ticks back: weight {weight:.3f}, mid {window.mid[i]:.10g}")
            share = float((weight - window.weights.min()) / (np.ptp(window.weights) or 1.0))
            box = (x(i) + 0.5, top, x(i + 1) - 0.5, top + STRIP_HEIGHT)
            drawn.append(svg.rectangle(*box, "cell", said, fill_opacity=0.04 + 0.96 * share))
        drawn.append(_mid_over(window, x, top))
        kind = _direction("value", window.forecast)
        drawn.append(svg.text(f"forecast {signed(window.forecast, reach)}", right + 12, top + 17, kind))
    drawn.append(svg.text(f"{length - 1} ticks back", left, height - 8, "note"))
    drawn.append(svg.text("newest tick", right, height - 8, "note", "end"))
    return svg.picture(WIDE, height, "attention weights over a few windows", *drawn)


def attention_profile(mean_weights: Array) -> str:
    """Mean weight [window] of each place in the window, against an even spread."""
    length = len(mean_weights)
    x = Scale(0, length, LEFT, WIDE - RIGHT)
    y = Scale(0, float(mean_weights.max()) * 1.15, 200 - BOTTOM, TOP)
    drawn = [svg.left_axis(y, LEFT, WIDE - RIGHT, lambda value: f"{100 * value:g} %", 4)]
    for i, weight in enumerate(mean_weights.tolist()):
        said = svg.title(f"{length - 1 - i} ticks back: {100 * weight:.2f} %")
        drawn.append(svg.rectangle(x(i) + 1, y(weight), x(i + 1) - 1, y(0), "bar up", said, rx=1))
    drawn.append(svg.line([(x.start, y(1 / length)), (x.end, y(1 / length))], "ideal"))
    drawn.append(svg.text("even", x.start + 4, y(1 / length) - 5, "note"))
    drawn.append(svg.text(f"{length - 1} ticks back", x.start, 178, "note"))
    drawn.append(svg.text("newest tick", x.end, 178, "note", "end"))
    return svg.picture(WIDE, 190, "mean attention weight by place in the window", *drawn)


def _path(at: int, mid: float, forecast: Array, horizons: Sequence[int]) -> list[Point]:
    ahead = zip(horizons, forecast.tolist(), strict=True)
    return [(at, mid), *((at + horizon, mid + change) for horizon, change in ahead)]


def _changes(x: Scale, happened: Array, forecast: Array) -> str:
    y = Scale(*svg.spread([0.0, *happened, *forecast]), 406, 292)
    drawn = [svg.left_axis(y, LEFT, WIDE - RIGHT, decimals(y), 3)]
    for i, value in enumerate(happened.tolist()):
        drawn.append(svg.rectangle(x(i) - 2, y(value), x(i) + 2, y(0), _direction("change", value)))
    drawn.append(svg.line([(x(i), y(value)) for i, value in enumerate(forecast.tolist())], "forecast"))
    drawn.append(svg.line([(LEFT, y(0)), (WIDE - RIGHT, y(0))], "axis"))
    return "".join(drawn)


def _marked_percentiles(values: Array, x: Scale, kind: str) -> list[str]:
    drawn = []
    for at, share in enumerate((0.5, 0.99)):
        value = percentile(values, share)
        assert value is not None
        top = TOP + 12 + 16 * (2 * (kind == "whole") + at)
        drawn.append(svg.line([(x(value), top + 4), (x(value), 300 - BOTTOM)], f"marker {kind}"))
        drawn.append(svg.text(f"p{100 * share:.0f} {duration(value)}", x(value), top, f"value {kind}", "middle"))
    return drawn


def _mid_over(window: AttentionWindow, x: Scale, top: float) -> str:
    low, high = float(window.mid.min()), float(window.mid.max())
    y = Scale(low, high if high > low else low + 1, top + STRIP_HEIGHT - 4, top + 4)
    return svg.line(svg.steps([(x(i + 0.5), y(value)) for i, value in enumerate(window.mid)]), "mid over")


def _direction(class_: str, value: float) -> str:
    return f"{class_} {'up' if value >= 0 else 'down'}"


def decimals(scale: Scale) -> svg.Format:
    """As many decimals as the steps of the axis need."""
    places = max(0, -int(np.floor(np.log10(abs(scale.high - scale.low) / 8))))
    return lambda value: f"{0.0 if abs(value) < 10.0 ** -(places + 1) else value:.{places}f}"


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
