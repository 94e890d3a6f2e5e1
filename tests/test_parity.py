"""The golden windows say no where they must."""

import numpy as np
import pytest
from factories import manifest_with
from tickcast import parity
from tickcast.bundle import Bundle, Golden
from tickcast.manifest import WindowRules

WINDOW, COLUMNS = 3, 2
TICKS = np.random.default_rng(0).normal(size=(40, WINDOW + 1, COLUMNS))


class Arithmetic:
    """Answers with sums, and as it is told to in one way amiss."""

    splits = True

    def __init__(self, batch_max=32, window_off=0.0, finish_off=0.0, row_off=0.0):
        self.batch_max = batch_max
        self.batches = set()
        self._window_off, self._finish_off, self._row_off = window_off, finish_off, row_off

    def features(self, pairs):
        return (pairs[:, 1] - pairs[:, 0]).astype(np.float32)

    def window(self, rows):
        self.batches.add(len(rows))
        return _answer(rows) + np.float32(self._window_off)

    def prefix(self, rows):
        return rows

    def finish(self, ticks, carry):
        row = self.features(ticks)
        whole = np.concatenate([carry, row[:, None]], axis=1)
        return _answer(whole) + np.float32(self._finish_off), row + np.float32(self._row_off)


def _answer(rows):
    return np.stack([rows.sum(axis=(1, 2)), rows[:, -1, 0]], axis=1)


def bundle_of(ticks=TICKS, rows=None):
    rows = np.diff(ticks, axis=1).astype(np.float32) if rows is None else rows
    manifest = manifest_with(rules=WindowRules(window=WINDOW), target_scale=0.1)
    return Bundle(None, manifest, "", {}, Golden(ticks, _answer(rows), np.full(len(ticks), "real")))


def verdicts(runner, bundle=None):
    return {(result.path, result.batch): result.holds for result in parity.check(bundle or bundle_of(), runner)}


def test_a_true_runner_holds_on_every_path_and_batch():
    runner = Arithmetic()
    assert verdicts(runner) == {("window", 1): True, ("finish", 1): True, ("window", 32): True, ("finish", 32): True}
    assert runner.batches == {1, 32, 8}


def test_no_run_holds_more_windows_than_the_runner_takes():
    runner = Arithmetic(batch_max=8)
    assert set(verdicts(runner)) == {("window", 1), ("finish", 1), ("window", 8), ("finish", 8)}
    assert max(runner.batches) == 8


@pytest.mark.parametrize("off", [1e-4, -1e-4, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("path", ["window", "finish"])
def test_an_answer_that_is_off_or_not_finite_fails_its_path_only(path, off):
    failing = {path for (path, _), holds in verdicts(Arithmetic(**{f"{path}_off": off})).items() if not holds}
    assert failing == {path}


@pytest.mark.parametrize("off", [1e-3, float("nan")])
def test_a_row_handed_on_that_is_off_fails_the_finish_path(off):
    failing = {path for (path, _), holds in verdicts(Arithmetic(row_off=off)).items() if not holds}
    assert failing == {"finish"}


def test_a_reference_that_is_not_finite_holds_for_nobody():
    good = bundle_of()
    forecast = good.golden.forecast.copy()
    forecast[3, 1] = np.nan
    bad = Bundle(None, good.manifest, "", {}, Golden(TICKS, forecast, good.golden.kind))
    assert not any(verdicts(Arithmetic(), bad).values())


def test_as_many_ticks_as_rows_are_rows_of_their_own():
    class Foreign(Arithmetic):
        splits = False

        def features(self, pairs):
            return pairs[:, 1].astype(np.float32)

    ticks = TICKS[:, 1:]
    assert verdicts(Foreign(), bundle_of(ticks, ticks.astype(np.float32))) == {
        ("window", 1): True,
        ("window", 32): True,
    }


def test_the_unit_is_the_larger_of_scale_and_reference():
    found = np.array([[1.1, 1000.0], [1.0, 1001.0], [np.nan, 0.0]], np.float32)
    reference = np.array([[1.0, 1000.0], [1.0, 1000.0], [1.0, 0.0]], np.float32)
    np.testing.assert_allclose(parity.errors(found, reference, 10.0), [0.01, 0.001, np.inf], rtol=1e-5)
    assert np.isinf(parity.errors(found[:, :1], reference, 10.0)).all()
