"""Which symbols a bundle answers: the shell patterns of `models.symbols`.

Between decode and `windows.push` on the way of a tick; the daemon and the audit must not differ in it.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

# Symbols whose answer is remembered, so that a flood of unknown names cannot fill memory.
SYMBOLS_CACHED = 100_000


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a symbol, upper and lower case apart, fits one of `patterns`; the answers given last are remembered."""

    if "*" in patterns:
        return lambda symbol: True

    @lru_cache(SYMBOLS_CACHED)
    def matches(symbol: str) -> bool:
        return any(fnmatchcase(symbol, pattern) for pattern in patterns)

    return matches
