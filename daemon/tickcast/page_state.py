"""How the instance is, in the loop's own words, as the page shows them.

Beside the way of a tick, in the process that serves. `pulse.py` puts all into one line, for a supervisor's status:
`HINDRANCE; 2 partitions, 64 symbols, 1,204 ticks/s, lag 0, p99 under 300 us; REMARK`, of which only the middle is
always there.
"""

import re
from typing import Any, NamedTuple

# What the line begins with while nobody knows how far behind we are.
UNANSWERED = "the cluster does not answer"
# Every remark is of the last reload.
_REMARK = "; reload"
# The page has these as numbers, over a longer time: two that differ are a riddle.
_PACE = re.compile(r"[\d,]+ ticks/s|lag [\d,]+|p99 (under|over) [\d.]+ \w+")


class State(NamedTuple):
    """The line in parts."""

    status: str  # a hindrance and what the loop has, without its pace
    remark: str  # what became of the last reload; empty where there was none
    reason: str  # why it is not ready; empty where it is
    knows_lag: bool

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "State":
        """What `/readyz` says."""
        line = answer["detail"].get("status", "")
        status, mark, remark = line.partition(_REMARK)
        return cls(
            status=_without_pace(status),
            remark=f"reload{remark}" if mark else "",
            reason=_without_pace(answer.get("reason", "").partition(_REMARK)[0]),
            knows_lag=not line.startswith(UNANSWERED),
        )


def _without_pace(text: str) -> str:
    return ", ".join(part for part in text.split(", ") if not _PACE.fullmatch(part))
