"""A loop that makes no turn any more is ended from the second process, for its supervisor to start it again.

The supervisor's watchdog does the same where there is one; this holds without. What hangs cannot end itself.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Protocol

LOOK_INTERVAL_S = 1.0
# After it was told to say where it hangs.
LAST_WORDS_S = 5.0


class Turns(Protocol):
    """What the board tells: `board_reader.BoardReader`."""

    def ready(self) -> bool:
        """Whether the loop serves."""

    def turn_s(self) -> float:
        """When it made its last turn, on the monotonic clock."""


def end_when_hung(
    turns: Turns,
    loop_pid: int,
    timeout_s: int,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    kill: Callable[[int, int], None] = os.kill,
) -> None:
    """Watch the loop's process; end it when it makes no turn for `timeout_s`. Its start may take as long as it likes.

    SIGABRT has it write where each thread stands; SIGKILL follows.
    """
    served = False
    while not served or now_s() - turns.turn_s() < timeout_s:
        served = served or turns.ready()
        sleep(LOOK_INTERVAL_S)
    sys.stderr.write(f"the loop (pid {loop_pid}) has made no turn for {timeout_s} s: it is ended\n")
    sys.stderr.flush()
    kill(loop_pid, signal.SIGABRT)
    sleep(LAST_WORDS_S)
    kill(loop_pid, signal.SIGKILL)
