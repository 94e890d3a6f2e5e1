"""What somebody at `tickcast top` wants to see, and how keys change it.

Beside the way of a tick: on the side of whoever looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tickcast.page_view import SEARCH_LENGTH_MAX

Sort = Literal["movers", "errors", "rate", "name"]
SORTS: tuple[Sort, ...] = get_args(Sort)
QUIT, UP, DOWN, LEFT, RIGHT, ENTER, ESCAPE, ERASE = "quit", "up", "down", "left", "right", "enter", "escape", "erase"


@dataclass(frozen=True)
class Choice:
    """Which symbols, in which order, and which one of them."""

    symbol: str  # empty: whichever the instance tells of
    sort: Sort
    search: str
    limit: int
    typed: str | None = None  # a search that is being written

    @property
    def query(self) -> dict[str, str | int]:
        """As an instance is asked."""
        return {"symbol": self.symbol, "sort": self.sort, "search": self.search, "limit": self.limit}


def pressed(choice: Choice, key: str, symbols: Sequence[str]) -> Choice | None:
    """What is wanted after `key`: the name of a key, or a character; `symbols` are shown. None: to leave."""
    if choice.typed is not None:
        return _typed(choice, choice.typed, key)
    if key in (QUIT, "q"):
        return None
    if key in (UP, LEFT, "k", DOWN, RIGHT, "j"):
        return replace(choice, symbol=_moved(choice.symbol, -1 if key in (UP, LEFT, "k") else 1, symbols))
    if key == "s":
        return replace(choice, sort=SORTS[(SORTS.index(choice.sort) + 1) % len(SORTS)])
    if key == "/":
        return replace(choice, typed=choice.search)
    return replace(choice, search="") if key == ESCAPE else choice


def _typed(choice: Choice, typed: str, key: str) -> Choice | None:
    if key == QUIT:
        return None
    if key == ENTER:
        return replace(choice, search=typed, typed=None)
    if key == ESCAPE:
        return replace(choice, typed=None)
    if key == ERASE:
        return replace(choice, typed=typed[:-1])
    return replace(choice, typed=(typed + key)[:SEARCH_LENGTH_MAX]) if len(key) == 1 else choice


def _moved(symbol: str, by: int, symbols: Sequence[str]) -> str:
    if not symbols:
        return symbol
    if symbol not in symbols:
        return symbols[0]
    return symbols[max(0, min(symbols.index(symbol) + by, len(symbols) - 1))]
