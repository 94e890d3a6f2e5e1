"""Market states: halted, one-sided and crossed books, each met by the topic's rule and none of them an error by itself.

Stage `decode` of the way of a tick. What a record shows depends on that record alone, so that any replay sees the same:

- `accept`: its numbers are taken as they stand. A side that is null or absent has none: the record is invalid.
- `skip`: the tick makes no row and is as if it had never come. Its time and values are compared with nothing.
- `reset`: the same, and its symbol starts anew: no window reaches over it.
- `dead_letter`: the record is bad, with the state as its reason.
"""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from tickcast import codec
from tickcast.errors import BadRecord, ConfigurationError, CrossedBook, HaltedMarket, InvalidRecord, OneSidedBook
from tickcast.input_config import InputConfig, MarketRule
from tickcast.windows import MarketState, Values

Number = float | None
# What may stand at `input.halted_path`.
HaltedValue = str | int | float | bool | None

ERRORS: dict[MarketState, type[BadRecord]] = {
    "halted": HaltedMarket,
    "one_sided": OneSidedBook,
    "crossed": CrossedBook,
}


class Side(NamedTuple):
    """Where a side of the book stands among a tick's values; -1: nowhere."""

    price: int
    size: int

    def is_missing(self, values: Sequence[Number]) -> bool:
        """Whether the price or the size is null, absent or 0, the ways in which feeds say that there is none.

        A negative price is a price. One of 0 is none, although spreads may have it: their topics accept.
        """
        return (self.price >= 0 and not values[self.price]) or (self.size >= 0 and not values[self.size])


class Judged(NamedTuple):
    """A tick's values, NaN for what is missing, and the state by whose rule it makes no row, if any."""

    values: Values
    state: MarketState | None
    cuts: bool


class Market:
    """The rules of a topic, at least one of which is not `accept`."""

    def __init__(self, config: InputConfig, columns: tuple[str, ...]) -> None:
        """Raises ConfigurationError where the bundle has no such columns."""
        # The first that holds and is not accepted decides: a halted book is often one-sided, and may be crossed.
        rules: dict[MarketState, MarketRule] = {
            "halted": config.halted,
            "one_sided": config.one_sided,
            "crossed": config.crossed,
        }
        self._rules = {state: rule for state, rule in rules.items() if rule != "accept"}
        self._columns = columns
        self._halted_values = frozenset(config.halted_values)
        self._bid, self._ask = _sides(config, columns)
        for state in ("one_sided", "crossed"):
            if state in self._rules and min(self._bid.price, self._ask.price) < 0:
                raise ConfigurationError(
                    f"input.{state}: the bundle has no bid or no ask; say in input.book_columns what they are called "
                    f"there; allowed: {', '.join(columns)}"
                )
        self.halted_path = config.halted_path if "halted" in self._rules else ""
        # Columns that may be null or absent: of a halted market, too.
        nullable = {"halted", "one_sided"} & self._rules.keys()
        self.nullable = frozenset(columns[at] for at in (*self._bid, *self._ask) if at >= 0 and nullable)

    def judged(self, values: Sequence[Number], halted: HaltedValue) -> Judged:
        """What the topic's rules make of a tick with these values, `halted` being what stands at `halted_path`.

        Raises OneSidedBook, CrossedBook or HaltedMarket by a rule, NonFiniteRecord for values that are not finite, and
        InvalidRecord for some that are missing where no rule takes the tick out.
        """
        known = tuple(0.0 if value is None else value for value in values)
        codec.checked_columns(known, self._columns)
        state = self._state(values, halted)
        if state is None:
            if missing := [column for column, value in zip(self._columns, values, strict=True) if value is None]:
                raise InvalidRecord(f"null or absent: {', '.join(missing)}")
            return Judged(known, None, False)
        rule = self._rules[state]
        if rule == "dead_letter":
            raise ERRORS[state](self._text(state, values, halted))
        return Judged(tuple(nan if value is None else value for value in values), state, rule == "reset")

    def _state(self, values: Sequence[Number], halted: HaltedValue) -> MarketState | None:
        is_one_sided = self._bid.is_missing(values) or self._ask.is_missing(values)
        for state in self._rules:
            if state == "halted":
                holds = halted is not None and _json_text(halted) in self._halted_values
            elif state == "one_sided":
                holds = is_one_sided
            else:
                holds = not is_one_sided and self._is_crossed(values)
            if holds:
                return state
        return None

    def _is_crossed(self, values: Sequence[Number]) -> bool:
        bid, ask = values[self._bid.price], values[self._ask.price]
        return bid is not None and ask is not None and bid > ask

    def _text(self, state: MarketState, values: Sequence[Number], halted: HaltedValue) -> str:
        if state == "halted":
            return f"{self.halted_path} is {halted!r}"
        places = (at for at in (*self._bid, *self._ask) if at >= 0)
        return ", ".join(f"{self._columns[at]} is {values[at]}" for at in places)


def market(config: InputConfig, columns: tuple[str, ...]) -> Market | None:
    """The topic's rules; None where all is accepted. Raises ConfigurationError for columns the bundle has not."""
    unknown = sorted(set(config.book_columns.values()) - set(columns))
    if unknown:
        allowed = ", ".join(columns)
        raise ConfigurationError(
            f"input.book_columns: {', '.join(unknown)}: no columns of the bundle; allowed: {allowed}"
        )
    if config.halted == config.one_sided == config.crossed == "accept":
        return None
    return Market(config, columns)


def _sides(config: InputConfig, columns: tuple[str, ...]) -> tuple[Side, Side]:
    """Where bid and ask stand."""
    names = {part: config.book_columns.get(part, part) for part in ("bid", "ask", "bid_size", "ask_size")}
    at = {part: columns.index(name) if name in columns else -1 for part, name in names.items()}
    return Side(at["bid"], at["bid_size"]), Side(at["ask"], at["ask_size"])


def _json_text(value: str | int | float | bool) -> str:
    """`value` as JSON writes it, a string without its quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
