"""Which bundle answers a symbol: by the shell patterns of `models.symbols`, and by what it was trained for.

Between decode and `windows.push` on the way of a tick; the daemon and the audit must not differ in it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Literal

from tickcast.config import ModelConfig
from tickcast.manifest import Manifest

# Symbols whose answer is remembered, so that a flood of unknown names cannot fill memory.
SYMBOLS_CACHED = 100_000

# Where no bundle answers: no entry's pattern matches, or the entry's bundle was trained for others.
Unanswered = Literal["no_model", "untrained"]
NO_MODEL, UNTRAINED = -1, -2
UNANSWERED: Mapping[int, Unanswered] = MappingProxyType({NO_MODEL: "no_model", UNTRAINED: "untrained"})

# Symbol -> place of its bundle among the configuration's `models`, or one of `UNANSWERED`, all of which are below 0.
Route = Callable[[str], int]

WILDCARDS = frozenset("*?[")


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a symbol, upper and lower case apart, fits one of `patterns`; the answers given last are remembered."""
    if "*" in patterns:
        return lambda symbol: True
    return lru_cache(SYMBOLS_CACHED)(_fits(patterns))


def route(entries: Sequence[ModelConfig], manifests: Sequence[Manifest]) -> Route:
    """Whose a symbol is: of the first of `entries` with a pattern that it fits, if that one's bundle knows it.

    `manifests` are of the entries' bundles. The answers given last are remembered.
    """
    trained = [trained_symbols(*each) for each in zip(entries, manifests, strict=True)]
    if "*" in entries[0].symbols and not trained[0]:
        return lambda symbol: 0
    tests = [(_fits(entry.symbols), _fits(known or ("*",))) for entry, known in zip(entries, trained, strict=True)]

    @lru_cache(SYMBOLS_CACHED)
    def place_of(symbol: str) -> int:
        for place, (takes, knows) in enumerate(tests):
            if takes(symbol):
                return place if knows(symbol) else UNTRAINED
        return NO_MODEL

    return place_of


def trained_symbols(entry: ModelConfig, manifest: Manifest) -> tuple[str, ...]:
    """Names or patterns of the only symbols that the entry's bundle answers; none: it answers all that match."""
    return () if entry.allow_untrained_symbols else manifest.symbols


def overlaps(entries: Sequence[ModelConfig]) -> Iterator[str]:
    """For each pattern that an earlier entry's takes symbols from, what becomes of them, in words."""
    for place, entry in enumerate(entries):
        for before, other in enumerate(entries[:place]):
            for pattern in entry.symbols:
                if taker := next((each for each in other.symbols if overlap(each, pattern)), None):
                    yield (
                        f"models.{place}.symbols: {pattern!r} overlaps with {taker!r} of models.{before}.symbols: "
                        f"what fits both is answered by models.{before}"
                    )


def overlap(one: str, other: str) -> bool:
    """Whether there is a symbol that fits both patterns."""
    ours, theirs = _pieces(one), _pieces(other)
    # Each character named, its neighbours, for classes have bounds, and one that nobody names.
    named = {ord(character) + by for character in f"{one}{other}?" for by in (-1, 0, 1)}
    alphabet = [chr(code) for code in (*named, max(named) + 1) if 0 <= code <= sys.maxunicode]

    @cache
    def meet(at: int, there: int) -> bool:
        """Whether what is left of both from these pieces on fits a common text."""
        if at == len(ours) or there == len(theirs):
            return set(ours[at:]) | set(theirs[there:]) <= {"*"}
        if "*" in (ours[at], theirs[there]):  # it takes nothing, or what the other's next piece stands for
            return meet(at + 1, there) or meet(at, there + 1)
        is_shared = any(fnmatchcase(each, ours[at]) and fnmatchcase(each, theirs[there]) for each in alphabet)
        return is_shared and meet(at + 1, there + 1)

    return meet(0, 0)


def _fits(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a symbol fits one of `patterns`, most of which may be plain names: a market's has thousands."""
    names = frozenset(pattern for pattern in patterns if WILDCARDS.isdisjoint(pattern))
    shapes = [pattern for pattern in patterns if pattern not in names]
    return lambda symbol: symbol in names or any(fnmatchcase(symbol, shape) for shape in shapes)


def _pieces(pattern: str) -> list[str]:
    """`pattern` cut into what fits any text (`*`) and what fits one character."""
    pieces, at = [], 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "[":
            first = at + 2 if pattern[at + 1 : at + 2] == "!" else at + 1
            closing = pattern.find("]", first + 1)  # one that stands first belongs to the class
            end = closing + 1 if closing >= 0 else end
        pieces.append(pattern[at:end])
        at = end
    return pieces
