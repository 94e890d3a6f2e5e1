"""The page as it is served: its files, its document once or as server-sent events, and how many may look at once.

Beside the way of a tick, in the process that serves. Knows HTTP's content, not its connections: see `exposition.py`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tickcast.page_snapshot import Snapshots
from tickcast.page_view import View

# Each takes a thread and some 10 ms of a core twice a second.
VIEWERS_MAX = 8
PUSH_INTERVAL_S = 0.5
# How soon a browser that lost the stream asks again.
RETRY_MS = 2_000

FOLDER = Path(__file__).with_name("page")
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing sent elsewhere, nothing shown inside of another site's page.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageFile(NamedTuple):
    """One file of the page, as it is sent."""

    content_type: str
    body: bytes


class Page:
    """What a viewer is given. Thread-safe."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads the page's files, some 60 KB."""
        self._snapshots = snapshots
        self._lock = threading.Lock()
        self.viewers = 0
        self.files = {f"/{path.name}": _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in CONTENT_TYPES}
        self.files["/"] = self.files.pop("/index.html")

    def snapshot(self, view: View) -> bytes:
        """The document, JSON on one line."""
        return self._snapshots.encoded(view)[0] + b"\n"

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there is room for one more viewer, whose place it is until the end."""
        with self._lock:
            taken = self.viewers < VIEWERS_MAX
            self.viewers += taken
        try:
            yield taken
        finally:
            with self._lock:
                self.viewers -= taken

    def events(self, view: View) -> Iterator[bytes]:
        """The document again and again, each time as it is then; the symbol chosen at first stays."""
        before = b"retry: %d\n" % RETRY_MS
        while True:
            blob, view = self._snapshots.encoded(view)
            yield before + b"data: " + blob + b"\n\n"
            before = b""


def _read(path: Path) -> PageFile:
    return PageFile(CONTENT_TYPES[path.suffix], path.read_bytes())
