"""What `tickcast evaluate` says while it works, on standard error: a bar on a terminal, a line per stage elsewhere.

Behind the way of a tick.
"""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class ConsoleSteps:
    """One bar, or line, for each stage; a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console)
        self._current = self._bars.add_task("", total=0, visible=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, text: str, count: int) -> None:
        """See `evaluation.Steps`."""
        if self._console.is_terminal:
            self._current = self._bars.add_task(text, total=count)
        else:
            self.say(text)

    def advance(self, count: int = 1) -> None:
        """See `evaluation.Steps`."""
        self._bars.advance(self._current, count)

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)
