"""Folds: walking forward, nothing of a test day is learnt from, and what the bundle knows of a day is said."""

import itertools
from datetime import UTC, date, datetime, time

import evaluation_ticks
import pytest

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
from tickcast.errors import UsageError
from tickcast_export import evaluation_folds
from tickcast_export.evaluation_folds import Folds

WINDOW, HORIZON = evaluation_ticks.RULES.window, 3
DAYS = ("2024-10-04", "2024-10-05", "2024-10-06", "2024-10-07")


def _folds(days: int, exposure: evaluation_folds.Exposure = "unseen") -> Folds:
    return Folds(evaluation_ticks.rows(evaluation_ticks.ticks(days, 300)), WINDOW, HORIZON, lambda *_: exposure)


def test_each_day_is_scored_by_what_was_before_it() -> None:
    rows = evaluation_ticks.rows(evaluation_ticks.ticks(4, 300))
    folds = Folds(rows, WINDOW, HORIZON, lambda *_: "unseen").by_day(time())
    assert [fold.name for fold in folds] == [*DAYS[2:]]
    for fold in folds:
        parts = [rows.span_ns(part, WINDOW, HORIZON) for part in (fold.train, fold.validation, fold.test)]
        for (_, earlier_last), (later_first, _) in itertools.pairwise(parts):
            assert earlier_last.max() < later_first.min()
        assert len(fold.validation) / len(fold.earlier) == pytest.approx(0.2, abs=0.05)
    assert len(folds[1].earlier) > len(folds[0].earlier)


def test_days_begin_when_they_are_said_to() -> None:
    rows = evaluation_ticks.rows(evaluation_ticks.ticks(3, 300))  # each day's ticks begin at noon
    folds = Folds(rows, WINDOW, HORIZON, lambda *_: "unseen").by_day(time(12, 0, 30))
    assert folds[-1].first_ns >= int(datetime(2024, 10, 6, 12, 0, 30, tzinfo=UTC).timestamp() * 1e9)


def test_days_asked_for_are_those_scored() -> None:
    folds = _folds(4).by_day(time(), [date(2024, 10, 7), date(2024, 10, 5)])
    assert [fold.name for fold in folds] == [DAYS[1], DAYS[3]]


def test_two_days_leave_one_to_score_and_one_day_its_last_part() -> None:
    (fold,) = _folds(2).by_day(time())
    assert fold.name == DAYS[1]
    (fold,) = _folds(1).by_day(time())
    assert fold.name == f"{DAYS[0]}, the last 20%"
    assert len(fold.test) / (len(fold.earlier) + len(fold.test)) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(date(2024, 10, 4), "first day"), (date(2023, 1, 1), "no windows of 2023-01-01; the days are|no windows of")],
)
def test_days_that_cannot_be_scored_are_refused(wanted: date, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _folds(3).by_day(time(), [wanted])


def test_runs_too_short_for_a_window_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing to score"):
        _ = Folds(evaluation_ticks.rows(evaluation_ticks.ticks(3, 5)), WINDOW, HORIZON, lambda *_: "unseen")


def test_what_the_bundle_knows_of_a_day_is_what_its_training_says() -> None:
    exposure = evaluation_folds.exposure_by({"spans_ns": {"train": [100, 199], "validation": [200, 299]}})
    assert exposure(150, 160) == "trained"
    assert exposure(190, 250) == "trained"
    assert exposure(250, 350) == "chosen"
    assert exposure(300, 400) == "unseen"
    assert evaluation_folds.exposure_by({})(0, 1) == "unknown"
    assert evaluation_folds.exposure_by({"spans_ns": "yesterday"})(0, 1) == "unknown"


def test_what_somebody_says_of_the_training_counts() -> None:
    exposure = evaluation_folds.trained_until(datetime(2024, 10, 5, 12))
    noon_ns = int(datetime(2024, 10, 5, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
    assert exposure(noon_ns, noon_ns + 5) == "trained"
    assert exposure(noon_ns + 1, noon_ns + 5) == "unseen"
