"""The loop's line about itself in parts."""

import inspect

import pytest
from tickcast import pulse
from tickcast.page_state import UNANSWERED, State

LOOP = "2 partitions, 1 not taken up yet, 1,064 symbols"


@pytest.mark.parametrize(
    "pace", ["1,204 ticks/s, lag 12,345, p99 under 1.5 ms", "0 ticks/s, lag 0", "lag 7, p99 over 10 s"]
)
def test_the_pace_is_left_to_the_numbers(pace: str) -> None:
    assert State.of({"detail": {"status": f"{LOOP}, {pace}"}}) == State(LOOP, "", "", True)


def test_what_became_of_a_reload_stands_by_itself() -> None:
    state = State.of({"detail": {"status": f"{LOOP}, 9 ticks/s, lag 0; reload refused: not a bundle, lag 0; no more"}})
    assert state.status == LOOP
    assert state.remark == "reload refused: not a bundle, lag 0; no more"


def test_a_hindrance_stays_and_so_does_the_reason() -> None:
    line = "consuming is paused: 3 deliveries, too many; 2 partitions, 9 ticks/s, lag 3; reload: btc 2 answers"
    state = State.of({"detail": {"status": line}, "reason": f"the loop is not ready: {line}"})
    assert state.status == "consuming is paused: 3 deliveries, too many; 2 partitions"
    assert state.reason == f"the loop is not ready: {state.status}"
    assert state.remark == "reload: btc 2 answers"
    assert state.knows_lag


def test_before_the_loop_says_anything_there_is_nothing() -> None:
    assert State.of({"detail": {}}) == State("", "", "", True)


def test_the_words_are_those_of_the_loop() -> None:
    assert f'"{UNANSWERED}"' in inspect.getsource(pulse)
    assert not State.of({"detail": {"status": f"{UNANSWERED}; {LOOP}, lag 0"}}).knows_lag
