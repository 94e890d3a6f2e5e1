"""The rounds of `tickcast bench engine`: what is compared takes turns, so that a noisy moment hits all of it.

Beside the way of a tick: what drives it. Paced rounds first, all with the same arrivals: the pipeline as it is, the
pipeline without its finish path, and plain runs of a window graph; with them single ticks and plain runs one after the
other, when nothing has gone cold. Then saturated rounds.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tickcast import bench_flops, bench_peak
from tickcast.bench_child import Asked
from tickcast.bench_line import NOTHING, Extras, Line, Run
from tickcast.bench_load import Message, poisson, recorded
from tickcast.bench_peak import Flops
from tickcast.bench_plain import Plain, Timed, feature_rows, raw_windows
from tickcast.bench_subject import Subject, keras_child
from tickcast.clock import Clock
from tickcast.config import InferenceConfig
from tickcast.errors import UsageError

# Windows that plain runs take in turn: enough not to stay in the nearest cache.
PLAIN_WINDOWS = 200
PLAIN_RUNS = 200
# Ticks that go through a line before anything counts, at most: each symbol's first carry comes with its first answer.
WARM_TICKS_MAX = 5_000


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long."""

    pace: Literal["poisson", "recorded"]
    rate_per_s: float
    duration_s: float  # of all paced rounds of one line together
    rounds: int
    saturated_ticks: int  # of each round
    saturated_only: bool
    seed: int
    inference: InferenceConfig
    plain_graph: bytes | None  # instead of the bundle's own window graph
    scrapes_per_s: float = 10.0  # while somebody watches
    extras: Extras = NOTHING  # what one of two lines does more


@dataclass
class Measured:
    """What the rounds came to for one subject, one entry per round."""

    subject: Subject
    provider: str
    provider_reason: str
    work: dict[str, int]  # role -> floating-point operations
    fill_bytes: int  # the process grew by while the windows filled
    symbols: int
    paced: list[Run] = field(default_factory=list)
    window_only: list[Run] = field(default_factory=list)
    one_by_one: list[Run] = field(default_factory=list)
    plain_paced: list[Timed] = field(default_factory=list)
    plain_at_once: list[NDArray[np.float64]] = field(default_factory=list)
    plain_beside: list[NDArray[np.float64]] = field(default_factory=list)  # as above, in turn with saturated runs
    keras: list[list[float]] = field(default_factory=list)
    saturated: list[Run] = field(default_factory=list)
    peak: list[Flops] = field(default_factory=list)


class _Stand:
    """One subject's lines and yardsticks, warm."""

    def __init__(self, subject: Subject, settings: Settings, clock: Clock, peak: Asked, opened: ExitStack) -> None:
        self._settings = settings
        self._clock = clock
        self._peak = peak
        self.line, fill_bytes = ready_line(subject, settings.inference, clock, opened)
        self.measured = Measured(
            subject=subject,
            provider=self.line.provider,
            provider_reason=self.line.provider_reason,
            work=bench_flops.work(subject.bundle),
            fill_bytes=fill_bytes,
            symbols=self.line.symbols,
        )
        if settings.saturated_only:
            return
        without_finish = settings.inference.model_copy(update={"finish_path": False})
        self.window_line, _ = ready_line(subject, without_finish, clock, opened)
        self.plain = _plain(subject, self.line.provider, settings)
        self.keras = opened.enter_context(keras_child(subject.model)) if subject.model else None

    def paced(self, number: int) -> None:
        """One round of ticks and plain runs at their arrivals. Raises UsageError where the first one has no ticks."""
        measured, lines = self.measured, (self.line, self.window_line)
        ticks = [ticks_of(line, self._settings) for line in lines]  # the same: both feeds stand at the same place
        if not ticks[0]:
            if not measured.paced:
                raise UsageError("the tick file is too short: its ticks hardly fill the windows")
            return
        arrivals_ns = arrivals_of(ticks[0], self._settings, number)
        for line, messages, runs in zip(lines, ticks, (measured.paced, measured.window_only), strict=True):
            line.settle()
            runs.append(line.run(messages, arrivals_ns))
        measured.plain_paced.append(self.plain.paced(arrivals_ns, self._clock))

    def back_to_back(self) -> None:
        """One round of single ticks, plain runs and predictions, each after the other."""
        messages = self.line.feed.take(PLAIN_RUNS)
        if messages:
            self.line.settle()
            self.measured.one_by_one.append(self.line.run(messages, None))
        self.measured.plain_at_once.append(self.plain.at_once(PLAIN_RUNS, self._clock))
        if self.keras is not None:
            self.measured.keras.append(self.keras.ask())

    def saturated(self) -> None:
        """One round with every tick there at once."""
        messages = self.line.feed.take(self._settings.saturated_ticks)
        if messages:
            run = self.line.run(messages, np.zeros(len(messages), np.int64), watched=True)
            self.measured.saturated.append(run)
        if not self._settings.saturated_only:
            self.measured.plain_beside.append(self.plain.at_once(PLAIN_RUNS, self._clock))
        self.measured.peak.append(bench_peak.flops(self._peak))


def ready_line(
    subject: Subject, inference: InferenceConfig, clock: Clock, opened: ExitStack, extras: Extras = NOTHING
) -> tuple[Line, int]:
    """A line under `subject`'s load, filled and warm, and how many bytes the process grew by while it filled."""
    line = Line(subject.bundle, inference, subject.feed(), subject.sequence, clock, extras)
    opened.callback(line.close)
    fill_bytes = line.fill()
    messages = line.feed.take(min(WARM_TICKS_MAX, 4 * line.symbols + PLAIN_RUNS))
    line.run(messages, np.zeros(len(messages), np.int64))
    return line, fill_bytes


def ticks_of(line: Line, settings: Settings) -> list[Message]:
    """The ticks of its next paced round; none where its feed has come to its end."""
    if settings.pace == "recorded":
        return line.feed.take_for(settings.duration_s / settings.rounds)
    return line.feed.take(max(1, round(settings.rate_per_s * settings.duration_s / settings.rounds)))


def arrivals_of(messages: Sequence[Message], settings: Settings, number: int) -> NDArray[np.int64]:
    """When each of them comes, [messages], in round `number`."""
    if settings.pace == "recorded":
        return recorded(messages)
    return poisson(settings.rate_per_s, len(messages), settings.seed + number)


def measure(
    subjects: Sequence[Subject], settings: Settings, clock: Clock, tell: Callable[[str], None]
) -> list[Measured]:
    """All rounds of all subjects; `tell` hears what is being done. Raises as `Line`, `Plain` and `keras_child` do."""
    with ExitStack() as opened:
        peak = opened.enter_context(bench_peak.child(settings.inference.threads))
        stands = []
        for subject in subjects:
            tell(f"{subject.name}: filling windows")
            stands.append(_Stand(subject, settings, clock, peak, opened))
        phases: list[tuple[str, Callable[[_Stand, int], None]]] = [
            ("paced", _Stand.paced),
            ("back to back", lambda stand, _: stand.back_to_back()),
            ("saturated", lambda stand, _: stand.saturated()),
        ]
        for name, phase in phases[-1:] if settings.saturated_only else phases:
            for number in range(settings.rounds):
                for stand in stands:
                    tell(f"{stand.measured.subject.name}: {name}, round {number + 1} of {settings.rounds}")
                    phase(stand, number)
        return [stand.measured for stand in stands]


def _plain(subject: Subject, provider: str, settings: Settings) -> Plain:
    bundle, feed = subject.bundle, subject.feed()
    ticks = bundle.manifest.rules.window + 1
    messages = [*feed.fill(ticks - 1).messages, *feed.take(PLAIN_WINDOWS)]
    raw = raw_windows(messages, bundle.manifest.columns, ticks, PLAIN_WINDOWS)
    rows = feature_rows(bundle, raw, settings.inference)
    return Plain(settings.plain_graph or bundle.graphs["window"], provider, settings.inference, rows)
