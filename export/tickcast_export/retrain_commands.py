"""The `tickcast` commands of the retraining example: each is shown as it would be typed, and run in its own process."""

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path

from tickcast.child_processes import Child

from tickcast_export import demo_processes as processes
from tickcast_export.demo_settings import Story
from tickcast_export.retrain_settings import Settings

LOGS = "logs"


class Commands:
    """Starts them; what they say goes to files, numbered in the order of their starts."""

    def __init__(self, settings: Settings, story: Story) -> None:
        self._folder = settings.file(LOGS)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._story = story
        self._numbers = itertools.count(1)

    def run(self, *arguments: str | Path, is_shown: bool = False) -> str:
        """Wait for its end, and what it wrote to standard output, where that is not shown as it comes.

        Raises TickcastError, with the end of its log, where its status is not 0.
        """
        log = self._log(arguments)
        output = None if is_shown else log.with_suffix(".out")
        with processes.start(self._told(arguments), log, output) as child:
            child.wait()
        return "" if output is None else output.read_text("utf-8")

    def start(self, *arguments: str | Path) -> Child:
        """Running beside whoever starts it, who ends it."""
        log = self._log(arguments)
        return processes.start(self._told(arguments), log, log.with_suffix(".out"))

    def log_for(self, *arguments: str | Path) -> Path:
        """For a command that is started otherwise, its log; it is shown, too."""
        self._told(arguments)
        return self._log(arguments)

    def _told(self, arguments: Sequence[str | Path]) -> list[str]:
        words = [str(argument) for argument in arguments]
        self._story.say(f"$ {shlex.join(['tickcast', *words])}")
        return words

    def _log(self, arguments: Sequence[str | Path]) -> Path:
        return self._folder / f"{next(self._numbers):02d}-{arguments[0]}.log"
