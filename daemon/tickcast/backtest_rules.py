"""What becomes of the ticks of a file: symbols, market rules and window rules, as of one partition with these records.

Stages `decode` and `windows.push` of the way of a tick, in a backtest. A tick's offset is its row in the file.
"""

from collections import Counter
from collections.abc import Iterable

from tickcast import codec, symbols
from tickcast.config import Config
from tickcast.errors import BadRecord
from tickcast.manifest import Manifest
from tickcast.market import market
from tickcast.partition_state import windows_of
from tickcast.symbols import NO_MODEL, UNANSWERED, Route
from tickcast.windows import Row, Tick, Windows


class Rules:
    """Decides ticks, in the file's order, and counts what became of them."""

    def __init__(self, config: Config, manifest: Manifest, fates: Counter[str] | None = None) -> None:
        """Counts in `fates`. Raises ConfigurationError for market rules that do not fit the bundle."""
        self.windows: Windows = windows_of(manifest, config.recovery)
        self.fates = Counter() if fates is None else fates  # fate, `dead_letter`, `no_model` or `untrained` -> ticks
        self._route = _route(config, manifest)
        self._market = market(config.input, manifest.record_columns)

    def rows(self, ticks: Iterable[Tick]) -> list[Row]:
        """The rows that `ticks` make, in their order."""
        decide, route, judges = self.windows.decide, self._route, self._market is not None
        rows: list[Row] = []
        fates: list[str] = []
        for tick in ticks:
            try:
                codec.checked_symbol(tick.symbol)
                if judges:
                    tick = self._judged(tick)
            except BadRecord:
                fates.append("dead_letter")
                continue
            place = route(tick.symbol)
            if place < 0:
                fates.append(UNANSWERED[place])
                continue
            decision = decide(tick)
            fates.append(decision.fate)
            if decision.row is not None:
                rows.append(decision.row)
        self.fates.update(fates)
        return rows

    def _judged(self, tick: Tick) -> Tick:
        """With its market state. No column of a tick file says that a market is halted."""
        assert self._market is not None
        values, state, cuts = self._market.judged(tick.values, None)
        return Tick(tick.offset, tick.symbol, tick.event_time_ns, values, tick.sequence, state, cuts)


def _route(config: Config, manifest: Manifest) -> Route:
    """Whose a symbol is: the last entry's, which answers here, but what those before it take."""
    *before, entry = config.models
    ours = symbols.route([entry], [manifest])
    if not before:
        return ours
    is_theirs = symbols.matcher([pattern for each in before for pattern in each.symbols])
    return lambda symbol: NO_MODEL if is_theirs(symbol) else ours(symbol)
