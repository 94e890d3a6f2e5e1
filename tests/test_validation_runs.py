"""Runs of validation ticks: which are chosen, and that they come back from their file."""

import numpy as np
import pytest
from tickcast.manifest import WindowRules
from tickcast_export import dataset, validation_runs
from tickcast_export.dataset import Rows
from tickcast_export.simulator import simulate

WINDOW = 4


@pytest.fixture(scope="module")
def rows() -> Rows:
    return dataset.cut(simulate(400, 2, 1), WindowRules(window=WINDOW))


def test_a_run_holds_the_raw_ticks_of_all_its_windows(rows):
    ends = np.arange(20, 50)
    (run,) = validation_runs.chosen(rows, ends, WINDOW)
    assert run.shape == (WINDOW + len(ends), len(rows.columns))
    whole = rows.windows(ends, WINDOW)
    for index in range(len(ends)):
        window = run[index : index + WINDOW + 1]
        np.testing.assert_array_equal(window[1:], whole[index][1:])  # of the first tick the seconds are not used
        np.testing.assert_array_equal(window[0, :-1], whole[index][0, :-1])


def test_a_run_ends_where_the_next_row_is_not_to_be_validated_on(rows):
    ends = np.array([20, 21, 22, 30, 31, 60])
    runs = validation_runs.chosen(rows, ends, WINDOW)
    assert [len(run) - WINDOW for run in runs] == [3, 2]  # a single window is no run


def test_long_stretches_are_cut_and_chosen_evenly(rows, monkeypatch):
    monkeypatch.setattr(validation_runs, "WINDOWS_PER_RUN_MAX", 10)
    monkeypatch.setattr(validation_runs, "WINDOW_ROWS_MAX", 3 * 10 * WINDOW)
    runs = validation_runs.chosen(rows, np.arange(20, 120), WINDOW)
    assert [len(run) - WINDOW for run in runs] == [10, 10, 10]
    firsts = [rows.windows(np.array([end]), WINDOW)[0][1] for end in (20, 60, 110)]
    for run, first in zip(runs, firsts, strict=True):
        np.testing.assert_array_equal(run[1], first)


def test_runs_come_back_as_they_were(rows):
    runs = validation_runs.chosen(rows, np.array([20, 21, 22, 30, 31]), WINDOW)
    for found, run in zip(validation_runs.unpacked(validation_runs.packed(runs)), runs, strict=True):
        np.testing.assert_array_equal(found, run)
