"""The demo's `tickcast` commands, each in a process of its own that does not outlive the demo."""

from collections.abc import Sequence
from pathlib import Path

from tickcast.child_processes import Child, tickcast_command

# TensorFlow speaks of what this machine lacks; what matters comes as an exit status and an error.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}


def start(arguments: Sequence[str], log: Path, output: Path | None = None) -> Child:
    """`tickcast` with these arguments."""
    return Child(f"tickcast {arguments[0]}", tickcast_command(arguments), log, output, QUIET)
