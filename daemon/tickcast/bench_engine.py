"""`tickcast bench engine` from its settings to its report: the machine, the rounds, what they come to.

Beside the way of a tick: recorded bytes in, forecast bytes out, no broker.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from tickcast import bench_beside, bench_machine, bench_watched
from tickcast.bench_line import NOTHING
from tickcast.bench_load import GAP_MAX_S
from tickcast.bench_rounds import Settings, measure
from tickcast.bench_subject import Subject
from tickcast.bench_summary import Report, summary
from tickcast.clock import Clock


def run(
    subjects: Sequence[Subject],
    settings: Settings,
    ticks: str,
    clock: Clock,
    tell: Callable[[str], None],
    watched: bool = False,
) -> Report:
    """Measure all `subjects` and report; `ticks` says where the ticks are from. Raises as `bench_rounds.measure`.

    `watched`: only what it costs that others look, see `bench_watched`; with `settings.extras` only what these cost,
    see `bench_beside`.
    """
    machine = bench_machine.facts() | {"onnxruntime": version("onnxruntime-gpu")}
    warning = bench_machine.busy_warning()
    if watched:
        reports = bench_watched.compare(subjects, settings, clock, tell)
    elif settings.extras != NOTHING:
        reports = bench_beside.compare(subjects, settings, clock, tell)
    else:
        reports = summary(measure(subjects, settings, clock, tell), settings)
    return {
        "bench": "engine",
        "machine": machine,
        "warning": warning,
        "load": {
            "ticks": ticks,
            "arrivals": _arrivals(settings),
            "pace": settings.pace,
            "rate_per_s": settings.rate_per_s if settings.pace == "poisson" else None,
            "duration_s": settings.duration_s,
            "rounds": settings.rounds,
            "saturated_ticks": settings.saturated_ticks,
            "seed": settings.seed,
            "threads": settings.inference.threads,
            "batch_max": settings.inference.batch_max,
            "plain_graph": "given" if settings.plain_graph else "the bundle's window graph",
        },
        "subjects": reports,
    }


def _arrivals(settings: Settings) -> str:
    if settings.pace == "recorded":
        return f"as recorded, silences at most {GAP_MAX_S:g} s"
    return f"Poisson arrivals, {settings.rate_per_s:g} a second"
