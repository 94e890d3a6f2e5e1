"""What the raw columns looked like in training, and how far counts of what comes now are from it.

Behind the way of a tick. The population stability index of a column whose values fall into bins with the shares e in
training and a now is

    PSI = sum over bins of (a - e) * ln(a / e)

(N. Siddiqi, "Credit Risk Scorecards", Wiley 2006; Jeffreys' divergence of the two). By its custom ten bins, and up to
0.1 no change worth a word, over 0.25 another population. Without any change it is about (bins - 1) / n by chance
(B. Yurdakul, "Statistical Properties of Population Stability Index", Western Michigan University 2018).

Bins come from the manifest's `reference_quantiles`, which are evenly spaced (0, 5, ..., 100 %):

- A value that stands there twice or more has a share of its own, of at least the steps between: equal edges are merged
  and the value becomes a bin of its own, half a step wider on either side than the quantiles show, which is what is to
  be expected of where its share begins and ends; no wider at the minimum and the maximum.
- Of the others one at every tenth of the ticks is an edge, none closer to such a bin than that. What equals an edge
  counts half on either side: with few different values (prices, sizes) an edge lies somewhere within the share
  of its value, in the middle on average.

A share of zero has no logarithm: in training no bin has less than `SHARE_MIN`, and now half a tick is added to each.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.manifest import Manifest

# In order of the manifest; each costs some 20 counts in every block of every partition.
COLUMNS_MAX = 32
# What an edge takes in of the ticks since the one before.
BIN_SHARE = 0.1
SHARE_MIN = 0.0005
# So many quantiles say something.
QUANTILES_MIN = 3


class Reference:
    """The watched columns' bins. Counts are kept by cell: what is between two edges, or equals one."""

    def __init__(self, manifest: Manifest) -> None:
        """Watches the columns whose quantiles are there, finite and in order; of very many, the first."""
        usable = [name for name in manifest.columns if _usable(manifest.reference_quantiles.get(name, ()))]
        self.names = tuple(usable[:COLUMNS_MAX])
        self.places = tuple(manifest.columns.index(name) for name in self.names)
        columns = [_edges_of(manifest.reference_quantiles[name]) for name in self.names]
        self._edges = [np.array([edge.value for edge in edges]) for edges in columns]
        widths = [2 * len(edges) + 1 for edges in columns]
        self._offsets = [0, *itertools.accumulate(widths)]
        self.cells = self._offsets[-1]
        layout = [(self.names, [[tuple(edge) for edge in edges] for edges in columns]), self.cells]
        self.digest = hashlib.sha256(json.dumps(layout).encode()).hexdigest()
        self._sizes = np.array([len(_shares(edges)) for edges in columns], np.intp)
        self._first_bins = np.cumsum(self._sizes) - self._sizes
        self._shares = np.array([share for edges in columns for share in _shares(edges)])
        self._lower = self._bins(columns, is_upper=False)
        self._upper = self._bins(columns, is_upper=True)

    def cells_of(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Which cells `values` [watched columns, n] fall into, shaped alike; -1 for NaN."""
        cells = np.empty(values.shape, np.intp)
        for into, some, edges, offset in zip(cells, values, self._edges, self._offsets[:-1], strict=True):
            np.add(edges.searchsorted(some, "left"), edges.searchsorted(some, "right"), out=into)
            into += offset
        cells[np.isnan(values)] = -1
        return cells

    def psi(self, counts: NDArray[np.int64]) -> list[float]:
        """Of each column, from the counts [cells] of what came; NaN where nothing did."""
        bins = len(self._shares)
        # Each cell half to either bin it may belong to: but for what equals an edge, the same one twice.
        binned = 0.5 * (np.bincount(self._lower, counts, bins) + np.bincount(self._upper, counts, bins))
        total = np.add.reduceat(binned, self._first_bins)
        share = (binned + 0.5) / np.repeat(total + 0.5 * self._sizes, self._sizes)
        each = (share - self._shares) * np.log(share / self._shares)
        index: list[float] = np.where(total > 0, np.add.reduceat(each, self._first_bins), np.nan).tolist()
        return index

    def _bins(self, columns: Sequence[Sequence["_Edge"]], is_upper: bool) -> NDArray[np.intp]:
        """The bin of every cell; of two that it may belong to the upper one or the lower."""
        firsts = self._first_bins.tolist()
        bins = [first + at for first, edges in zip(firsts, columns, strict=True) for at in _bins_of(edges, is_upper)]
        return np.array(bins, np.intp)


class _Edge(NamedTuple):
    """Between two bins, or where `upto` is above `below`, a bin of its own."""

    value: float
    below: float  # share of the ticks below it
    upto: float  # and of those below or at it


def _usable(quantiles: Sequence[float]) -> bool:
    values = np.array(quantiles, np.float64)
    return len(values) >= QUANTILES_MIN and bool(np.isfinite(values).all() and (values[1:] >= values[:-1]).all())


def _edges_of(quantiles: Sequence[float]) -> list[_Edge]:
    """The edges, ascending."""
    last = len(quantiles) - 1
    half_step = 0.5 / last
    runs = []  # value, index of its first and last quantile
    for value, group in itertools.groupby(range(last + 1), key=quantiles.__getitem__):
        places = list(group)
        runs.append((value, places[0], places[-1]))
    edges: list[_Edge] = []
    for at, (value, first, final) in enumerate(runs):
        if final > first:
            below = first / last - half_step if first else 0.0
            edges.append(_Edge(value, below, final / last + half_step if final < last else 1.0))
        elif 0 < first < last:
            share = first / last
            reached = edges[-1].upto if edges else 0.0
            next_own = next((low / last for _, low, high in runs[at + 1 :] if high > low), 1.0)
            # Beside a bin of its own half a step less than it seems; and slack for what is not quite 0.1.
            if share - reached >= BIN_SHARE - 1.5 * half_step and next_own - share >= BIN_SHARE - half_step / 2:
                edges.append(_Edge(value, share, share))
    return edges


def _shares(edges: Sequence[_Edge]) -> list[float]:
    """Of each bin in training; together 1."""
    shares, reached = [], 0.0
    for edge in edges:
        shares.append(edge.below - reached)
        if edge.upto > edge.below:
            shares.append(edge.upto - edge.below)
        reached = edge.upto
    shares.append(1.0 - reached)
    filled = [max(share, SHARE_MIN) for share in shares]
    return [share / sum(filled) for share in filled]


def _bins_of(edges: Sequence[_Edge], is_upper: bool) -> list[int]:
    """For each cell of the column its bin; for what equals an edge that is no bin, the one below it or above it."""
    bins, at = [0], 0
    for edge in edges:
        if edge.upto > edge.below:
            bins += [at + 1, at + 2]
            at += 2
        else:
            bins += [at + 1 if is_upper else at, at + 1]
            at += 1
    return bins
