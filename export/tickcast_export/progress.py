"""What training says while it runs: a bar on a terminal, plain lines elsewhere."""

from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


@dataclass(frozen=True)
class Epoch:
    """How one epoch went. Both errors are squared, against persistence's: 1 is no better than no change."""

    number: int
    windows_seen: int  # since training began
    train_error: float  # mean over the epoch's steps, in units of the training targets' variance
    validation_error: float  # mean over horizons
    is_best: bool

    def text(self) -> str:
        """One line."""
        best = ", best so far" if self.is_best else ""
        errors = f"training error {self.train_error:.4f}, validation {self.validation_error:.4f}"
        return f"epoch {self.number}: {self.windows_seen} windows seen, {errors} of persistence's{best}"


class Progress(Protocol):
    """Hears of training as it goes."""

    def started(self, epochs: int, steps: int) -> None:
        """At most `epochs` epochs of `steps` steps are to come."""

    def stepped(self, share: float) -> None:
        """One more step is done; `share` of everything, 0 to 1."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """An epoch is over and validated."""

    def finished(self) -> None:
        """No more steps."""


class Silent:
    """Nothing is said."""

    def started(self, epochs: int, steps: int) -> None:
        """See `Progress`."""

    def stepped(self, share: float) -> None:
        """See `Progress`."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """See `Progress`."""

    def finished(self) -> None:
        """See `Progress`."""


class LineProgress:
    """One line per epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, epochs: int, steps: int) -> None:
        """See `Progress`."""
        self._say(f"training: at most {epochs} epochs of {steps} steps")

    def stepped(self, share: float) -> None:
        """Too often for a line."""

    def epoch_ended(self, epoch: Epoch) -> None:
        """See `Progress`."""
        self._say(epoch.text())

    def finished(self) -> None:
        """See `Progress`."""
        self._say("training: done")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class BarProgress(LineProgress):
    """A bar that moves with every step, and the lines above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console, transient=True)
        self._task: TaskID | None = None

    def started(self, epochs: int, steps: int) -> None:
        super().started(epochs, steps)
        self._task = self._bar.add_task("training", total=1.0)
        self._bar.start()

    def stepped(self, share: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=share)

    def finished(self) -> None:
        self._bar.stop()
        super().finished()


def on(console: Console) -> Progress:
    """A bar where there is a terminal to draw it on, lines elsewhere."""
    return BarProgress(console) if console.is_terminal else LineProgress(console)
