"""The rounds of `tickcast bench engine` as one report that programs read; `bench_report.py` shows it to people.

Beside the way of a tick: what the benches say about it. Times are in microseconds.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickcast.bench_line import Run
from tickcast.bench_percentiles import percentiles
from tickcast.bench_rounds import Measured, Settings

PATHS = ("finish", "window")
# Stages of a turn that answers, in order; what the pipeline does beside them is `other`.
WAIT, OTHER = "wait", "other"
STAGES = ("decode", "features", "push", "run", "encode", "produce")
FLOAT32_BYTES = 4
# With fewer symbols the process's other growth is more than theirs.
MEMORY_SYMBOLS_MIN = 1_000

Report = dict[str, Any]


def summary(measured: Sequence[Measured], settings: Settings) -> list[Report]:
    """One report for each subject."""
    return [_subject(each, settings) for each in measured]


def _subject(measured: Measured, settings: Settings) -> Report:
    manifest = measured.subject.bundle.manifest
    report: Report = {
        "name": measured.subject.name,
        "simulated": measured.subject.simulated,
        "bundle": {"name": manifest.name, "version": manifest.version, "sha256": measured.subject.bundle.sha256},
        "family": manifest.family,
        "window": manifest.rules.window,
        "symbols": measured.symbols,
        "provider": measured.provider,
        "provider_reason": measured.provider_reason,
        "flops": _work(measured),
        "saturated": _saturated(measured, settings),
        "memory": _memory(measured),
    }
    if measured.paced:
        report["paced"] = _paced(measured.paced)
        report["window_only"] = _paced(measured.window_only)
        report["one_by_one"] = _paced(measured.one_by_one)
        report["plain"] = _plain(measured)
        report["finish_to_plain"] = _ratios(measured)
    if measured.keras:
        report["keras_predict"] = _times([np.array(times) for times in measured.keras])
    return report


def _paced(runs: Sequence[Run]) -> Report:
    latencies = np.concatenate([np.empty(0), *(run.latencies_s for run in runs)])
    paths = np.concatenate([np.empty(0, np.str_), *(run.paths for run in runs)])
    critical = {"all": percentiles(latencies)} | {path: percentiles(latencies[paths == path]) for path in PATHS}
    p50, p99 = critical["all"].p50, critical["all"].p99
    return {
        "ticks": sum(run.ticks for run in runs),
        "forecasts": len(latencies),
        "critical": {name: found.microseconds() for name, found in critical.items()},
        "share": {path: _share(paths, path) for path in PATHS},
        "p99_to_p50": round(p99 / p50, 2) if p50 else None,
        "stages": {path: _stages(runs, path) for path in PATHS},
    }


def _stages(runs: Sequence[Run], path: str) -> Report:
    """Percentiles of each stage over the turns that answered by `path` alone."""
    found: dict[str, list[float]] = {name: [] for name in (WAIT, *STAGES, OTHER)}
    for run in runs:
        for turn in run.turns:
            answered = slice(turn.first, turn.end)
            if set(run.paths[answered]) != {path}:
                continue
            last = turn.end - 1
            for stage in STAGES:
                found[stage].append(turn.stages.get(stage, 0.0))
            found[WAIT].append(float(run.waits_s[last]))
            whole = run.latencies_s[last] - run.waits_s[last]
            found[OTHER].append(float(whole - sum(turn.stages.get(stage, 0.0) for stage in STAGES)))
    return {stage: percentiles(np.array(times)).microseconds() for stage, times in found.items()}


def _plain(measured: Measured) -> Report:
    return {
        "paced": _times([timed.latencies_s for timed in measured.plain_paced]),
        "paced_run_alone": _times([timed.spent_s for timed in measured.plain_paced]),
        "at_once": _times(measured.plain_at_once),
    }


def _ratios(measured: Measured) -> Report:
    """The finish path's p50 to a plain run's, both of the same round: the median of the rounds, and its spread."""
    arriving, single = ([_finish_p50(run) for run in runs] for runs in (measured.paced, measured.one_by_one))
    paced = [percentiles(timed.latencies_s).p50 for timed in measured.plain_paced]
    at_once = [percentiles(times).p50 for times in measured.plain_at_once]
    return {
        "same_arrivals": spread(_quotients(arriving, paced)),
        "back_to_back": spread(_quotients(single, at_once)),
        "arriving_to_back_to_back": spread(_quotients(arriving, at_once)),
    }


def _finish_p50(run: Run) -> float:
    return percentiles(run.latencies_s[run.paths == "finish"]).p50


def _quotients(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, where both are there; `below` may have had rounds of its own."""
    return [one / other for one, other in zip(above, below, strict=False) if one and other]


def _saturated(measured: Measured, settings: Settings) -> Report:
    runs = measured.saturated
    if not runs:
        return {}
    paths = np.concatenate([run.paths for run in runs])
    ticks = sum(run.ticks for run in runs)
    report: Report = {
        "ticks": ticks,
        "forecasts": len(paths),
        "ticks_per_s": spread([run.ticks / run.wall_s for run in runs]),
        "us_per_tick": spread([run.wall_s / run.ticks * 1e6 for run in runs]),
        "share": {path: _share(paths, path) for path in PATHS},
        "flops_per_s": spread([_done(run, measured.work) / run.wall_s for run in runs]),
        "peak_flops_per_s": spread([peak.wall for peak in measured.peak]),
    }
    report["share_of_peak"] = report["flops_per_s"]["median"] / report["peak_flops_per_s"]["median"]
    if measured.provider == "cpu" and settings.inference.threads == 1:  # else other threads' time is not seen
        inside = [run.sessions_cpu_s / run.ticks * 1e6 for run in runs]
        whole = [run.cpu_s / run.ticks * 1e6 for run in runs]
        report["cpu_us_per_tick"] = {
            "inside_onnxruntime": spread(inside),
            "outside_onnxruntime": spread([all_ - part for all_, part in zip(whole, inside, strict=True)]),
        }
        report["windows_per_session_run"] = round(ticks / max(1, sum(run.session_runs for run in runs)), 1)
        seconds = sum(run.sessions_cpu_s for run in runs)
        done = sum(_done(run, measured.work) for run in runs)
        report["share_of_peak_inside_onnxruntime"] = done / seconds / median(peak.cpu for peak in measured.peak)
    if measured.plain_beside:
        report["plain_runs_per_s"] = spread([len(times) / times.sum() for times in measured.plain_beside])
    return report


def _work(measured: Measured) -> Report:
    """Floating-point operations of one tick by each path, and of the prefix that the finish path needs beforehand."""
    work = measured.work
    return {
        "finish": work.get("finish"),
        "prefix": work.get("prefix"),
        "window": work["window"] + work.get("features", 0),
        "graphs": work,
    }


def _done(run: Run, work: dict[str, int]) -> float:
    """Operations that the answers of a run took; a prefix that nobody used is work, but no answer."""
    by_path = {
        "finish": work.get("finish", 0) + work.get("prefix", 0),
        "window": work["window"] + work.get("features", 0),
    }
    return float(sum(np.count_nonzero(run.paths == path) * each for path, each in by_path.items()))


def _memory(measured: Measured) -> Report | None:
    """Bytes for each symbol that the process grew by while the windows filled; carries are not made then."""
    if measured.symbols < MEMORY_SYMBOLS_MIN:
        return None
    manifest = measured.subject.bundle.manifest
    window = manifest.rules.window * manifest.features * FLOAT32_BYTES
    grown = measured.fill_bytes / measured.symbols
    return {
        "bytes_per_symbol": round(grown),
        "window_bytes": window,
        "beside_window_bytes": round(grown - window),
    }


def _times(parts: Sequence[NDArray[np.float64]]) -> Report:
    return percentiles(np.concatenate([np.empty(0), *parts])).microseconds()


def _share(paths: NDArray[np.str_], path: str) -> float:
    return round(float((paths == path).mean()), 5) if len(paths) else 0.0


def spread(values: Sequence[float]) -> Report:
    """The median of the rounds, and how far they lie apart."""
    if not values:
        return {"median": None, "least": None, "most": None}
    return {"median": float(median(values)), "least": float(min(values)), "most": float(max(values))}
