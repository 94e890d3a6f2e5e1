"""What it costs the loop that others look: paced rounds with nobody there, and with scrapes and an open page.

Beside the way of a tick. The rounds take turns on one line, served by the daemon's own second process, and watched from
a third one. Where the loop answers the page's question for attention it does so here, as in the daemon.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import comb

import numpy as np

from tickcast import bench_watcher
from tickcast.bench_child import Asked
from tickcast.bench_line import Run
from tickcast.bench_load import Message
from tickcast.bench_percentiles import Percentiles, percentiles
from tickcast.bench_rounds import Settings, arrivals_of, ready_line, ticks_of
from tickcast.bench_subject import Subject
from tickcast.bench_summary import Report, spread
from tickcast.clock import Clock
from tickcast.config import HttpConfig
from tickcast.errors import UsageError
from tickcast.page_feed import LINGER_S
from tickcast.sidecar import Sidecar

# Between its rounds the line makes no turn; nobody is to end it for that.
HANG_TIMEOUT_S = 86_400
# The second process reads on for a while when the last viewer has gone, and the loop may still be asked for something.
LEAVE_S = LINGER_S + 2.0
CONFIDENCE = 0.95


@dataclass
class Compared:
    """What the rounds came to for one subject, one entry per round."""

    alone: list[Run] = field(default_factory=list)
    watched: list[Run] = field(default_factory=list)
    scrapes_per_s: list[float] = field(default_factory=list)
    documents_per_s: list[float] = field(default_factory=list)


class _Stand:
    """One subject's line, what serves it, and who watches."""

    def __init__(self, subject: Subject, settings: Settings, clock: Clock, opened: ExitStack) -> None:
        self.subject = subject
        self.compared = Compared()
        self._settings = settings
        self._clock = clock
        self._left_s = -LEAVE_S  # when the last viewer went
        self.line, _ = ready_line(subject, settings.inference, clock, opened)
        shared = self.line.shared
        shared.board.set_detail({"status": f"bench: {subject.name}"})
        sidecar = Sidecar.start(shared, HttpConfig(port=0), HANG_TIMEOUT_S)
        opened.callback(sidecar.stop)
        self._url = sidecar.url
        self._opened = opened
        self._watcher: Asked | None = None

    def round(self, number: int) -> None:
        """One round of each kind; which one comes first changes. Raises UsageError where no ticks are left."""
        kinds = [self._alone, self._watched]
        for kind in kinds if number % 2 == 0 else reversed(kinds):
            kind(number)

    def _alone(self, number: int) -> None:
        self._clock.sleep(max(0.0, self._left_s + LEAVE_S - self._clock.monotonic_ns() / 1e9))
        self.compared.alone.append(self._run(self._ticks(), number))

    def _watched(self, number: int) -> None:
        messages = self._ticks()
        if self._watcher is None:  # looks at a symbol of which there is something to see
            child = bench_watcher.child(self._url, messages[0].key.decode(), self._settings.scrapes_per_s)
            self._watcher = self._opened.enter_context(child)
        self._watcher.ask()
        self.compared.watched.append(self._run(messages, number))
        seconds, scrapes, documents = self._watcher.ask()
        self._left_s = self._clock.monotonic_ns() / 1e9
        self.compared.scrapes_per_s.append(scrapes / seconds)
        self.compared.documents_per_s.append(documents / seconds)

    def _ticks(self) -> list[Message]:
        messages = ticks_of(self.line, self._settings)
        if not messages:
            raise UsageError("the tick file is too short for so many rounds: give fewer, or a shorter --duration-s")
        return messages

    def _run(self, messages: list[Message], number: int) -> Run:
        self.line.settle()
        return self.line.run(messages, arrivals_of(messages, self._settings, number))


def compare(subjects: Sequence[Subject], settings: Settings, clock: Clock, tell: Callable[[str], None]) -> list[Report]:
    """All rounds of all subjects, as reports; `tell` hears what is being done. Raises TickcastError."""
    with ExitStack() as opened:
        stands = []
        for subject in subjects:
            tell(f"{subject.name}: filling windows")
            stands.append(_Stand(subject, settings, clock, opened))
        for number in range(settings.rounds):
            for stand in stands:
                tell(f"{stand.subject.name}: alone and watched, round {number + 1} of {settings.rounds}")
                stand.round(number)
        return [_report(stand) for stand in stands]


def _report(stand: _Stand) -> Report:
    return {
        "name": stand.subject.name,
        "simulated": stand.subject.simulated,
        "family": stand.subject.bundle.manifest.family,
        "symbols": stand.line.symbols,
        "provider": stand.line.provider,
        "provider_reason": stand.line.provider_reason,
        "watched": summary(stand.compared),
    }


def summary(compared: Compared) -> Report:
    """The rounds as a report that programs read; ratios are of the two rounds that followed each other."""
    alone, watched = (percentiles_of(runs) for runs in (compared.alone, compared.watched))
    return {
        "scrapes_per_s": spread(compared.scrapes_per_s),
        "documents_per_s": spread(compared.documents_per_s),
        "alone": times(compared.alone, alone),
        "watched": times(compared.watched, watched),
        "p50_ratio": ratios([each.p50 for each in watched], [each.p50 for each in alone]),
        "p99_ratio": ratios([each.p99 for each in watched], [each.p99 for each in alone]),
        # How far rounds lie apart by themselves: each to the one before it, nobody watching.
        "p99_ratio_alone": ratios([each.p99 for each in alone[1:]], [each.p99 for each in alone[:-1]]),
    }


def percentiles_of(runs: Sequence[Run]) -> list[Percentiles]:
    """Of each run's latencies."""
    return [percentiles(run.latencies_s) for run in runs]


def times(runs: Sequence[Run], of_rounds: Sequence[Percentiles]) -> Report:
    """Latencies of all `runs` together, and how their percentiles, `of_rounds`, lie apart."""
    whole = np.concatenate([np.empty(0), *(run.latencies_s for run in runs)])
    paths = np.concatenate([np.empty(0, np.str_), *(run.paths for run in runs)])
    return {
        **percentiles(whole).microseconds(),
        "p50_us_of_rounds": spread([each.p50 * 1e6 for each in of_rounds]),
        "p99_us_of_rounds": spread([each.p99 * 1e6 for each in of_rounds]),
        "share_finish": round(float((paths == "finish").mean()), 5) if len(paths) else 0.0,
    }


def ratios(above: Sequence[float], below: Sequence[float]) -> Report:
    """Of what was measured one after the other, and between which of them the median lies."""
    found = [one / other for one, other in zip(above, below, strict=True) if other]
    low, high = median_interval(found)
    return {**spread(found), "low": low, "high": high}


def median_interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Between which of the values the median of what they come from lies, with at least 95 %; None where too few.

    By the number of values below a median, which is binomial whatever their distribution.
    """
    rank, missed = 0, 2 / 2 ** len(values)
    while missed <= 1 - CONFIDENCE:
        rank += 1
        missed += 2 * comb(len(values), rank) / 2 ** len(values)
    if rank == 0:
        return None, None
    in_order = sorted(values)
    return in_order[rank - 1], in_order[-rank]
