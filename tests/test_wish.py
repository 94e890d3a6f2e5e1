"""What somebody looks at, from one process to the other."""

from collections.abc import Iterator

import pytest
from tickcast.codec import SYMBOL_LENGTH_MAX
from tickcast.wish import HOLDS_NS, Wish


@pytest.fixture
def wish() -> Iterator[Wish]:
    wish = Wish.create()
    yield wish
    wish.close()


def test_nobody_has_asked(wish: Wish) -> None:
    assert wish.asked(12_345) == ""


def test_the_other_side_sees_the_symbol_while_somebody_looks(wish: Wish) -> None:
    other = Wish(wish.fd)
    other.ask("BTC-USDT", 1_000)
    assert wish.asked(1_000 + HOLDS_NS) == "BTC-USDT"
    assert wish.asked(1_001 + HOLDS_NS) == ""


def test_the_longest_symbol_there_may_be_fits(wish: Wish) -> None:
    longest = "\N{GRINNING FACE}" * (SYMBOL_LENGTH_MAX - 10)
    wish.ask(longest, 1)
    assert wish.asked(1) == longest


def test_no_symbol_is_so_long(wish: Wish) -> None:
    with pytest.raises(ValueError, match="there is room for"):
        wish.ask("x" * 2_000, 1)
