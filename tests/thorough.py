"""How far tests go that could go on for ever: `make test` has minutes. With `TICKCAST_TESTS=thorough` all the way."""

import os

THOROUGH = os.environ.get("TICKCAST_TESTS") == "thorough"
SHARE = 3


def examples(thorough: int) -> int:
    """Of a property test that has so many when it goes all the way."""
    return thorough if THOROUGH else thorough // SHARE
