"""Asking again until a shadow may be promoted: what `tickcast promote --wait-s` does.

Beside the way of a tick. Looks are at fixed numbers of scored ticks, so that whoever asks often finds no more than who
asks once.
"""

from collections.abc import Callable

from tickcast.clock import Clock
from tickcast.promotion import Judged
from tickcast.promotion_looks import LOOKS_MAX
from tickcast.windows import NANOSECONDS

PAUSE_S_MIN = 2.0
# Reading the topics takes a broker's and a host's time, the more of it the longer they are: at most half of it.
PAUSE_SHARE = 1


def judged(judge: Callable[[], Judged], wait_s: float, clock: Clock, tell: Callable[[str], None]) -> Judged:
    """What `judge` says last: of a shadow that is better, of one that no look is left for, or after `wait_s`.

    `tell` hears why it is not decided yet. Raises what `judge` raises.
    """
    give_up_ns = clock.monotonic_ns() + round(wait_s * NANOSECONDS)
    while True:
        begun_ns = clock.monotonic_ns()
        found = judge()
        ended_ns = clock.monotonic_ns()
        left_s = (give_up_ns - ended_ns) / NANOSECONDS
        if found.verdict.is_better or len(found.verdict.looks) == LOOKS_MAX or left_s <= 0:
            return found
        tell(found.verdict.reason)
        clock.sleep(min(left_s, max(PAUSE_S_MIN, PAUSE_SHARE * (ended_ns - begun_ns) / NANOSECONDS)))
