"""What somebody wants to see: the query of a request for the page's data, checked."""

from typing import NamedTuple
from urllib.parse import parse_qsl

from tickcast.page_table import SORTS

# As long as a symbol may be.
SYMBOL_LENGTH_MAX = 250
SEARCH_LENGTH_MAX = 100
LIMIT_DEFAULT = 50
LIMIT_MAX = 500
SORT_DEFAULT = "movers"
QUERY_FIELDS_MAX = 8


class View(NamedTuple):
    """One symbol in full (empty: the busiest), and a table of `limit` symbols whose names contain `search`."""

    symbol: str = ""
    sort: str = SORT_DEFAULT
    search: str = ""
    limit: int = LIMIT_DEFAULT


def parsed(query: str) -> View:
    """The view that a URL's query asks for. Raises ValueError that says what is wrong with it."""
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX):
        if name not in View._fields:
            raise ValueError(f"there is no parameter {name[:SEARCH_LENGTH_MAX]!r}: {', '.join(View._fields)}")
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = value
    return View(
        symbol=_text(given, "symbol", SYMBOL_LENGTH_MAX),
        sort=_sort(given.get("sort", SORT_DEFAULT)),
        search=_text(given, "search", SEARCH_LENGTH_MAX),
        limit=_limit(given.get("limit", str(LIMIT_DEFAULT))),
    )


def _text(given: dict[str, str], name: str, length_max: int) -> str:
    text = given.get(name, "")
    if len(text) > length_max:
        raise ValueError(f"{name} has {len(text)} characters; at most {length_max}")
    return text


def _sort(name: str) -> str:
    if name not in SORTS:
        raise ValueError(f"sort is one of {', '.join(SORTS)}")
    return name


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LIMIT_MAX)) and int(text) <= LIMIT_MAX):
        raise ValueError(f"limit is a number from 0 to {LIMIT_MAX}")
    return int(text)
