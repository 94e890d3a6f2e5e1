"""A symbol on two partitions is counted when it is met, and told without drowning the log."""

import pytest
from manual_clock import ManualClock
from structlog.testing import capture_logs
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.clients import Partition
from tickcast.manifest import WindowRules
from tickcast.partition_state import PartitionState, Recovery
from tickcast.partition_windows import PartitionWindows
from tickcast.symbol_homes import SymbolHomes
from tickcast.windows import Tick, Windows

FIRST, SECOND, OTHER = Partition("ticks", 0), Partition("ticks", 1), Partition("other", 0)


class Desk:
    """Partitions with windows, and what was counted."""

    def __init__(self, symbols_max: int = 1_000) -> None:
        self.board = Board.create(ManualClock())
        self.states: dict[Partition, PartitionState] = {}
        self.homes = SymbolHomes(self.states, self.board.counter("tickcast_symbols_on_two_partitions_total"))
        self._offset = 0
        for partition in (FIRST, SECOND, OTHER):
            windows = Windows(WindowRules(window=2), ("value",), 10_000, symbols_max)
            self.states[partition] = PartitionState(partition, Recovery(0, 0, "fresh"), PartitionWindows([windows]))
            self.homes.take_up(self.states[partition])

    def poll(self, partition: Partition, *symbols: str) -> float:
        """Ticks of `symbols` on `partition`; what was counted so far."""
        state = self.states[partition]
        for symbol in symbols:
            self._offset += 1
            state.windows.decides[0](Tick(self._offset, symbol, self._offset, (0.0,)))
        self.homes.look(state)
        assert state.windows.newcomers == []
        samples = BoardReader(self.board.fd).samples()
        return next(s.values[0] for s in samples if s.metric.name == "tickcast_symbols_on_two_partitions_total")


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.board.close()


def test_a_symbol_is_counted_where_it_comes_second_and_once(desk):
    assert desk.poll(FIRST, "A", "B", "A") == 0
    assert desk.poll(SECOND, "C", "C") == 0
    with capture_logs() as logged:
        assert desk.poll(SECOND, "A", "A", "C") == 1
        assert desk.poll(SECOND, "A") == 1
        assert desk.poll(FIRST, "A", "C") == 2
    assert logged[0]["symbols"] == {"A": 0}
    assert (logged[0]["topic"], logged[0]["partition"], logged[1]["so_far"]) == ("ticks", 1, 2)


def test_the_same_symbol_on_another_topic_is_another_one(desk):
    desk.poll(FIRST, "A")
    assert desk.poll(OTHER, "A") == 0


def test_a_partition_that_was_given_back_counts_no_more(desk):
    desk.poll(FIRST, "A")
    del desk.states[FIRST]
    assert desk.poll(SECOND, "A") == 0


def test_a_symbol_that_was_forgotten_may_move():
    desk = Desk(symbols_max=1)
    desk.poll(FIRST, "A", "B")
    assert desk.poll(SECOND, "A") == 0
    assert desk.poll(SECOND, "B") == 1
    desk.board.close()


def test_a_topic_without_keys_does_not_drown_the_log(desk):
    symbols = [f"S{number}" for number in range(600)]
    desk.poll(FIRST, *symbols)
    with capture_logs() as logged:
        for symbol in symbols:
            total = desk.poll(SECOND, symbol)
    assert total == 600
    assert [line["so_far"] for line in logged] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


def test_windows_that_nobody_asks_keep_no_list():
    windows = Windows(WindowRules(window=2), ("value",), 10_000, 10)
    windows.decide(Tick(0, "A", 0, (0.0,)))
    assert windows.newcomers is None
    assert "A" in windows
    assert "B" not in windows
