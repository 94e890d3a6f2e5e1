"""Which windows are learnt from and which are scored: walking forward, a day at a time.

Behind the way of a tick: part of `tickcast evaluate`. No window and no target reaches from one part into another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal

import numpy as np
from tickcast.errors import UsageError
from tickcast.windows import NANOSECONDS

from tickcast_export.dataset import DAY_NS, Indices, Rows

# Of the windows before a test day, the newest ones that settings and thresholds are chosen by, never fitted to.
VALIDATION_SHARE = 0.2
# Of a single day, what is learnt from (validation included); the rest is scored.
LEARNT_SHARE = 0.8
# Without --days: so many of the newest days are scored, as far as two come before them, or one.
DAYS_MAX = 5
DAYS_BEFORE = 2

# What the bundle knows of a day: trained on it, weights or bands chosen by it, nothing, or nobody can say.
Exposure = Literal["trained", "chosen", "unseen", "unknown"]
Span = tuple[int, int]  # event times, first and last, ns


@dataclass(frozen=True)
class Fold:
    """One test day and what came before it; ends of windows, ascending."""

    name: str
    train: Indices
    validation: Indices
    test: Indices
    exposure: Exposure
    first_ns: int  # event times that the test windows span, targets included
    last_ns: int

    @property
    def earlier(self) -> Indices:
        """All windows before the test day."""
        return np.concatenate([self.train, self.validation])


class Folds:
    """The folds of some rows, for a bundle's window and its farthest horizon."""

    def __init__(self, rows: Rows, window: int, horizon: int, exposure: Callable[[int, int], Exposure]) -> None:
        """`exposure` says of a span of event times what the bundle knows of it."""
        self._ends = rows.ends(window, horizon)
        if not len(self._ends):
            raise UsageError(f"no run has a window of {window} rows and {horizon} more after it: nothing to score")
        self._first_ns, self._last_ns = rows.span_ns(self._ends, window, horizon)
        self._exposure = exposure

    def by_day(self, day_starts_at: time, wanted: Sequence[date] = ()) -> tuple[Fold, ...]:
        """A fold for each of the days `wanted`, or the newest; days begin at `day_starts_at` UTC.

        Of a single day, its last part is scored. Raises UsageError where a day is not there or nothing is before it.
        """
        offset_ns = _nanoseconds(day_starts_at)
        days = np.unique((self._last_ns - offset_ns) // DAY_NS)
        names = {_name(day): day for day in days.tolist()}
        if absent := [str(day) for day in wanted if str(day) not in names]:
            raise UsageError(f"no windows of {', '.join(absent)}: the days are {', '.join(names)}")
        if len(days) == 1:
            return (self._of_one_day(next(iter(names))),)
        chosen = [names[str(day)] for day in sorted(wanted)] or days[min(DAYS_BEFORE, len(days) - 1) :][-DAYS_MAX:]
        if days[0] in chosen:
            raise UsageError(f"{_name(int(days[0]))} is the first day: there is nothing before it to fit baselines to")
        starts = [int(day) * DAY_NS + offset_ns for day in chosen]
        return tuple(self._fold(_name(start // DAY_NS), start, start + DAY_NS) for start in starts)

    def _of_one_day(self, name: str) -> Fold:
        border = int(np.quantile(self._last_ns, LEARNT_SHARE, method="lower"))
        return self._fold(f"{name}, the last {1 - LEARNT_SHARE:.0%}", border, int(self._last_ns.max()) + 1)

    def _fold(self, name: str, start_ns: int, end_ns: int) -> Fold:
        earlier = self._last_ns < start_ns
        is_test = (self._first_ns >= start_ns) & (self._last_ns < end_ns)
        if not earlier.any() or not is_test.any():
            raise UsageError(f"{name}: too few ticks, or too short runs, to score it or to fit baselines before it")
        border_ns = np.quantile(self._last_ns[earlier], 1 - VALIDATION_SHARE, method="lower")
        is_train, is_validation = self._last_ns < border_ns, earlier & (self._first_ns >= border_ns)
        if not is_train.any() or not is_validation.any():
            raise UsageError(f"{name}: too few ticks before it, or too short runs, to fit baselines to")
        first_ns, last_ns = int(self._first_ns[is_test].min()), int(self._last_ns[is_test].max())
        train, validation, test = (self._ends[part] for part in (is_train, is_validation, is_test))
        return Fold(name, train, validation, test, self._exposure(first_ns, last_ns), first_ns, last_ns)


def exposure_by(training: Mapping[str, object]) -> Callable[[int, int], Exposure]:
    """What a bundle knows of a span of time, by the facts of its training in the manifest: `spans_ns` of each part."""
    spans = training.get("spans_ns")
    known = spans if isinstance(spans, Mapping) else {}

    def exposure(first_ns: int, last_ns: int) -> Exposure:
        if "train" not in known:
            return "unknown"
        if _overlaps(known["train"], first_ns, last_ns):
            return "trained"
        return "chosen" if _overlaps(known.get("validation"), first_ns, last_ns) else "unseen"

    return exposure


def trained_until(moment: datetime) -> Callable[[int, int], Exposure]:
    """The same, where somebody says it: all that began by `moment` was trained on."""
    until_ns = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * NANOSECONDS
    return lambda first_ns, _: "trained" if first_ns <= until_ns else "unseen"


def _overlaps(span: object, first_ns: int, last_ns: int) -> bool:
    if not (isinstance(span, list | tuple) and len(span) == 2):
        return False
    start, end = (int(value) for value in span)
    return first_ns <= end and start <= last_ns


def _name(day: int) -> str:
    return str(datetime.fromtimestamp(day * DAY_NS / NANOSECONDS, UTC).date())


def _nanoseconds(moment: time) -> int:
    return (moment.hour * 3_600 + moment.minute * 60 + moment.second) * NANOSECONDS
