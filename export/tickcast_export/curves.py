"""Learning curves and test errors as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tickcast_export.progress import Epoch
from tickcast_export.scores import Score

SIZE_INCHES = (11.0, 4.2)
DOTS_PER_INCH = 110
TRAIN, VALIDATION, QUIET = "#4477aa", "#cc6633", "#888888"


def save(epochs: Sequence[Epoch], test_scores: Sequence[Score], title: str, path: Path) -> None:
    """Write a PNG: errors per epoch on the left, test error below persistence per horizon on the right."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)  # a canvas of its own: no display, no global state
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    _learning(left, epochs)
    _errors(right, test_scores)
    figure.savefig(path, format="png")


def _learning(axes: Any, epochs: Sequence[Epoch]) -> None:
    numbers = [epoch.number for epoch in epochs]
    axes.plot(numbers, [epoch.train_error for epoch in epochs], color=TRAIN, marker="o", label="training")
    axes.plot(numbers, [epoch.validation_error for epoch in epochs], color=VALIDATION, marker="o", label="validation")
    best = min(epochs, key=lambda epoch: epoch.validation_error)
    axes.axvline(best.number, color=QUIET, linestyle=":", label="weights kept")
    axes.axhline(1.0, color=QUIET, linewidth=0.8, label="persistence")
    axes.set(title="learning", xlabel="epoch", ylabel="squared error / persistence's")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


def _errors(axes: Any, scores: Sequence[Score]) -> None:
    heights = [100 * score.below_persistence for score in scores]
    bars = axes.bar([str(score.horizon) for score in scores], heights, color=TRAIN)
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.axhline(0.0, color=QUIET, linewidth=0.8)
    axes.set(title="test", xlabel="ticks ahead", ylabel="squared error below persistence, %")
