"""Bands put into rows of bytes and back, a row for each symbol: what a window's bands know, whichever process has it.

Behind the way of a tick. Slots and positions are a process's own. Bands count a symbol's rows from its first on, and go
on counting where they are restored: blocks end where they would have.
"""

import numpy as np
from numpy.typing import NDArray

from tickcast.bands import LiveBands
from tickcast.bands_pending import Positions, Slots

Saved = NDArray[np.void]  # [slots] of `dtype_of`


def dtype_of(bands: LiveBands) -> np.dtype[np.void]:
    """A symbol's row, little-endian."""
    levels, pending = bands.levels, bands.pending
    return np.dtype(
        [
            ("rows", "<i8"),  # how many the symbol has had
            ("known", "?"),  # whether there is more than that
            ("block", "<i8"),
            ("strains", "<f8", levels.strains.shape[1:]),
            ("given", "<f8", levels.given.shape[1:]),
            ("first", "<i8"),
            ("last", "<i8"),
            ("mids", "<f8", pending.mids.shape[1:]),
            ("forecasts", "<f4", pending.forecasts.shape[1:]),
        ]
    )


def save(bands: LiveBands, slots: Slots, sequences: Positions, rows: Saved) -> None:
    """Write into `rows` what is known of the windows in `slots`, none twice, of which `sequences` rows were decided.

    All that was noted is worked off.
    """
    rows["rows"] = bands.count(slots, sequences)
    known = rows["known"] = bands.known(slots)
    slots = slots[known]
    for name, whole in _arrays(bands).items():
        rows[name][known] = whole[slots]


def restore(bands: LiveBands, slots: Slots, sequences: Positions, rows: Saved) -> None:
    """Go on where `save` was, with windows that hold the same ticks, in whichever slots, by whatever count."""
    bands.continue_counting(slots, rows["rows"] - sequences)
    known = rows["known"]
    if known.any():
        for name, whole in _arrays(bands).items():
            whole[slots[known]] = rows[name][known]
        bands.go_on(slots[known])


def _arrays(bands: LiveBands) -> dict[str, NDArray[np.int64] | NDArray[np.float64] | NDArray[np.float32]]:
    """By slot."""
    levels, pending = bands.levels, bands.pending
    return {
        "block": levels.blocks,
        "strains": levels.strains,
        "given": levels.given,
        "first": pending.first,
        "last": pending.last,
        "mids": pending.mids,
        "forecasts": pending.forecasts,
    }
