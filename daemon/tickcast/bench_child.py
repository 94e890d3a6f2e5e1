"""A process that times something each time it is asked, so that rounds of a bench can take it in turn.

Beside the way of a tick: what is compared with it. Its libraries, threads and memory stay out of the bench's process.
It ends when the bench does, however that ends: its standard input closes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tickcast.errors import TickcastError

READY = "ready"
LINES_SHOWN = 5


class Asked:
    """A context manager around `python -m ARGUMENTS`, which must call `answer`. Raises TickcastError if it ends."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._said = opened.enter_context(tempfile.TemporaryFile())
            self._process = opened.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", *self._arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    env={**os.environ, **self._environment},
                    text=True,
                )
            )
            if self._line() != READY:
                raise TickcastError(f"{self._arguments[0]}: did not start as it should")
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def ask(self) -> list[float]:
        """What it timed just now, in seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        times: list[float] = json.loads(self._line())
        return times

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").strip().splitlines()[-LINES_SHOWN:]
            raise TickcastError("\n".join([f"{self._arguments[0]}: ended with status {status}", *last]))
        return line.strip()


def answer(times: Callable[[], Sequence[float]]) -> None:
    """Answer for as long as somebody asks: the whole of such a process, once it is warm."""
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(list(times())) + "\n")
        sys.stdout.flush()
