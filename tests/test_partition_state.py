"""Where a partition is taken up again."""

import pytest
from tickcast.clients import Committed, OffsetRange
from tickcast.commit_note import CommitNote
from tickcast.partition_state import recover

RULES = "0123456789abcdef"
HELD = OffsetRange(0, 1_000)
NOTE = CommitNote(450, 64, RULES, "me").text()


@pytest.mark.parametrize(
    ("committed", "held", "expected"),
    [
        (Committed(500, NOTE), HELD, (450, 500, "metadata")),
        (Committed(500, ""), HELD, (400, 500, "missing")),
        (Committed(500, "nonsense"), HELD, (400, 500, "unreadable")),
        (Committed(500, NOTE.replace(RULES, "f" * 16)), HELD, (400, 500, "other_rules")),
        (None, HELD, (900, 1_000, "fresh")),
        (None, OffsetRange(950, 1_000), (950, 1_000, "fresh")),
        (Committed(500, NOTE), OffsetRange(470, 1_000), (470, 500, "truncated")),
        (Committed(500, NOTE), OffsetRange(600, 1_000), (600, 600, "truncated")),
        (Committed(2_000, NOTE), HELD, (900, 1_000, "truncated")),
        # A note cannot reach farther back than R, nor start after what is to be published.
        (Committed(500, CommitNote(10, 64, RULES, "me").text()), HELD, (400, 500, "metadata")),
        (Committed(500, CommitNote(501, 64, RULES, "me").text()), HELD, (500, 500, "metadata")),
    ],
)
def test_where_reading_and_publishing_start(committed, held, expected):
    assert recover(committed, 1_000, held, RULES, 100) == expected
