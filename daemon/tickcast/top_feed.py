"""A stream that goes on: read in a thread of its own, asked anew when something else is wanted, taken up when it broke.

Beside the way of a tick: on the side of whoever looks.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from tickcast.errors import TickcastError
from tickcast.top_document import Document

RETRY_S = 1.0
# It may be waiting for a host that does not answer: nobody waits for that at the end.
END_S = 0.5

Query = Mapping[str, str | int]


class Source(Protocol):
    """What is read from: `top_stream.Stream`."""

    def read(self) -> Document:
        """The next document; TickcastError where none comes."""

    def break_off(self) -> None:
        """From another thread: end `read` with an error."""

    def close(self) -> None:
        """Let go of it."""


class Look(NamedTuple):
    """What there is to show."""

    document: Document
    age_s: float  # since it came
    trouble: str  # why nothing newer comes; empty where nothing is known to be wrong


class Feed:
    """A context manager. `fd` becomes readable when there is something new; `look` makes it silent again."""

    def __init__(self, source: Source, query: Query, open_: Callable[[Query], Source]) -> None:
        """Go on with `source`, which answers `query`. Raises TickcastError where it has nothing to tell."""
        self._source = source
        self._query = query
        self._open = open_
        try:
            self._document = source.read()
        except TickcastError:
            source.close()
            raise
        self._read_s = time.monotonic()
        self._trouble = ""
        self._changed = threading.Event()  # the query; or it is over
        self._over = False
        self.fd, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._break_off()
        self._thread.join(END_S)
        if not self._thread.is_alive():  # else it may still ring
            os.close(self.fd)
            os.close(self._bell)

    def ask(self, query: Query) -> None:
        """From now on this is wanted; what came before is shown until the first answer."""
        if query != self._query:
            self._query = query
            self._break_off()

    def look(self) -> Look:
        """The newest document, and how the stream gets on."""
        with contextlib.suppress(BlockingIOError):  # nothing new
            os.read(self.fd, 4_096)
        return Look(self._document, time.monotonic() - self._read_s, self._trouble)

    def _break_off(self) -> None:
        self._changed.set()
        self._source.break_off()

    def _run(self) -> None:
        query = self._query
        while not self._over:
            self._changed.clear()
            try:
                if query is not self._query:
                    query = self._query
                    self._source = self._open(query)
                self._read(query)
            except TickcastError as error:
                query = {}  # open it anew
                if not self._changed.is_set():
                    self._trouble = str(error)
                    self._ring()
                    self._changed.wait(RETRY_S)
            finally:
                self._source.close()

    def _read(self, query: Query) -> None:
        while query is self._query and not self._over:
            self._document = self._source.read()
            self._read_s, self._trouble = time.monotonic(), ""
            self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"!")
