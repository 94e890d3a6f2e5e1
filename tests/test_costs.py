"""Costs: measured points, what lies between and beyond them, and the bound on measuring."""

import pytest
from tickcast import costs
from tickcast.costs import Costs

MEASURED = {"window": {1: 100e-6, 2: 140e-6, 4: 240e-6}, "prefix": {1: 90e-6}, "finish": {1: 20e-6, 8: 34e-6}}


@pytest.fixture
def measured():
    return Costs(MEASURED, rows_max=8)


def test_measured_points_are_kept(measured):
    assert [measured.window_s(rows) for rows in (1, 2, 4)] == pytest.approx([100e-6, 140e-6, 240e-6])


def test_what_lies_between_is_interpolated(measured):
    assert measured.window_s(3) == pytest.approx(190e-6)
    assert measured.finish_s(4) == pytest.approx(26e-6)


def test_beyond_the_last_point_cost_is_in_proportion_to_it(measured):
    assert measured.window_s(8) == pytest.approx(480e-6)
    assert measured.prefix_s(5) == pytest.approx(450e-6)


def test_more_rows_than_a_run_takes_cost_several_runs(measured):
    assert measured.finish_s(19) == pytest.approx(2 * measured.finish_s(8) + measured.finish_s(3))
    assert measured.finish_s(16) == pytest.approx(2 * measured.finish_s(8))


def test_nothing_costs_nothing(measured):
    assert measured.window_s(0) == 0.0


def test_a_graph_that_was_not_measured_has_no_cost():
    with pytest.raises(KeyError):
        Costs({"window": {1: 1e-4}}, 8).finish_s(1)


class _Machine:
    """A clock that only a run moves: so many seconds a row."""

    def __init__(self, monkeypatch, row_s):
        self.now_s, self.row_s, self.runs = 0.0, row_s, []
        monkeypatch.setattr(costs.time, "perf_counter", lambda: self.now_s)

    def run(self, rows):
        self.runs.append(rows)
        self.now_s += rows * self.row_s


def test_a_quick_graph_is_measured_at_every_count(monkeypatch):
    machine = _Machine(monkeypatch, row_s=1e-6)
    assert costs.measure(machine.run, (1, 2, 4)) == pytest.approx({1: 1e-6, 2: 2e-6, 4: 4e-6})
    assert machine.runs == [1] * (1 + costs.REPEATS) + [2] * (1 + costs.REPEATS) + [4] * (1 + costs.REPEATS)


def test_a_slow_graph_is_measured_once_and_no_further(monkeypatch):
    machine = _Machine(monkeypatch, row_s=1.0)
    assert costs.measure(machine.run, (1, 2, 4)) == {1: 1.0}
    assert machine.runs == [1, 1]


def test_one_interruption_does_not_count(monkeypatch):
    machine = _Machine(monkeypatch, row_s=1e-6)

    def run(rows):
        machine.run(rows)
        if len(machine.runs) == 3:
            machine.now_s += 1e-3

    assert costs.measure(run, (1,)) == pytest.approx({1: 1e-6})
