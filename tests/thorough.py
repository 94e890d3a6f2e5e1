"""How far tests go that could go on for ever: `make test` has minutes, `make test-quick` one (`TICKCAST_TESTS=quick`).
With `TICKCAST_TESTS=thorough` all the way."""

import os

ASKED = os.environ.get("TICKCAST_TESTS", "")
THOROUGH = ASKED == "thorough"
# One in so many of the examples that a property test has when it goes all the way.
SHARES = {"thorough": 1, "": 3, "quick": 15}


def examples(thorough: int) -> int:
    """Of a property test that has so many when it goes all the way."""
    return max(thorough // SHARES[ASKED], 1)
