"""The demo's ticks: a part to train on, and later ones to play; from the user's file or simulated.

A long file is read to its end and only its last ticks are kept: those played come after those trained on, so that
errors are measured on ticks the model has not seen.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tickcast import tick_files
from tickcast.errors import TickFileError
from tickcast.tick_columns import TickColumns
from tickcast.tick_files import Ticks
from tickcast.windows import NANOSECONDS

from tickcast_export.simulator import Market, simulate

SIMULATED_SYMBOLS = 4
TRAIN_TICKS_MAX = 200_000  # more than a short training can see
SIMULATED_TRAIN_TICKS = 120_000
PLAYED_TICKS_MAX = 1_000_000  # what the report's arrays of a run may take: some hundred MB
PLAYED_SHARE_MAX = 0.3  # of a short file: the rest must teach
SYMBOLS_MAX = 16  # the busiest of a file: with more, a short run would end before windows are full
GAP_MAX_S = 1.0  # longest silence that is waited for at recorded pace: nobody watches a lunch break


@dataclass(frozen=True)
class Pace:
    """How fast ticks are played, for how long: `ticks_per_s`, or where that is 0, `speed` times as recorded."""

    duration_s: float
    ticks_per_s: float
    speed: float = 1.0

    def options(self) -> list[str]:
        """For `tickcast replay`."""
        if self.ticks_per_s:
            return ["--rate", f"{self.ticks_per_s:g}"]
        return ["--speed", f"{self.speed:g}", "--gap-max-s", f"{GAP_MAX_S:g}"]

    def text(self) -> str:
        """For people."""
        if self.ticks_per_s:
            return f"{self.ticks_per_s:g} ticks a second"
        return "recorded pace" if self.speed == 1 else f"{self.speed:g} times recorded pace"

    def last(self, ticks: Ticks) -> int:
        """How many of the last of `ticks` are played."""
        if self.ticks_per_s:
            return min(PLAYED_TICKS_MAX, round(self.duration_s * self.ticks_per_s))
        gaps_s = np.clip(np.diff(ticks.event_time_ns) / NANOSECONDS, 0, GAP_MAX_S) / self.speed
        return min(PLAYED_TICKS_MAX, 1 + int((np.cumsum(gaps_s[::-1]) <= self.duration_s).sum()))


@dataclass(frozen=True)
class Material:
    """What one run of the demo is about."""

    source: str  # to be shown wherever its figures are
    simulated: bool
    train: Ticks
    played: Ticks
    note: str  # what of the source was used


def simulated(pace: Pace, seed: int) -> Material:
    """Ticks of a seeded simulation, said to be one."""
    market = Market()
    # Twice what recorded pace takes on average: the simulated market has busy times and quiet ones.
    per_s = pace.ticks_per_s or 2 * market.ticks_per_s * SIMULATED_SYMBOLS * pace.speed
    most = min(PLAYED_TICKS_MAX, round(pace.duration_s * per_s) + SIMULATED_SYMBOLS)
    ticks = simulate(SIMULATED_TRAIN_TICKS + most, SIMULATED_SYMBOLS, seed, market)
    source = f"a simulated market of {SIMULATED_SYMBOLS} symbols, seed {seed}"
    return _split(ticks, min(pace.last(ticks), most), source, True, len(ticks))


def from_file(path: Path, mapping: TickColumns, pace: Pace) -> Material:
    """The last ticks of a file, of its busiest symbols. Raises TickFileError."""
    kept: deque[Ticks] = deque()
    held = total = 0
    for part in tick_files.chunks([path], mapping):
        kept.append(part)
        held, total = held + len(part), total + len(part)
        while held - len(kept[0]) >= TRAIN_TICKS_MAX + PLAYED_TICKS_MAX:
            held -= len(kept.popleft())
    if not kept:
        raise TickFileError(f"{path}: no ticks")
    ticks = _busiest(_joined(kept))
    return _split(ticks, min(pace.last(ticks), int(len(ticks) * PLAYED_SHARE_MAX)), path.name, False, total)


def _joined(parts: deque[Ticks]) -> Ticks:
    last = parts[-1]  # its symbols begin with those of the parts before
    return Ticks(
        last.columns,
        last.symbols,
        np.concatenate([part.symbol_ids for part in parts]),
        np.concatenate([part.event_time_ns for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.sequence for part in parts]),
    )


def _busiest(ticks: Ticks) -> Ticks:
    """The ticks of at most `SYMBOLS_MAX` symbols."""
    counts = np.bincount(ticks.symbol_ids, minlength=len(ticks.symbols))
    kept = np.isin(ticks.symbol_ids, np.argsort(-counts, kind="stable")[:SYMBOLS_MAX])
    if kept.all():
        return ticks
    return Ticks(
        ticks.columns,
        ticks.symbols,
        ticks.symbol_ids[kept],
        ticks.event_time_ns[kept],
        ticks.values[kept],
        ticks.sequence[kept],
    )


def _split(ticks: Ticks, played: int, source: str, is_simulated: bool, total: int) -> Material:
    border = len(ticks) - played
    first = max(0, border - TRAIN_TICKS_MAX)
    symbols = len(np.unique(ticks.symbol_ids))
    note = (
        f"{total:,} ticks; of {'the one symbol' if symbols == 1 else f'{symbols} symbols'} the last {played:,} are "
        f"played, the {border - first:,} before them train the model"
    )
    return Material(source, is_simulated, ticks.slice(first, border), ticks.slice(border, len(ticks)), note)
