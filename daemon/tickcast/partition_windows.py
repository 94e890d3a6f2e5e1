"""The windows of one partition: those of each configured bundle by its own rules, and what they have in common.

Stage `windows.push` of the way of a tick. A symbol has windows of one bundle only. Offsets, how far back they reach and
`max_symbols` are the partition's: whoever has been silent longest is forgotten first, whichever bundle's it is.
"""

from collections.abc import Callable, Sequence

from tickcast.windows import Decision, Tick, Windows


class PartitionWindows:
    """One `Windows` for each bundle, in the configuration's order."""

    def __init__(self, by_model: Sequence[Windows]) -> None:
        """All of one partition, and empty."""
        self.by_model = tuple(by_model)
        # What becomes of a tick, by the place of its symbol's bundle.
        self.decides: tuple[Callable[[Tick], Decision], ...] = tuple(windows.decide for windows in by_model)
        for windows in by_model:
            windows.share([other for other in by_model if other is not windows])

    def __len__(self) -> int:
        return sum(map(len, self.by_model))

    def __contains__(self, symbol: str) -> bool:
        return any(symbol in windows for windows in self.by_model)

    @property
    def evicted(self) -> int:
        """How many symbols were forgotten because of `max_symbols`."""
        return sum([windows.evicted for windows in self.by_model])

    @property
    def newcomers(self) -> list[str] | None:
        """The symbols met since a list was set."""
        return self.by_model[0].newcomers

    @newcomers.setter
    def newcomers(self, symbols: list[str] | None) -> None:
        """From now on the symbols met go there."""
        for windows in self.by_model:
            windows.newcomers = symbols

    def replay_from(self, position: int) -> int:
        """An offset from which a rebuild up to `position` (exclusive) gives these very windows."""
        return min([windows.replay_from(position) for windows in self.by_model])
