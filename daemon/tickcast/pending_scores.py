"""The forecasts that wait for their tick, put into rows of bytes and back, a row for each symbol.

Behind the way of a tick. Positions and slots are a process's own: what is saved is counted back from each symbol's
newest row, and finds its place again where a window ends with that very tick.
"""

import numpy as np
from numpy.typing import NDArray

from tickcast.scores import Positions, Scores, Slots

Saved = NDArray[np.void]  # [slots] of `dtype_of`


def dtype_of(scores: Scores) -> np.dtype[np.void]:
    """A symbol's row, little-endian; forecasts oldest first, the newest one last."""
    return np.dtype(
        [
            ("rows", "<i8"),  # of the run, up to the newest one; 0: nothing waits
            ("mids", "<f8", scores.mids.shape[1:]),
            ("made", "<f4", scores.made.shape[1:]),
        ]
    )


def save(scores: Scores, slots: Slots, sequences: Positions, rows: Saved) -> None:
    """Write into `rows` what waits of the windows in `slots`, of which `sequences` rows were decided.

    All that was noted is worked off. After a cut nothing waits until a window is full again.
    """
    rows["rows"] = 0
    here = np.flatnonzero(slots < len(scores.last))
    newest = sequences[here] - 1
    waits = (scores.last[slots[here]] == newest) & (scores.seated[slots[here]] == scores.who_sits(slots[here]))
    here, newest = here[waits], newest[waits]
    some, ring = slots[here], _ring(scores, newest)
    count = newest - scores.first[some] + 1
    mids, made = scores.mids[some[:, None], ring], scores.made[some[:, None], ring]
    before = np.arange(scores.depth, 0, -1) > count[:, None]  # [slots, depth]: of another run, or of nobody
    mids[before] = made[before] = np.nan
    rows["rows"][here], rows["mids"][here], rows["made"][here] = count, mids, made


def restore(scores: Scores, slots: Slots, sequences: Positions, rows: Saved) -> None:
    """Go on where `save` was, with windows that hold the same ticks. A symbol beyond those scored is left out."""
    here = np.flatnonzero((rows["rows"] > 0) & (slots < scores.symbols_max))
    if not len(here):
        return
    some, newest = slots[here], sequences[here] - 1
    scores.make_room(int(some.max()) + 1)
    ring = _ring(scores, newest)
    scores.mids[some[:, None], ring] = rows["mids"][here]
    scores.made[some[:, None], ring] = rows["made"][here]
    scores.first[some] = newest - rows["rows"][here] + 1
    scores.last[some] = newest
    scores.seated[some] = scores.who_sits(some)


def _ring(scores: Scores, newest: Positions) -> NDArray[np.int64]:
    """Where the rows up to `newest` lie, [slots, depth], oldest first."""
    ring: NDArray[np.int64] = (newest[:, None] - np.arange(scores.depth - 1, -1, -1)) % scores.depth
    return ring
