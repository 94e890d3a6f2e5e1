"""Carries: good for one state of one window, once; bounded."""

import numpy as np
import pytest
from tickcast import carries as carries_module
from tickcast.carries import Carries
from tickcast.manifest import WindowRules
from tickcast.windows import SymbolWindow, Tick, Windows
from toy_engine import ToyEngine

COLUMNS = ("value",)
RULES = WindowRules(window=3)
CARRY_BYTES = 8  # of the toy engine: one float64


class Feed:
    """Ticks of one symbol into one window."""

    def __init__(self, engine: ToyEngine) -> None:
        self._engine = engine
        self._windows = Windows(RULES, COLUMNS, 1, 1_000, 10)
        self._offset = 0
        self.window: SymbolWindow

    def tick(self) -> int:
        """The next tick; returns its row's position."""
        row = self._windows.decide(Tick(self._offset, "A", self._offset, (float(self._offset**2),))).row
        self._offset += 1
        if row is None:
            return -1
        row.window.push(row.position, self._engine.features(np.array([[row.previous, row.current]]))[0])
        self.window = row.window
        return row.position


@pytest.fixture
def engine():
    return ToyEngine(RULES, COLUMNS)


@pytest.fixture
def feed(engine):
    feed = Feed(engine)
    for _ in range(6):
        feed.tick()
    return feed


def test_a_carry_answers_the_next_tick_as_the_whole_window_does(engine, feed):
    carries = Carries(engine, 10 * CARRY_BYTES)
    carries.want(feed.window)
    assert carries.prepare(4) == 1
    position = feed.tick()
    carry = carries.take(feed.window, position)
    assert carry is not None
    pair = np.array([[[25.0], [36.0]]])
    forecast, _ = engine.finish(pair, carry)
    assert forecast.tolist() == engine.window(feed.window.view(position)[None]).tolist()


def test_a_carry_is_used_once_and_never_for_another_state(engine, feed):
    carries = Carries(engine, 10 * CARRY_BYTES)
    carries.want(feed.window)
    carries.prepare(4)
    position = feed.tick()
    assert carries.take(feed.window, position + 1) is None  # prepared for another state: gone with the question
    assert carries.take(feed.window, position) is None


def test_a_wish_that_a_tick_overtook_is_dropped(engine, feed):
    carries = Carries(engine, 10 * CARRY_BYTES)
    carries.want(feed.window)
    feed.tick()
    assert carries.prepare(4) == 0
    assert carries.wanted == 0


def test_wishes_are_served_in_slices_oldest_first(engine):
    feeds = [Feed(engine) for _ in range(5)]
    carries = Carries(engine, 10 * CARRY_BYTES)
    for feed in feeds:
        for _ in range(6):
            feed.tick()
        carries.want(feed.window)
    assert [carries.prepare(2), carries.wanted, carries.prepare(2), carries.prepare(2), carries.prepare(2)] == [
        2,
        3,
        2,
        1,
        0,
    ]


def test_the_pool_is_bounded_and_the_oldest_goes_first(engine):
    feeds = [Feed(engine) for _ in range(3)]
    carries = Carries(engine, 2 * CARRY_BYTES)
    for feed in feeds:
        for _ in range(6):
            feed.tick()
        carries.want(feed.window)
        carries.prepare(1)
    taken = [carries.take(feed.window, feed.tick()) is not None for feed in feeds]
    assert taken == [False, True, True]


def test_clearing_forgets_carries_and_wishes(engine, feed):
    carries = Carries(engine, 10 * CARRY_BYTES)
    carries.want(feed.window)
    carries.prepare(1)
    carries.want(feed.window)
    carries.clear()
    assert carries.wanted == 0
    assert carries.take(feed.window, feed.tick()) is None


def test_wishes_that_nothing_leaves_time_for_are_bounded(engine, monkeypatch):
    """As under a backlog in which each symbol comes for a while and never again."""
    monkeypatch.setattr(carries_module, "WISHES_MAX", 3)
    carries = Carries(engine, 10 * CARRY_BYTES)
    feeds = [Feed(engine) for _ in range(5)]
    for feed in feeds:
        for _ in range(6):
            feed.tick()
        carries.want(feed.window)
    assert carries.wanted == 3
    assert carries.prepare(4) == 3
    taken = [carries.take(feed.window, feed.tick()) is not None for feed in feeds]
    assert taken == [False, False, True, True, True]
