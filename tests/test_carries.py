"""Carries: good for one state of one window, in ladders as high as bursts ask for; bounded."""

import numpy as np
import pytest
from manual_clock import ManualClock
from tickcast import carries as carries_module
from tickcast.board import Board
from tickcast.carries import Carries
from tickcast.inference import Inference
from tickcast.instruments import StageTimer
from tickcast.manifest import WindowRules
from tickcast.row_pool import RowPool
from tickcast.windows import Row, Tick, Windows
from toy_engine import ToyEngine

COLUMNS = ("value",)
RULES = WindowRules(window=5)
CARRY_BYTES = 16  # of the toy engine: two float64


class Desk:
    """Ticks of some symbols into windows and through the inference, all polls small unless it is said."""

    def __init__(self, bytes_max: int = 100 * CARRY_BYTES, splits: bool = True, threads: int = 1) -> None:
        self.engine = ToyEngine(RULES, COLUMNS, splits=splits)
        self.windows = Windows(RULES, COLUMNS, 1_000, 100)
        self.pool = RowPool(RULES.window, 1)
        self.carries = Carries(self.engine, self.pool, bytes_max)  # type: ignore[arg-type]
        self.board = Board.create(ManualClock())
        stages = StageTimer(self.board, ManualClock())
        self.inference = Inference(self.engine, self.pool, self.carries, stages, threads)  # type: ignore[arg-type]
        self._offset = 0
        self.forecasts: list[tuple[str, float]] = []
        self.paths: list[str] = []  # of the last poll

    def poll(self, symbols: str, is_backlog: bool = False, cut_after: int | None = None) -> list[str]:
        """One poll with a tick of each of `symbols`; the path that each due one took, in the order of the ticks.

        With `cut_after` there is a long silence after so many.
        """
        rows: list[Row] = []
        for number, symbol in enumerate(symbols):
            self._offset += 100 if number == cut_after else 0
            value = float(self._offset**2 % 97)
            row = self.windows.decide(Tick(self._offset, symbol, self._offset, (value,))).row
            self._offset += 1
            if row is not None:
                rows.append(row)
        paths = {}
        for answers in self.inference.answer(rows, [row.due for row in rows]):
            for index, forecast in zip(answers.indices, answers.forecasts[:, 0].tolist(), strict=True):
                paths[index] = str(answers.path)
                self.forecasts.append((rows[index].tick.symbol, forecast))
        self.inference.settle(is_backlog)
        self.paths = [paths[index] for index in sorted(paths)]
        return self.paths

    def warm(self, symbols: str, ticks: int = 7) -> None:
        """Fill the windows, and fulfil every wish."""
        for _ in range(ticks):
            self.poll(symbols)
        self.idle()

    def idle(self) -> None:
        """Time enough to prepare everything."""
        while self.inference.carries_wanted:
            assert self.inference.prepare()


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.board.close()


def test_a_carry_answers_the_next_tick_and_only_that(desk):
    desk.warm("A")
    assert desk.poll("A") == ["finish"]
    assert desk.poll("A") == ["window"]


def test_every_path_gives_the_same_forecasts(desk):
    plain = Desk(splits=False)
    for symbols in ("AB", "A", "B", "AAA", "ABAB", "BBBBAB", "A", "AAAAAAAA", "AB") * 3:
        for each in (desk, plain):
            each.poll(symbols)
        desk.idle()
    assert desk.engine.finished > 0
    for symbol in "AB":
        mine, theirs = ([f for s, f in each.forecasts if s == symbol] for each in (desk, plain))
        assert mine == theirs
    plain.board.close()


def test_a_burst_that_found_too_few_carries_makes_the_ladder_higher(desk):
    desk.warm("A")
    assert desk.poll("AAA") == ["finish", "window", "window"]
    desk.idle()
    assert desk.poll("AAAAA") == ["finish"] * 4 + ["window"]  # as high as it goes: one less than the window


def test_a_burst_tick_by_tick_climbs_the_ladder(desk):
    desk.warm("A")
    desk.poll("AAA")
    desk.idle()
    assert [desk.poll("A") for _ in range(5)] == [["finish"]] * 4 + [["window"]]


def test_a_backlog_asks_for_nothing_and_learns_nothing(desk):
    desk.warm("A")
    assert desk.poll("AAA", is_backlog=True) == ["finish", "window", "window"]
    assert not desk.inference.carries_wanted
    assert desk.poll("A") == ["window"]
    desk.idle()
    assert desk.poll("AA") == ["finish", "window"]


def test_a_ladder_whose_upper_half_rests_becomes_lower(desk, monkeypatch):
    monkeypatch.setattr(carries_module, "ROWS_UNTIL_LOWERED", 3)
    desk.warm("A")
    desk.poll("AAA")
    desk.idle()
    for _ in range(12):
        assert desk.poll("A") == ["finish"]
        desk.idle()
    assert desk.poll("AA") == ["finish", "window"]


def test_a_carry_that_grows_with_its_rows_is_prepared_for_one_tick_only(desk):
    desk.engine.carry_grows = True
    desk.carries = Carries(desk.engine, desk.pool, 100 * CARRY_BYTES)  # type: ignore[arg-type]
    stages = StageTimer(desk.board, ManualClock())
    desk.inference = Inference(desk.engine, desk.pool, desk.carries, stages, 1)  # type: ignore[arg-type]
    desk.warm("A")
    desk.poll("AAA")
    desk.idle()
    assert desk.poll("AAA") == ["finish", "window", "window"]


def test_a_cut_voids_what_was_prepared(desk):
    desk.windows = Windows(WindowRules(window=5, max_gap_s=1e-8), COLUMNS, 1_000, 100)
    desk.warm("A")
    desk._offset += 100
    assert [desk.poll("A") for _ in range(7)] == [[]] * 6 + [["window"]]


def test_a_cut_in_the_middle_of_a_poll_ends_what_the_ladder_answers(desk):
    rules = WindowRules(window=5, max_gap_s=1e-8)
    plain = Desk(splits=False)
    for each in (desk, plain):
        each.windows = Windows(rules, COLUMNS, 1_000, 100)
        each.warm("A")
        each.poll("AAAA")
        each.idle()
        each.poll("A" * 16, cut_after=2)
    assert desk.paths == ["finish"] * 2 + ["window"] * 8  # the other six fill the window anew
    assert desk.forecasts == plain.forecasts
    plain.board.close()


def test_wishes_are_served_in_slices_oldest_first(desk):
    for _ in range(7):
        desk.poll("ABCDE")
    assert [desk.inference.prepare(), desk.carries.wanted, desk.inference.prepare()] == [2, 3, 2]
    assert desk.poll("ABCDE") == ["finish"] * 4 + ["window"]


def test_the_pool_is_bounded_and_the_oldest_goes_first():
    desk = Desk(bytes_max=2 * CARRY_BYTES)
    desk.warm("ABC")
    assert desk.poll("ABC") == ["window", "finish", "finish"]
    desk.board.close()


def test_clearing_forgets_carries_and_wishes(desk):
    desk.warm("A")
    desk.poll("A")
    desk.idle()
    desk.carries.clear()
    assert not desk.inference.carries_wanted
    assert desk.poll("A") == ["window"]


def test_wishes_that_nothing_leaves_time_for_are_bounded(desk, monkeypatch):
    """As under a backlog in which each symbol comes for a while and never again."""
    monkeypatch.setattr(carries_module, "WISHES_MAX", 3)
    for _ in range(7):
        desk.poll("ABCDE")
    assert desk.carries.wanted == 3
    desk.idle()
    assert desk.poll("ABCDE") == ["window"] * 2 + ["finish"] * 3


def test_several_threads_give_the_same_forecasts_in_the_same_order(monkeypatch):
    one, two = Desk(splits=False), Desk(splits=False, threads=2)
    for desk in (one, two):
        desk.engine.batch_max = 3
        for _ in range(9):
            desk.poll("ABCDEFGHAABB")
        desk.board.close()
    assert two.forecasts == one.forecasts
    assert len(one.forecasts) > 50


def test_no_forecast_depends_on_how_the_ticks_were_cut_into_polls():
    rng = np.random.default_rng(5)
    symbols = "".join(rng.choice(list("ABC"), 300))
    whole, cut = Desk(splits=False), Desk()
    for symbol in symbols:
        whole.poll(symbol)
    begin = 0
    while begin < len(symbols):
        end = begin + int(rng.integers(1, 9))
        cut.poll(symbols[begin:end])
        begin = end
        for _ in range(int(rng.integers(0, 3))):
            cut.inference.prepare()
    for symbol in "ABC":
        assert [f for s, f in cut.forecasts if s == symbol] == [f for s, f in whole.forecasts if s == symbol]
    assert cut.engine.finished > 50
    for desk in (whole, cut):
        desk.board.close()
