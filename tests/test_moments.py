"""Moments as they are typed: in UTC unless said, and nothing guessed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from tickcast import moments
from tickcast.errors import UsageError

NOW = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))  # in UTC still the last day of February
DAY_MS = 86_400_000


def ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", ms(2026, 2, 28)),
        ("yesterday", ms(2026, 2, 27)),
        ("2026-03-01", ms(2026, 3, 1)),
        ("2026-03-01T08:30", ms(2026, 3, 1, 8, 30)),
        ("2026-03-01T08:30:00+01:00", ms(2026, 3, 1, 7, 30)),
        ("2026-03-01T08:30:00.123Z", ms(2026, 3, 1, 8, 30) + 123),
        ("1772353800000", 1_772_353_800_000),
    ],
)
def test_a_moment(text: str, expected: int) -> None:
    assert moments.epoch_ms(text, NOW) == expected


def test_yesterday_ends_where_today_begins() -> None:
    assert moments.epoch_ms("today", NOW) - moments.epoch_ms("yesterday", NOW) == DAY_MS


@pytest.mark.parametrize("text", ["tomorrow", "noon", "2026-02-30", "1772353800", ""])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="write one like: yesterday"):
        moments.epoch_ms(text, NOW)


def test_before_there_were_records_there_is_no_time_to_ask_for() -> None:
    """A broker's client takes no negative time."""
    assert moments.epoch_ms("1970-01-01", NOW) == 0
    with pytest.raises(UsageError, match="1970"):
        moments.epoch_ms("1970-01-01T00:00+01:00", NOW)


def test_people_read_it_in_utc() -> None:
    assert moments.text_of(ms(2026, 3, 1, 8, 30) + 7) == "2026-03-01 08:30:00.007+00:00"
