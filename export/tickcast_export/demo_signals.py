"""How a demo ends when it is asked to: Ctrl-C, SIGTERM or SIGHUP once, and everything that it started is stopped."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

import typer

# 128 + the signal's number: what a shell says of a command that a signal ended.
SIGNALLED = 128
PATIENCE_S = 30.0  # longer than stopping a daemon and a broker takes, by force included

Made = TypeVar("Made")


class Stopped(BaseException):
    """A signal asked the demo to end. No Exception, so that nothing on the way out takes it for an error."""

    def __init__(self, number: int) -> None:
        self.number = number


class Signals:
    """Turns a signal into `Stopped`, once: an impatient second Ctrl-C must not cut short the stopping of the rest."""

    def __init__(self) -> None:
        self._heard_s = -PATIENCE_S

    def received(self, number: int, frame: FrameType | None) -> None:
        """For `signal.signal`."""
        if time.monotonic() - self._heard_s >= PATIENCE_S:
            self._heard_s = time.monotonic()
            raise Stopped(number)


def until_asked_to_end(command: str, run: Callable[[], Made]) -> Made:
    """What `run` makes, where no signal comes; else this ends the command once `run` has cleaned up."""
    signals = Signals()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signals.received)
    try:
        return run()
    except Stopped as stopped:
        typer.echo(f"tickcast {command}: stopped; everything that it started has ended", err=True)
        raise typer.Exit(SIGNALLED + stopped.number) from stopped
