"""A clock that only moves when a test says so; sleeping on it is moving it."""


class ManualClock:
    """Fulfils `tickcast.clock.Clock`."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000, monotonic_ns: int = 1_000_000_000_000) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Both clocks move on."""
        self._wall_ns += round(seconds * 1e9)
        self._monotonic_ns += round(seconds * 1e9)

    def step_wall(self, seconds: float) -> None:
        """The host's clock is set: only wall time jumps, either way."""
        self._wall_ns += round(seconds * 1e9)
