"""Runs of raw validation ticks that travel with a model: what is measured over them needs more than single windows."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tickcast_export.dataset import Indices, Rows, evenly

# Windows in one run, at most, and rows that all windows of all runs have together: 32 runs where a window has 64.
WINDOWS_PER_RUN_MAX = 1_024
WINDOW_ROWS_MAX = 1_024 * 2_048

Runs = Sequence[NDArray[np.float64]]  # of each the raw ticks [window + windows, columns]


def chosen(rows: Rows, ends: Indices, window: int) -> Runs:
    """The longest runs of windows that end with `ends`, evenly over those of full length."""
    ends = np.sort(ends)
    stretches = np.split(ends, np.flatnonzero(np.diff(ends) > 1) + 1)
    parts = [part for stretch in stretches for part in _parts(stretch) if len(part) > 1]
    runs_max = max(1, WINDOW_ROWS_MAX // (WINDOWS_PER_RUN_MAX * window))
    full = [part for part in parts if len(part) == WINDOWS_PER_RUN_MAX]
    if len(full) >= runs_max:
        kept = [full[i] for i in evenly(np.arange(len(full)), runs_max)]
    else:
        kept = sorted(parts, key=len, reverse=True)[:runs_max]
    return [rows.windows(part[-1:], window + len(part) - 1)[0] for part in kept]


def packed(runs: Runs) -> bytes:
    """One compressed archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ticks=np.concatenate(runs), lengths=np.array([len(run) for run in runs]))
    return buffer.getvalue()


def unpacked(content: bytes) -> Runs:
    """What `packed` was given. Raises ValueError, KeyError or BadZipFile for anything else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return np.split(arrays["ticks"], np.cumsum(arrays["lengths"])[:-1])


def _parts(stretch: Indices) -> list[Indices]:
    return np.split(stretch, np.arange(WINDOWS_PER_RUN_MAX, len(stretch), WINDOWS_PER_RUN_MAX))
