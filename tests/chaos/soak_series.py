"""From samples of a long run to what was promised of it: memory, descriptors and threads flat, latency without drift.

Nothing here knows a process, a broker or a clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MEMORY_SPREAD_MAX = 0.02
DRIFT_MAX = 1.3
QUANTILE = 0.99
LOOP, SIDECAR = "loop", "sidecar"
# What a scrape counts, upper bound in seconds -> observations not above it; the last one is infinite.
Buckets = Mapping[float, float]


@dataclass(frozen=True)
class Footprint:
    """One process at one moment."""

    resident_bytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Sample:
    """One moment of the run."""

    at_s: float
    footprints: Mapping[str, Footprint]
    latencies: Mapping[str, Buckets]  # name of the histogram -> its buckets so far


@dataclass(frozen=True)
class Check:
    """One promise."""

    what: str
    found: str
    allowed: str
    holds: bool


def checks(samples: Sequence[Sample], warm_s: float, span_s: float) -> list[Check]:
    """What holds of `samples` from `warm_s` on; latencies of the first `span_s` beside those of the last."""
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    made = []
    for process in (LOOP, SIDECAR):
        prints = [sample.footprints[process] for sample in warm]
        made.append(_memory(process, [each.resident_bytes for each in prints]))
        made.append(_constant(f"{process}: descriptors", [each.descriptors for each in prints]))
        made.append(_constant(f"{process}: threads", [each.threads for each in prints]))
    return made + [_drift(name, warm, span_s) for name in warm[0].latencies]


def quantile(before: Buckets, after: Buckets, share: float) -> float:
    """The `share` quantile in seconds of what was observed between two scrapes, interpolated within its bucket."""
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    wanted = share * max(counts.values())
    lower_s, below = 0.0, 0.0
    for upper_s, count in counts.items():
        if count >= wanted and count > below:
            if upper_s == float("inf"):
                return upper_s
            return lower_s + (upper_s - lower_s) * (wanted - below) / (count - below)
        lower_s, below = upper_s, count
    return float("nan")  # nothing was observed


def table(made: Sequence[Check]) -> str:
    """Markdown."""
    lines = [("what", "found", "allowed", "holds"), ("---",) * 4]
    lines += [(each.what, each.found, each.allowed, "yes" if each.holds else "no") for each in made]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _memory(process: str, resident_bytes: Sequence[int]) -> Check:
    start = resident_bytes[0]
    off = max(abs(each - start) / start for each in resident_bytes)
    found = f"{start / 2**20:.1f} MiB, at most {off:.2%} off"
    return Check(f"{process}: resident memory", found, f"{MEMORY_SPREAD_MAX:.0%}", off <= MEMORY_SPREAD_MAX)


def _constant(what: str, numbers: Sequence[int]) -> Check:
    low, high = min(numbers), max(numbers)
    return Check(what, f"{low}" if low == high else f"{low} to {high}", "constant", low == high)


def _drift(name: str, samples: Sequence[Sample], span_s: float) -> Check:
    begin_s, end_s = samples[0].at_s, samples[-1].at_s
    first = [sample for sample in samples if sample.at_s <= begin_s + span_s]
    last = [sample for sample in samples if sample.at_s >= end_s - span_s]
    times = [quantile(part[0].latencies[name], part[-1].latencies[name], QUANTILE) for part in (first, last)]
    found = f"{times[0] * 1e3:.2f} ms, then {times[1] * 1e3:.2f} ms: {times[1] / times[0]:.2f}x"
    return Check(f"{name}: p99", found, f"{DRIFT_MAX}x", times[1] <= DRIFT_MAX * times[0])
