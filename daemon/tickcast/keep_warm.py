"""Runs that nobody asked for, so that a GPU's clocks do not drop between sparse ticks."""

from collections.abc import Callable

from tickcast.clock import Clock


class KeepWarm:
    """`turn` once per turn of the loop: after `interval_ms` without a run of the loop's own it makes one."""

    def __init__(self, run: Callable[[], None], interval_ms: int, clock: Clock) -> None:
        """`interval_ms` = 0: never."""
        self._run = run
        self._interval_ns = interval_ms * 1_000_000
        self._clock = clock
        self._due_ns = clock.monotonic_ns() + self._interval_ns

    def turn(self, worked: bool) -> None:
        """`worked`: whether this turn had anything to do."""
        if not self._interval_ns:
            return
        now_ns = self._clock.monotonic_ns()
        if not worked and now_ns < self._due_ns:
            return
        if not worked:
            self._run()
        self._due_ns = now_ns + self._interval_ns
