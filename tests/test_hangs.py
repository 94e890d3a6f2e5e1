"""A loop that hangs is ended from the second process, one that is starting or turning is not."""

import signal

import pytest
from tickcast import hangs

TIMEOUT_S = 10


class Loop:
    """A loop on a clock of the test's own, which a look at it moves on."""

    def __init__(self, ready_from_s: float, last_turn_s: float) -> None:
        self.now_s = 0.0
        self.killed: list[tuple[int, int, float]] = []
        self._ready_from_s = ready_from_s
        self._last_turn_s = last_turn_s

    def ready(self) -> bool:
        return self.now_s >= self._ready_from_s

    def turn_s(self) -> float:
        return min(self.now_s, self._last_turn_s)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s > 1_000:
            raise StopIteration("nobody was ended")

    def watch(self) -> None:
        hangs.end_when_hung(self, 1, TIMEOUT_S, lambda: self.now_s, self.sleep, self.kill)

    def kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number, self.now_s))


def test_a_loop_without_turns_is_told_to_say_where_it_hangs_and_then_killed(capfd):
    loop = Loop(ready_from_s=5, last_turn_s=100)
    loop.watch()
    (_, first, told_s), (_, second, killed_s) = loop.killed
    assert (first, second) == (signal.SIGABRT, signal.SIGKILL)
    assert told_s == 100 + TIMEOUT_S
    assert killed_s == told_s + hangs.LAST_WORDS_S
    assert "no turn for 10 s" in capfd.readouterr().err


@pytest.mark.parametrize(("ready_from_s", "last_turn_s"), [(0, 2_000), (2_000, 0)], ids=["turning", "starting"])
def test_a_loop_that_turns_or_is_still_starting_is_left_alone(ready_from_s, last_turn_s):
    loop = Loop(ready_from_s, last_turn_s)
    with pytest.raises(StopIteration):
        loop.watch()
    assert loop.killed == []
