"""When a partition counts as stalled, and what is none: a lunch break, back-pressure, a cluster that is away."""

import pytest
from tickcast.clients import Partition
from tickcast.errors import StalledError
from tickcast.partition_state import PartitionState, Recovery
from tickcast.stalls import Stalls

FIRST, SECOND = Partition("ticks", 0), Partition("ticks", 1)
TIMEOUT_S = 60
SECOND_NS = 1_000_000_000


def _states(**of: tuple[int, int]) -> dict[Partition, PartitionState]:
    """`first=(position, end)` and the like."""
    states = {}
    for name, (position, end) in of.items():
        partition = {"first": FIRST, "second": SECOND}[name]
        states[partition] = PartitionState(partition, Recovery(position, position, "fresh"), None)  # type: ignore[arg-type]
        states[partition].end = end
    return states


def test_a_partition_with_more_to_read_that_is_not_read_is_stalled_after_the_timeout():
    stalls, states = Stalls(TIMEOUT_S), _states(first=(5, 9), second=(7, 7))
    for second in range(TIMEOUT_S):
        stalls.look(states, exempt=False, now_ns=second * SECOND_NS)
    with pytest.raises(StalledError, match="ticks/0 at 5 of 9"):
        stalls.look(states, exempt=False, now_ns=TIMEOUT_S * SECOND_NS)


def test_one_step_in_time_is_progress():
    stalls, states = Stalls(TIMEOUT_S), _states(first=(5, 900))
    for second in range(10 * TIMEOUT_S):
        states[FIRST].position = 5 + second // (TIMEOUT_S - 1)
        stalls.look(states, exempt=False, now_ns=second * SECOND_NS)


@pytest.mark.parametrize("case", ["nothing-new", "exempt"])
def test_a_lunch_break_and_what_nobody_could_read_are_no_stalls(case):
    stalls, states = Stalls(TIMEOUT_S), _states(first=(9, 9) if case == "nothing-new" else (5, 9))
    for second in range(10 * TIMEOUT_S):
        stalls.look(states, exempt=case == "exempt", now_ns=second * SECOND_NS)


def test_after_a_break_the_time_begins_anew():
    stalls, states = Stalls(TIMEOUT_S), _states(first=(5, 9))
    for second in range(100):
        stalls.look(states, exempt=second == 50, now_ns=second * SECOND_NS)
    with pytest.raises(StalledError):
        stalls.look(states, exempt=False, now_ns=(51 + TIMEOUT_S) * SECOND_NS)
