"""What the retraining example says while ticks are played: a line that moves on a terminal, some lines elsewhere."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live as Drawing
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tickcast_export.demo_screen import LINE_INTERVAL_S, sparkline
from tickcast_export.figures import percent
from tickcast_export.retrain_live import Errors

BAR_WIDTH = 12


class View(NamedTuple):
    """The state of things."""

    to_play: int
    played: int
    forecasts: int
    errors: Errors
    history: Sequence[float]  # of the bundle that answers, oldest first

    def text(self) -> str:
        """For people."""
        parts = [f"played {self.played:,} of {self.to_play:,}", f"forecasts {self.forecasts:,}"]
        if self.errors.answering is not None:
            parts.append(f"error saved just now: {percent(self.errors.answering)}")
        if self.errors.shadow is not None:
            parts.append(f"by the shadow {percent(self.errors.shadow)}")
        return ", ".join(parts)


class Screen:
    """Shows views until it is closed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_s = -LINE_INTERVAL_S
        self._drawing = Drawing(console=console, auto_refresh=False) if console.is_terminal else None
        if self._drawing is not None:
            self._drawing.start()

    def show(self, view: View) -> None:
        """The newest state; as a line, unless one was written a moment ago."""
        if self._drawing is not None:
            self._drawing.update(_drawn(view), refresh=True)
        elif time.monotonic() - self._told_s >= LINE_INTERVAL_S:
            self._told_s = time.monotonic()
            self._console.print(f"    {view.text()}", highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was, the last view on it."""
        if self._drawing is not None:
            self._drawing.stop()


def _drawn(view: View) -> Group:
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(view.to_play, 1), completed=view.played, width=BAR_WIDTH, complete_style="cyan")
    line.add_row(Text("   "), bar, Text(view.text(), no_wrap=True))
    lines = [Text(f"    {sparkline(view.history)}")] if view.history else []
    return Group(line, *lines)
