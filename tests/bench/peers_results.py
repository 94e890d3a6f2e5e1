"""From forecasts to figures: rates, what is missing or doubled, medians, ratios within rounds, the table.

Nothing here knows Kafka, a process or a clock.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
from bench import peers_ticks
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """One run's output topic."""

    stamps_ms: NDArray[np.int64]  # [n], the broker's clock
    symbols: list[str]  # [n]
    event_time_ns: NDArray[np.int64]  # [n], -1 where a system does not say which tick it answers
    forecasts: NDArray[np.float64]  # [n, horizons]


@dataclass(frozen=True)
class Run:
    """What one system did in one round."""

    answered: int
    seconds: float  # from the first forecast to the last
    ticks_per_s: float
    missing: int | None  # ticks not answered before a later one of their symbol; None: the system does not say
    doubled: int | None
    error_max: float  # against the plain graph, on the symbols that are checked
    cpu_us_per_tick: float | None  # of the system's processes, per tick answered; None: too short to see
    broker_us_per_tick: float | None  # of the broker's, meanwhile


class Look(NamedTuple):
    """What was seen at one moment of a run."""

    answered: int
    cpu_s: float  # of the system's processes so far
    broker_s: float


@dataclass(frozen=True)
class Spread:
    """Median and range of some rounds' figures."""

    median: float
    low: float
    high: float


def rate(stamps_ms: NDArray[np.int64]) -> tuple[float, float]:
    """Ticks answered per second, and the seconds that is taken over.

    From the first forecast that the broker took in to the last: neither the start nor the filling of the windows
    counts. Those of the first millisecond began before it and are left out.
    """
    first, last = int(stamps_ms.min()), int(stamps_ms.max())
    seconds = (last - first) / 1000
    if not seconds:
        raise ValueError("all forecasts came in one millisecond: too few ticks for a rate")
    return float((stamps_ms > first).sum() / seconds), seconds


def missing_and_doubled(answers: Answers, unanswered_first: int) -> tuple[int | None, int | None]:
    """By symbol: ticks without a forecast before the newest with one, and forecasts too many.

    A symbol's first `unanswered_first` ticks only fill its window.
    """
    if (answers.event_time_ns < 0).any():
        return None, None
    found: dict[str, Counter[int]] = {}
    for symbol, number in zip(answers.symbols, (answers.event_time_ns - peers_ticks.START_NS).tolist(), strict=True):
        found.setdefault(symbol, Counter())[number // peers_ticks.STEP_NS // peers_ticks.SYMBOLS] += 1
    missing = sum(max(counts) + 1 - unanswered_first - len(counts) for counts in found.values())
    return missing, sum(counts.total() - len(counts) for counts in found.values())


def error_max(answers: Answers, reference: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]) -> float:
    """The largest |forecast - reference| / max(1, |reference|) of the symbols in `reference`.

    `reference` is symbol -> event times [m], forecasts [m, horizons]. Where the answers do not say which tick they are
    for, the nearest one of their symbol counts. Not finite where there is nothing to compare, or a value is not.
    """
    worst = float("-inf")
    for symbol, (times, wanted) in reference.items():
        chosen = np.array([name == symbol for name in answers.symbols])
        if not chosen.any():
            continue
        given, at = answers.forecasts[chosen], answers.event_time_ns[chosen]
        if (at < 0).any():
            errors = np.array([_errors(one, wanted).max(axis=1).min() for one in given])
        else:
            errors = _errors(given, wanted[np.searchsorted(times, at)])
        worst = max(worst, float(errors.max())) if np.isfinite(errors).all() else float("nan")
    return worst


def _errors(given: NDArray[np.float64], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.abs(given - wanted) / np.maximum(1.0, np.abs(wanted))


def us_per_tick(first: Look, last: Look) -> tuple[float, float] | tuple[None, None]:
    """Processor time per tick answered between two looks, the system's and the broker's; None where there was none."""
    answered = last.answered - first.answered
    if not answered:
        return None, None
    return (last.cpu_s - first.cpu_s) / answered * 1e6, (last.broker_s - first.broker_s) / answered * 1e6


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest, highest."""
    return Spread(median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of the ratios within each round: what the machine did in between falls out."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def table(runs: Mapping[str, Sequence[Run]], ours: Sequence[str], labels: Mapping[str, str]) -> str:
    """Markdown: one line per system, fastest first, and how many times faster each of `ours` is."""
    rates = {name: [run.ticks_per_s for run in of_one] for name, of_one in runs.items()}
    columns = ("system", "ticks/s, median", "range", "CPU us a tick", "broker's")
    head = [*columns, *(f"{labels[name]} is" for name in ours)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in sorted(rates, key=lambda each: -median(rates[each])):
        of_one = spread(rates[name])
        times = [f"{ratios(rates[our], rates[name]).median:.2f}x" if our != name else "" for our in ours]
        costs = [_cost([run.cpu_us_per_tick for run in runs[name]])]
        costs += [_cost([run.broker_us_per_tick for run in runs[name]])]
        lines.append([labels[name], f"{of_one.median:,.0f}", f"{of_one.low:,.0f}-{of_one.high:,.0f}", *costs, *times])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cost(us: Sequence[float | None]) -> str:
    seen = [each for each in us if each is not None]
    return f"{median(seen):,.0f}" if seen else ""
