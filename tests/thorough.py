"""How far tests go that could go on for ever: `make test` has minutes, `make test-quick` one (`TEST_EXTENT=quick`).
With `TEST_EXTENT=thorough` all the way."""

import os

# No name that begins with TICKCAST_: those are settings of a daemon.
ASKED = os.environ.get("TEST_EXTENT", "")
THOROUGH = ASKED == "thorough"
# One in so many of the examples that a property test has when it goes all the way.
SHARES = {"thorough": 1, "": 3, "quick": 15}


def examples(thorough: int) -> int:
    """Of a property test that has so many when it goes all the way."""
    return max(thorough // SHARES[ASKED], 1)
