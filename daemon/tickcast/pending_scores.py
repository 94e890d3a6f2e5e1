"""The forecasts that wait for their tick, put into bytes and back: of one partition's symbols, so that they go with it.

Behind the way of a tick. Positions and slots are a process's own: what is saved is counted back from each symbol's
newest row, and finds its place again where a window ends with that very tick.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickcast.scores import Scores
from tickcast.windows import SymbolWindow

VERSION = 1


class _Saved(msgspec.Struct, array_like=True):
    """Arrays as bytes, little-endian; row by row for `symbols`, a symbol's rows oldest first, the newest one last."""

    version: int
    bundle: str
    symbols: list[str]
    offsets: bytes  # int64 [symbols]: of the newest row's tick
    rows: bytes  # int64 [symbols]: how many its run has
    mids: bytes  # float64 [symbols, depth]
    made: bytes  # float32 [symbols, depth, horizons]


def save(scores: Scores, windows: Mapping[str, SymbolWindow]) -> bytes:
    """What waits of the symbols of `windows`; all that was noted of them is worked off."""
    names, slots, offsets = _waiting(scores, windows)
    last = scores.last[slots]
    ring = (last[:, None] - np.arange(scores.depth - 1, -1, -1)) % scores.depth  # [symbols, depth]
    saved = _Saved(
        VERSION,
        scores.bundle,
        names,
        np.array(offsets, "<i8").tobytes(),
        (last - scores.first[slots] + 1).astype("<i8").tobytes(),
        scores.mids[slots[:, None], ring].astype("<f8").tobytes(),
        scores.made[slots[:, None], ring].astype("<f4").tobytes(),
    )
    return msgspec.msgpack.encode(saved)


def restore(scores: Scores, saved: bytes, windows: Mapping[str, SymbolWindow]) -> int:
    """Go on where `save` was, with `windows` as they stood then; for how many symbols that can be.

    A symbol whose window ends with another tick begins anew, as does one beyond those that are scored. Raises
    ValueError for what is not of this version and this bundle.
    """
    found = _decoded(saved, scores)
    count = len(found.symbols)
    offsets, rows = (np.frombuffer(each, "<i8").tolist() for each in (found.offsets, found.rows))
    mids = np.frombuffer(found.mids, "<f8").reshape(count, scores.depth)
    made = np.frombuffer(found.made, "<f4").reshape(count, *scores.made.shape[1:])
    here = [
        (index, window)
        for index, (symbol, offset) in enumerate(zip(found.symbols, offsets, strict=True))
        if (window := windows.get(symbol)) is not None and _ends_with(window, offset, scores)
    ]
    if not here:
        return 0
    indices = np.array([index for index, _ in here], np.intp)
    slots = np.array([window.slot for _, window in here], np.intp)
    last = np.array([window.sequence - 1 for _, window in here], np.int64)
    scores.make_room(int(slots.max()) + 1)
    ring = (last[:, None] - np.arange(scores.depth - 1, -1, -1)) % scores.depth
    scores.mids[slots[:, None], ring] = mids[indices]
    scores.made[slots[:, None], ring] = made[indices]
    scores.first[slots] = last - np.array(rows, np.int64)[indices] + 1
    scores.last[slots] = last
    scores.seated[slots] = scores.who_sits(slots)
    return len(here)


def _waiting(scores: Scores, windows: Mapping[str, SymbolWindow]) -> tuple[list[str], NDArray[np.intp], list[int]]:
    """Symbols whose newest row may still be scored against: names, slots, and the offset of that row's tick."""
    names: list[str] = []
    slots: list[int] = []
    offsets: list[int] = []
    for symbol, window in windows.items():
        slot = window.slot
        if window.sampled is None or not 0 <= slot < len(scores.last):
            continue
        if scores.last[slot] == window.sequence - 1 and scores.seated[slot] == scores.who_sits(np.array([slot]))[0]:
            names.append(symbol)
            slots.append(slot)
            offsets.append(window.sampled.offset)
    return names, np.array(slots, np.intp), offsets


def _ends_with(window: SymbolWindow, offset: int, scores: Scores) -> bool:
    sampled = window.sampled
    return sampled is not None and sampled.offset == offset and 0 <= window.slot < scores.symbols_max


def _decoded(saved: bytes, scores: Scores) -> _Saved:
    """Raises ValueError where it is none, or of something else."""
    try:
        found = msgspec.msgpack.decode(saved, type=_Saved)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no saved scores: {error}") from error
    if found.version != VERSION:
        raise ValueError(f"saved scores of version {found.version}, not {VERSION}")
    if found.bundle != scores.bundle:
        raise ValueError("saved scores of another bundle")
    symbols, values = len(found.symbols), scores.depth * len(found.symbols)
    expected = (8 * symbols, 8 * symbols, 8 * values, 4 * values * scores.made.shape[2])
    lengths = (len(found.offsets), len(found.rows), len(found.mids), len(found.made))
    if lengths != expected:
        raise ValueError("saved scores that are cut short")
    return found
