"""What a run of the demo was asked to do, where its files lie, and how it speaks of its steps."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from tickcast.tick_columns import TickColumns

from tickcast_export.demo_ticks import Pace

NAME = "demo"  # of the model, of the consumer group
INPUT, OUTPUT, DEAD_LETTERS = "ticks", "forecasts", "dead-letters"
STATE = f"{OUTPUT}-state"
INPUT_PARTITIONS = 4

FamilyName = Literal["stacked", "additive", "seq2seq"]


@dataclass(frozen=True)
class Settings:
    """What the user asked for. `mapping` is for the file `ticks`; without one, ticks are simulated."""

    ticks: Path | None
    mapping: TickColumns | None
    family: FamilyName
    pace: Pace
    out: Path
    seed: int
    train_s: float
    window: int
    units: int
    command: str  # as typed, for the report

    def file(self, name: str) -> Path:
        """A file or folder of this run."""
        return self.out / name


class Story:
    """Says which step is done and what came of it: one heading each, with the time passed."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self._steps = steps
        self._step = 0
        self._started_s = time.monotonic()

    def heading(self, words: str) -> None:
        """The next step begins."""
        self._step += 1
        passed = f"{time.monotonic() - self._started_s:.0f} s"
        # Written out: a console breaks long lines where nobody reads them, and takes brackets for markup.
        head = f"[bold cyan]{self._step}/{self._steps}[/] [bold]{words}[/] [dim]{passed}[/]"
        self.console.print(head, highlight=False, soft_wrap=True)

    def say(self, words: str) -> None:
        """Something came of the step."""
        self.console.print(f"    {words}", highlight=False, markup=False, soft_wrap=True)
