"""What a bundle's model looked at, over windows of a run: weights from the window graph's output `attention`.

Behind the way of a tick: the daemon asks for no weights; these are computed afterwards from the same raw ticks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tickcast import providers
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.engine import Engine

from tickcast_export.demo_results import Series
from tickcast_export.report_pictures import AttentionWindow

WINDOWS_MAX = 512  # enough for a mean that is steady to the eye
EXAMPLES = 6


@dataclass(frozen=True)
class Attention:
    """Weights over a window: their mean over `windows` windows, and a few single ones."""

    mean_weights: NDArray[np.float64]  # [window]
    windows: int
    examples: tuple[AttentionWindow, ...]


def compute(bundle: Bundle, series: Sequence[Series]) -> Attention | None:
    """Weights over evenly chosen answered windows; None where the family has none or nothing was answered."""
    chosen = _chosen(series)
    if not bundle.manifest.attention or not chosen:
        return None
    length = bundle.manifest.rules.window
    weights = _weights(bundle, np.stack([one.pairs[end - length + 1 : end + 1] for one, end in chosen]))
    strength = [one.forecast[end, -1] / (np.nanstd(one.happened[:, -1]) or 1.0) for one, end in chosen]
    order = np.argsort(strength)
    # The strongest falls and rises, and those in between, evenly: quiet ones are shown too.
    picked = dict.fromkeys(order[np.linspace(0, len(order) - 1, EXAMPLES).astype(int)].tolist())
    examples = [_example(chosen[at], weights[at]) for at in reversed(picked)]
    return Attention(weights.mean(axis=0), len(chosen), tuple(examples))


def _chosen(series: Sequence[Series]) -> list[tuple[Series, int]]:
    answered = [(one, int(end)) for one in series for end in np.flatnonzero(np.isfinite(one.forecast).all(axis=1))]
    places = np.linspace(0, len(answered) - 1, min(WINDOWS_MAX, len(answered))).astype(int)
    return [answered[place] for place in places.tolist()]


def _weights(bundle: Bundle, pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw pairs [n, window, 2, columns] -> weights [n, window]."""
    config = InferenceConfig(provider="cpu")
    rows = Engine(bundle, config).features(pairs.reshape(-1, *pairs.shape[2:])).reshape(*pairs.shape[:2], -1)
    graph = providers.session(bundle.graphs["window"], "cpu", config)
    return np.asarray(graph.run(["attention"], {"rows": rows})[0], np.float64)


def _example(chosen: tuple[Series, int], weights: NDArray[np.float64]) -> AttentionWindow:
    series, end = chosen
    mid = series.mid[end - len(weights) + 1 : end + 1]
    return AttentionWindow(series.symbol, weights, mid, float(series.forecast[end, -1]))
