"""What happens inside onnxruntime: runs, windows and processor time of each graph, counted from outside.

Beside stage `engine.run` of the way of a tick.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tickcast import providers

# The ways of an onnxruntime session to run its graph.
RUNS = ("run", "run_with_iobinding", "run_with_ort_values")


class SessionWatch:
    """Opens sessions that can be watched. `cpu_s` is exact where a graph runs on the caller's thread alone."""

    def __init__(self) -> None:
        self.watching = False
        self.cpu_s = 0.0
        self.runs = 0

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Sessions that `providers` opens meanwhile are watched: whoever asks for them need not know."""
        unwatched = providers.session
        providers.session = lambda *arguments: _Watched(unwatched(*arguments), self)
        try:
            yield
        finally:
            providers.session = unwatched

    def start(self) -> None:
        """Count from zero."""
        self.watching = True
        self.cpu_s = 0.0
        self.runs = 0

    def stop(self) -> None:
        """Count no more: what is left costs a tenth of a microsecond a run."""
        self.watching = False

    def timed(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """`run`, watched."""

        def watched(*arguments: Any, **options: Any) -> Any:
            if not self.watching:
                return run(*arguments, **options)
            begun_s = time.thread_time()
            result = run(*arguments, **options)
            self.cpu_s += time.thread_time() - begun_s
            self.runs += 1
            return result

        return watched


class _Watched:
    """A session, or the native one inside it, whose runs are watched; all else is the session's own."""

    def __init__(self, session: Any, watch: SessionWatch) -> None:
        self._session = session
        self._watch = watch
        for name in RUNS:
            if hasattr(session, name):
                setattr(self, name, watch.timed(getattr(session, name)))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return _Watched(found, self._watch) if name == "_sess" else found
