"""Moments as people and cron jobs write them, as epoch milliseconds.

Before the way of a tick. In UTC where nothing else is said: a day that begins elsewhere is written with its offset.
"""

import re
from datetime import UTC, datetime, timedelta

from tickcast.errors import UsageError

# As long as epoch milliseconds have been since 2001, and will be until 2286; dates are shorter.
EPOCH_MS = re.compile(r"\d{13}")
WORDS = ("yesterday", "today")


def epoch_ms(text: str, now: datetime) -> int:
    """`text` as epoch milliseconds: `yesterday` or `today` (when it began), a date, a date and time, or the number.

    Raises UsageError for anything else.
    """
    if EPOCH_MS.fullmatch(text):
        return int(text)
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if text in WORDS:
        return _milliseconds(today - timedelta(days=1) if text == "yesterday" else today)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        known = f"{', '.join(WORDS)}, 2026-03-01, 2026-03-01T08:30, 2026-03-01T08:30:00+01:00, 1772353800000"
        raise UsageError(f"{text}: no time as written here; write one like: {known}") from error
    found = _milliseconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    if found < 0:
        raise UsageError(f"{text}: no time of a record: these begin in 1970")
    return found


def text_of(milliseconds: int) -> str:
    """The same for people, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(sep=" ", timespec="milliseconds")


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)
