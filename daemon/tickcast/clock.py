"""The one clock seam: whoever needs the time or a pause is given a `Clock`, so that tests never wait for a real one."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch; may step backwards when the host's clock is set."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since the host's boot (CLOCK_MONOTONIC, the same in all its processes); never backwards."""

    def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed."""


class SystemClock:
    """The host's clocks."""

    def wall_ns(self) -> int:
        """See `Clock`."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """See `Clock`."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)
