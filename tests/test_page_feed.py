"""What the page is fed from: read while somebody looks, and forgotten afterwards."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from daemons import wait_until
from manual_clock import ManualClock
from simulated_loop import HORIZONS, WINDOW, SimulatedLoop, model
from tickcast.attention_rota import SYMBOLS_MAX, AttentionRota
from tickcast.board_reader import BoardReader
from tickcast.page_feed import LINGER_S, SLICE_ENTRIES, Feed, Watch
from tickcast.tape import Ticks
from tickcast.tape_reader import RING_BYTES, Place, Reading, TapeReader, entry_bytes
from tickcast.wish import Wish


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def loop(clock: ManualClock) -> Iterator[SimulatedLoop]:
    with SimulatedLoop(["SIM-A", "SIM-B", "SIM-C"], clock) as loop:
        loop.begin()
        yield loop


def watch_of(loop: SimulatedLoop) -> Watch:
    shared = loop.shared
    return Watch(BoardReader(shared.board.fd), TapeReader(shared.tape.fd), Wish(shared.wish.fd), loop.clock)


def test_what_was_there_before_anybody_looked_is_shown(loop: SimulatedLoop) -> None:
    loop.tick(3 * SLICE_ENTRIES)
    watch = watch_of(loop)
    watch.turn()
    path = watch.path("SIM-A", 240)
    assert path is not None
    assert list(path.positions) == list(range(WINDOW + 760, WINDOW + 1_000))
    assert watch.models[0]["name"] == "simulated-additive"


def test_what_comes_later_follows(loop: SimulatedLoop) -> None:
    loop.tick(30)
    watch = watch_of(loop)
    watch.turn()
    loop.tick(30)
    watch.turn()
    path = watch.path("SIM-B", 240)
    assert path is not None
    assert list(path.positions) == list(range(WINDOW, WINDOW + 20))
    assert watch.lost == 0


def test_with_another_model_the_memory_starts_anew(loop: SimulatedLoop) -> None:
    loop.tick(30)
    watch = watch_of(loop)
    watch.turn()
    loop.begin({**model(), "name": "another"})
    loop.tick_of(np.array([0]))
    watch.turn()
    assert watch.models[0]["name"] == "another"
    assert [history.symbol for history in watch.histories()] == ["SIM-A"]


def test_ticks_written_over_before_they_were_read_are_counted_as_lost(loop: SimulatedLoop) -> None:
    watch = watch_of(loop)
    loop.tick(30)
    watch.turn()
    assert watch.lost == 0
    capacity = RING_BYTES // entry_bytes(len(HORIZONS))
    numbers = np.arange(capacity + 500)
    blank = np.zeros(len(numbers))
    forecasts = np.zeros((len(numbers), len(HORIZONS)), np.float32)
    ticks = Ticks(
        ["SIM-A"] * len(numbers), blank.astype(np.uint32), numbers + 1_000, numbers, numbers, blank, forecasts
    )
    for part in np.array_split(numbers, 2):
        loop.shared.tape.append(Ticks(ticks.symbols[: len(part)], *(values[part] for values in ticks[1:])))
    watch.turn()
    assert watch.lost == 500
    path = watch.path("SIM-A", 10)
    assert path is not None
    assert path.positions[-1] == capacity + 1_499


def test_what_comes_faster_than_it_is_read_does_not_keep_all_else_waiting(
    loop: SimulatedLoop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(loop)
    read = watch._tape.read

    def read_while_more_comes(since: Place, entries_max: int) -> Reading:
        loop.tick(entries_max // 100)
        return read(since, entries_max // 100)

    monkeypatch.setattr(watch._tape, "read", read_while_more_comes)
    watch.turn()
    assert watch.filled.is_set()


def test_attention_is_asked_for_the_symbol_that_is_looked_at(loop: SimulatedLoop, clock: ManualClock) -> None:
    loop.tick(300)
    watch = watch_of(loop)
    watch.turn()
    assert watch.path("SIM-C", 240) is not None
    watch.turn()
    loop.explain()
    clock.advance(0.25)
    watch.turn()
    told = watch.attention.of("SIM-C")
    assert told is not None
    assert len(told["weights"]) == WINDOW
    assert watch.attention.of("SIM-A") is None


def test_a_symbol_nobody_knows_is_not_asked_for(loop: SimulatedLoop) -> None:
    watch = watch_of(loop)
    watch.turn()
    assert watch.path("no such", 240) is None
    assert watch.attention.wanted() == set()


def test_viewers_of_several_symbols_are_served_in_turn(clock: ManualClock) -> None:
    wish, asked = Wish.create(), []
    rota = AttentionRota(wish, dict)
    for second in range(6):
        for symbol in "ABC":
            rota.want(symbol, float(second))
        rota.turn(float(second) + 1)
        asked.append(wish.asked(second * 1_000_000_000 + 1_000_000_001))
    assert asked == ["A", "B", "C", "A", "B", "C"]
    wish.close()


def test_who_looks_no_more_is_not_asked_for_and_nobody_can_want_everything() -> None:
    wish = Wish.create()
    rota = AttentionRota(wish, lambda: {"symbol": "S0", "weights": [1.0]})
    for number in range(100):
        rota.want(f"S{number}", 0.0)
    assert len(rota.wanted()) == SYMBOLS_MAX
    rota.turn(1.0)
    assert rota.of("S0") == {"weights": [1.0]}
    rota.turn(10.0)
    assert rota.wanted() == set()
    assert rota.of("S0") is None
    wish.close()


class StepClock(ManualClock):
    """Sleeping waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = threading.Semaphore(0)

    def sleep(self, seconds: float) -> None:
        assert self.steps.acquire(timeout=30)


@pytest.fixture
def step_clock() -> Iterator[StepClock]:
    clock = StepClock()
    yield clock
    clock.advance(10 * LINGER_S)
    clock.steps.release(100)


def feed_of(loop: SimulatedLoop, clock: StepClock, opened: list[Watch]) -> Feed:
    def open_watch() -> Watch:
        opened.append(watch_of(loop))
        return opened[-1]

    return Feed(open_watch, clock)


def test_nothing_is_read_until_somebody_looks_and_all_is_forgotten_a_while_after(
    loop: SimulatedLoop, step_clock: StepClock
) -> None:
    opened: list[Watch] = []
    feed = feed_of(loop, step_clock, opened)
    assert not feed.is_running
    loop.tick(30)
    first = feed.watch()
    assert len(first.histories()) == 3
    step_clock.advance(LINGER_S - 1)
    assert feed.watch() is first
    step_clock.advance(LINGER_S - 1)
    step_clock.steps.release()
    assert feed.is_running
    step_clock.advance(2)
    step_clock.steps.release()
    wait_until(lambda: not feed.is_running, "the feed has ended")
    assert feed.watch() is not first
    assert len(opened) == 2


def test_a_feed_that_failed_starts_anew_for_who_looks_next(
    loop: SimulatedLoop, step_clock: StepClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: failures.append(failed.exc_value))
    opened: list[Watch] = []
    feed = feed_of(loop, step_clock, opened)
    first = feed.watch()
    monkeypatch.setattr(first, "turn", _failing)
    step_clock.steps.release()
    wait_until(lambda: not feed.is_running, "the feed has failed")
    assert feed.watch() is not first
    wait_until(lambda: failures, "it has said why")
    assert isinstance(failures[0], ArithmeticError)


def _failing() -> None:
    raise ArithmeticError("a bug")


def test_a_path_is_whole_while_the_memory_goes_on(loop: SimulatedLoop) -> None:
    loop.tick(3_000)
    watch = watch_of(loop)
    watch.turn()
    torn: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            path = watch.path("SIM-A", 500)
            assert path is not None
            positions = list(path.positions)
            if positions != list(range(positions[0], positions[0] + len(positions))):
                torn.append(positions[0])
            if not len(path.positions) == len(path.mids) == len(path.event_times_ns) == len(path.forecasts) / 10:
                torn.append(-1)

    looker = threading.Thread(target=look)
    looker.start()
    deadline_s = time.monotonic() + 1.0
    while time.monotonic() < deadline_s:
        loop.tick(600)
        watch.turn()
    done.set()
    looker.join()
    assert torn == []
