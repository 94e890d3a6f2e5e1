"""The comparison as one picture: ticks per second, a bar for each system, from zero."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from bench.peers_results import Spread
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SIZE_INCHES = (9.0, 4.6)
DOTS_PER_INCH = 150
# Text stays text, and the same figures give the same file.
SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "peers"}
OURS, THEIRS, INK = "#2f6f9f", "#b9bec4", "#333333"


def save(rates: Mapping[str, Spread], told: Mapping[str, Any], path: Path) -> None:
    """Write `path`.png and `path`.svg: medians as bars, slowest to fastest as whiskers, fastest system on top."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)  # a canvas of its own: no display, no global state
    labels = sorted(rates, key=lambda label: rates[label].median)
    _bars(figure.subplots(), labels, rates)
    figure.suptitle("Forecasts per second, every tick answered (more is better)", fontsize=13, color=INK)
    figure.supxlabel(_footnote(told), fontsize=8, color=INK)
    with matplotlib.rc_context(SVG):
        for suffix in ("png", "svg"):
            metadata = {"Date": None} if suffix == "svg" else {}
            figure.savefig(path.with_suffix(f".{suffix}"), format=suffix, metadata=metadata)


def _bars(axes: Any, labels: list[str], rates: Mapping[str, Spread]) -> None:
    spreads = [rates[label] for label in labels]
    medians = [each.median for each in spreads]
    whiskers = [[each.median - each.low for each in spreads], [each.high - each.median for each in spreads]]
    colours = [OURS if label.startswith("tickcast") else THEIRS for label in labels]
    axes.barh(labels, medians, xerr=whiskers, color=colours, ecolor=INK, capsize=3, height=0.7)
    for at, each in enumerate(spreads):
        axes.annotate(f" {each.median:,.0f}", (each.high, at), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(each.high for each in spreads) * 1.15)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)


def _footnote(told: Mapping[str, Any]) -> str:
    return (
        f"{told['symbols']} symbols, window {told['window']}, LSTM(64) + additive attention, the same weights for all; "
        f"{told['cores']} cores, Kafka on the same machine\n"
        f"median of {told['rounds']} interleaved rounds, whiskers: slowest and fastest round; {told['date'][:10]}"
    )
