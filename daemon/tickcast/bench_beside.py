"""What it costs the loop to do more: rounds without and with a shadow, attention in the forecasts, or bands, in turn.

Beside the way of a tick. Two lines of one bundle stand in one process and get the same ticks; only one of them has the
shadow, tells what forecasts lean on, or has bands. Before the other one's round a shadow works off what it has left.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np

from tickcast.bench_line import Extras, Line, Run
from tickcast.bench_rounds import Settings, arrivals_of, ready_line, ticks_of
from tickcast.bench_subject import Subject
from tickcast.bench_summary import Report, spread
from tickcast.bench_watched import percentiles_of, ratios, times
from tickcast.clock import Clock
from tickcast.errors import UsageError


@dataclass
class Compared:
    """What the rounds came to for one subject, one entry per round."""

    alone: list[Run] = field(default_factory=list)
    beside: list[Run] = field(default_factory=list)
    saturated_alone: list[Run] = field(default_factory=list)
    saturated_beside: list[Run] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)  # by the shadow, of the paced rounds' ticks
    saturated_answered: list[int] = field(default_factory=list)


class _Stand:
    """One subject's two lines."""

    def __init__(self, subject: Subject, settings: Settings, clock: Clock, opened: ExitStack) -> None:
        self.subject = subject
        self.compared = Compared()
        self._settings = settings
        without = _without_bands(subject) if settings.extras.bands else subject
        self.alone, _ = ready_line(without, settings.inference, clock, opened)
        self.beside, _ = ready_line(subject, settings.inference, clock, opened, settings.extras)
        self.beside.drain()

    def paced(self, number: int) -> None:
        """One round of each kind, with the same arrivals; which one comes first changes."""
        compared = self.compared

        def run(line: Line, runs: list[Run]) -> None:
            messages = ticks_of(line, self._settings)
            if not messages:
                raise UsageError("the tick file is too short for so many rounds: give fewer, or a shorter --duration-s")
            line.settle()
            runs.append(line.run(messages, arrivals_of(messages, self._settings, number)))

        self._both(number, run, compared.alone, compared.beside, compared.answered)

    def saturated(self, number: int) -> None:
        """One round of each kind, every tick there at once."""
        compared = self.compared

        def run(line: Line, runs: list[Run]) -> None:
            messages = line.feed.take(self._settings.saturated_ticks)
            if messages:
                runs.append(line.run(messages, np.zeros(len(messages), np.int64)))

        self._both(number, run, compared.saturated_alone, compared.saturated_beside, compared.saturated_answered)

    def _both(
        self,
        number: int,
        run: Callable[[Line, list[Run]], None],
        alone: list[Run],
        beside: list[Run],
        answered: list[int],
    ) -> None:
        lines = [(self.alone, alone), (self.beside, beside)]
        for line, runs in lines if number % 2 == 0 else reversed(lines):
            before = line.shadow_forecasts
            run(line, runs)
            if line is self.beside:
                line.drain()
                answered.append(line.shadow_forecasts - before)


def compare(subjects: Sequence[Subject], settings: Settings, clock: Clock, tell: Callable[[str], None]) -> list[Report]:
    """All rounds of all subjects, as reports; `tell` hears what is being done. Raises TickcastError."""
    with ExitStack() as opened:
        stands = []
        for subject in subjects:
            tell(f"{subject.name}: filling windows")
            stands.append(_Stand(subject, settings, clock, opened))
        phases: list[tuple[str, Callable[[_Stand, int], None]]] = [
            ("paced", _Stand.paced),
            ("saturated", _Stand.saturated),
        ]
        for name, phase in phases[-1:] if settings.saturated_only else phases:
            for number in range(settings.rounds):
                for stand in stands:
                    tell(f"{stand.subject.name}: {name}, round {number + 1} of {settings.rounds}")
                    phase(stand, number)
        return [_report(stand, settings.extras) for stand in stands]


def _without_bands(subject: Subject) -> Subject:
    """Raises UsageError where there are none to be without."""
    bundle = subject.bundle
    if bundle.manifest.bands is None:
        raise UsageError(
            f"--bands: {bundle.manifest.name} has none; a model file of `tickcast train` is exported with them"
        )
    return replace(subject, bundle=replace(bundle, manifest=bundle.manifest.model_copy(update={"bands": None})))


def _report(stand: _Stand, extras: Extras) -> Report:
    return {
        "name": stand.subject.name,
        "simulated": stand.subject.simulated,
        "family": stand.subject.bundle.manifest.family,
        "symbols": stand.alone.symbols,
        "provider": stand.alone.provider,
        "provider_reason": stand.alone.provider_reason,
        "beside": {"what": extras.text(), "shadow": extras.shadow is not None, **summary(stand.compared)},
    }


def summary(compared: Compared) -> Report:
    """The rounds as a report that programs read; ratios are of the two rounds that followed each other."""
    report: Report = {"saturated": _saturated(compared)}
    if compared.alone:
        alone, beside = percentiles_of(compared.alone), percentiles_of(compared.beside)
        report["paced"] = {
            "alone": times(compared.alone, alone),
            "beside": times(compared.beside, beside),
            "p50_ratio": ratios([each.p50 for each in beside], [each.p50 for each in alone]),
            "p99_ratio": ratios([each.p99 for each in beside], [each.p99 for each in alone]),
            # How far rounds lie apart by themselves: each to the one before it, nothing beside.
            "p99_ratio_alone": ratios([each.p99 for each in alone[1:]], [each.p99 for each in alone[:-1]]),
            "shadow_answered": _share(compared.answered, compared.beside),
        }
    return report


def _saturated(compared: Compared) -> Report:
    alone, beside = ([run.ticks / run.wall_s for run in runs] for runs in _saturated_runs(compared))
    if not alone or not beside:
        return {}
    return {
        "alone_ticks_per_s": spread(alone),
        "beside_ticks_per_s": spread(beside),
        "ratio": ratios(beside, alone),
        "shadow_answered": _share(compared.saturated_answered, compared.saturated_beside),
    }


def _saturated_runs(compared: Compared) -> tuple[list[Run], list[Run]]:
    """As many of the one as of the other: a tick file may end between the two."""
    count = min(len(compared.saturated_alone), len(compared.saturated_beside))
    return compared.saturated_alone[:count], compared.saturated_beside[:count]


def _share(answered: Sequence[int], runs: Sequence[Run]) -> float | None:
    """Of what the bundle answered, what its shadow did, too."""
    forecasts = sum(len(run.latencies_s) for run in runs)
    return round(sum(answered) / forecasts, 5) if forecasts else None
