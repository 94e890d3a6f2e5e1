"""What ticks cost one daemon, for `tickcast bench fleet`: measured by the other benches, read from their JSON.

Beside the way of a tick. Times are on the clock of the loop's thread, with everything the loop waits for in them: what
a tick keeps the next one waiting for, not what it takes of a processor.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tickcast.errors import UsageError

# A larger one is the work of others on the machine where it was measured: their turns are no part of a plan.
SPREAD_MAX = 0.8
# Of `bench fleet --check` the first so many are what its costs are from: graphs, a full topic, lone ticks.
CHECKED_REPORTS = 3
# The 90th percentile of the normal distribution.
NORMAL_P90 = 1.2816
# Of the clients in a report of `bench kafka` the one to read; the others only where it is absent.
CLIENT = "confluent-kafka"


class Costs(NamedTuple):
    """Seconds of one daemon's loop; the median, where they differ from time to time."""

    finish_s: float  # a tick alone whose carry is ready: in hand -> handed over
    window_s: float  # a tick alone without a carry
    finish_more_s: float  # each further tick of a poll whose carry is ready
    full_s: float  # each tick of a full poll, by window runs: 1 / capacity
    after_s: float  # after handing over a poll with finished ticks: their rows are written then
    prefix_s: float  # preparing one carry, while there is nothing else to do
    replay_s: float  # each record read back to rebuild windows
    spread: float  # of the logarithm of what a tick alone takes: caches are cold now and then, others run beside

    @property
    def capacity(self) -> float:
        """Ticks a second at most."""
        return 1 / self.full_s


class Source(NamedTuple):
    """Costs, and where each is from."""

    costs: Costs
    origins: dict[str, str]  # field of `Costs` -> in words


# Two cores of an AMD EPYC, shared with broker and load; `additive` over 64 rows, confluent-kafka, quiet machine.
# `tests/bench/results/fleet.json` is the run, `tests/chaos/results/recovery.json` that of replays; a test compares.
BUILT_IN = Costs(
    finish_s=168.851e-6,
    window_s=360.7e-6,
    finish_more_s=27.46e-6,
    full_s=52.095e-6,
    after_s=19.1e-6,
    prefix_s=153.4e-6,
    replay_s=9.6e-6,
    spread=0.6404,
)
BUILT_IN_ORIGIN = "built in: 2 cores of an AMD EPYC, additive, window 64, confluent-kafka"


def built_in() -> Source:
    """What was measured when this was written."""
    return Source(BUILT_IN, dict.fromkeys(Costs._fields, BUILT_IN_ORIGIN))


def read(paths: Sequence[Path]) -> Source:
    """The built-in costs, and over them what each report says, in order. Raises UsageError for what is no report."""
    source = built_in()
    for path in paths:
        try:
            report = json.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(f"{path}: {error}") from error
        source = updated(source, report, str(path))
    return source


def updated(source: Source, report: Any, name: str) -> Source:
    """`source` with what a report says instead: of `bench engine`, `kafka`, `fleet --check`, or recovery figures."""
    try:
        if report.get("bench") == "fleet-check":
            for part in report["reports"][:CHECKED_REPORTS]:
                source = updated(source, part, name)
            return source
        kind = "recovery" if "runs" in report else report["bench"]
        found = dict(_READERS[kind](report, source.costs))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
        told = "no report of `bench engine`, `bench kafka` or `bench fleet --check`, nor recovery figures"
        raise UsageError(f"{name}: {told}, or not as they are written: {error!r}") from error
    return Source(source.costs._replace(**found), source.origins | dict.fromkeys(found, name))


Found = Iterator[tuple[str, float]]


def _engine(report: Mapping[str, Any], _: Costs) -> Found:
    """Without broker and client: a lower bound."""
    subject = report["subjects"][0]
    saturated = subject["saturated"]
    yield "full_s", saturated["us_per_tick"]["median"] / 1e6
    if "cpu_us_per_tick" in saturated:
        inside, outside = (
            saturated["cpu_us_per_tick"][f"{side}_onnxruntime"]["median"] / 1e6 for side in ("inside", "outside")
        )
        yield "finish_more_s", outside + inside * subject["flops"]["finish"] / subject["flops"]["window"]
    if "paced" in subject:
        yield "finish_s", _worked_s(subject["paced"], "finish")
        yield "window_s", _worked_s(subject["window_only"], "window")
        yield "after_s", subject["paced"]["stages"]["finish"]["push"]["p50_us"] / 1e6
        # The prefix graph takes all steps of the window graph but one.
        yield "prefix_s", subject["window_only"]["stages"]["window"]["run"]["p50_us"] / 1e6


def _worked_s(paced: Mapping[str, Any], path: str) -> float:
    """What ticks answered by `path` took, without their wait for the loop."""
    return float(paced["critical"][path]["p50_us"] - paced["stages"][path]["wait"]["p50_us"]) / 1e6


def _kafka(report: Mapping[str, Any], before: Costs) -> Found:
    found = _of_client(report["clients"])
    if "saturated" in found:
        full_s = 1 / found["saturated"]["ticks_per_s"]
        yield "full_s", full_s
        yield "finish_more_s", full_s - found["saturated"]["stages_us_per_tick"]["run"] / 1e6
        return
    in_hand = found["daemon"]["stretches"]["received to sent"]
    finish_s = in_hand["p50_us"] / 1e6
    yield "finish_s", finish_s
    yield "spread", min(SPREAD_MAX, math.log(in_hand["p90_us"] / in_hand["p50_us"]) / NORMAL_P90)
    # What a window takes longer than a finish is the graph's own.
    yield "window_s", finish_s + before.window_s - before.finish_s


def _recovery(report: Mapping[str, Any], _: Costs) -> Found:
    restarts = _of_client(report["runs"])["restarts"]
    yield "replay_s", min(run["processor_s"] / run["replayed"] for run in restarts)


def _of_client(found: Mapping[str, Any]) -> Any:
    return found[CLIENT if CLIENT in found else min(found)]


_READERS: dict[str, Callable[[Mapping[str, Any], Costs], Found]] = {
    "engine": _engine,
    "kafka": _kafka,
    "recovery": _recovery,
}
