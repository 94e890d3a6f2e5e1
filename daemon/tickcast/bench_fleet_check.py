"""`tickcast bench fleet --check`: the simulation of one daemon beside the daemon itself, at the same rates.

Around the whole way of a tick. Lone ticks and the full topic give the costs; what lies between is foretold by them, and
compared: in the same minutes, on the same machine.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from tickcast import bench_fleet_measure, bench_table, fleet_costs
from tickcast.bench_fleet_measure import Measured, Run, Tell
from tickcast.bench_kafka import Settings
from tickcast.bench_percentiles import Percentiles, duration, percentiles
from tickcast.config import KafkaConfig
from tickcast.fleet_arrivals import Bursts, Market
from tickcast.fleet_costs import Costs, Source
from tickcast.fleet_daemon import Served, Shape, serve

# A full topic is simulated as so many times what a daemon can answer.
OVERLOAD = 3.0
OVERLOAD_S = 5.0
COMPARED = ("p50", "p90", "p99")

Report = dict[str, Any]


class Point(NamedTuple):
    """One rate: as measured, and as simulated."""

    rate: float
    span: str  # what was timed
    measured: Percentiles
    simulated: Percentiles
    finish_measured: float  # share of the ticks
    finish_simulated: float
    load: float  # of the machine, just before

    def as_dict(self) -> Report:
        """For programs."""
        pairs = {name: (getattr(self.measured, name), getattr(self.simulated, name)) for name in COMPARED}
        times = {"measured": self.measured.microseconds(), "simulated": self.simulated.microseconds()}
        ratio = {name: measured / simulated for name, (measured, simulated) in pairs.items() if simulated}
        return {**self._asdict(), **times, "ratio": ratio}


def run(settings: Settings, rates: Sequence[float], tell: Tell) -> Report:
    """Measure and compare; `settings` are those of `bench kafka`, for one client. Raises TickcastError as it does."""
    measured = bench_fleet_measure.measure(settings, tell)
    others = [bench_fleet_measure.kafka(bench_fleet_measure.paced(settings, rate), tell) for rate in sorted(rates)]
    costs, origins = measured.source.costs, measured.source.origins
    return {
        "bench": "fleet-check",
        "reports": [measured.engine, *(run.report for run in (measured.full, measured.lone, *others))],
        "costs": {name: {"value": value, "from": origins[name]} for name, value in costs._asdict().items()},
        "full": _full(measured),
        "points": [
            without_broker(measured.engine, measured.source).as_dict(),
            *(point(run, costs).as_dict() for run in (measured.lone, *others)),
        ],
    }


def table(report: Report) -> Table:
    """For a person."""
    rows = []
    for found in report["points"]:
        cells = []
        for name in COMPARED:
            times = (duration(found[kind][f"{name}_us"] / 1e6) for kind in ("simulated", "measured"))
            cells.append(f"{' / '.join(times)} ({found['ratio'][name]:.2f})")
        shares = (f"{found[f'finish_{kind}']:.0%}" for kind in ("simulated", "measured"))
        rows.append([f"{found['rate']:,.0f}/s, {found['span']}", *cells, " / ".join(shares), f"{found['load']:.1f}"])
    return bench_table.table("", ["", *COMPARED, "finish path", "load"], rows)


def lines(report: Report) -> Iterator[str]:
    """What the table does not hold."""
    full = report["full"]
    rates = {name: bench_table.rate(full[name]) for name in ("simulated", "measured", "least", "most")}
    yield (
        f"full topic: {rates['simulated']} / {rates['measured']} ({full['measured'] / full['simulated']:.2f}),"
        f" {rates['least']} to {rates['most']}, load {full['load']:.1f}"
    )
    yield "simulated / measured (ratio); lone ticks and the full topic gave the costs, the rest is foretold by them"


def without_broker(report: Report, source: Source) -> Point:
    """The paced rounds of `bench engine`, where ticks wait for the loop only: its costs, and `source`'s spread."""
    subject, load = report["subjects"][0], report["load"]
    rate, costs = load["rate_per_s"], fleet_costs.updated(source, report, "bench engine").costs
    paced = subject["paced"]
    times = {name.removesuffix("_us"): value / 1e6 for name, value in paced["critical"]["all"].items()}
    times["count"] = paced["critical"]["all"]["count"]
    simulated = _simulated(subject["symbols"], load["seed"], rate, load["duration_s"], costs)
    return Point(
        rate=rate,
        span="no broker: there to handed",
        measured=Percentiles(**times),
        simulated=percentiles(simulated.latencies_s),
        finish_measured=paced["share"]["finish"],
        finish_simulated=simulated.finished / max(1, len(simulated.latencies_s)),
        load=report["machine"]["load_1m"],
    )


def point(run: Run, costs: Costs) -> Point:
    """A paced run, and the same simulated with `costs`."""
    settings, rounds = run.settings, run.found.daemon
    in_hand = np.concatenate([each.stretches["received to sent"] for each in rounds])
    answered = [sum(each.paths.values()) for each in rounds]
    duration_s = settings.ticks * settings.rounds / settings.rate
    simulated = _simulated(settings.symbols, settings.seed, settings.rate, duration_s, costs)
    return Point(
        rate=settings.rate,
        span="polled to handed",
        measured=percentiles(in_hand),
        simulated=percentiles(simulated.in_hand_s),
        finish_measured=sum(each.paths["finish"] for each in rounds) / max(1, sum(answered)),
        finish_simulated=simulated.finished / max(1, len(simulated.in_hand_s)),
        load=run.load,
    )


def _full(measured: Measured) -> Report:
    costs, run = measured.source.costs, measured.full
    asked = run.settings
    served = _simulated(asked.symbols, asked.seed, OVERLOAD * costs.capacity, OVERLOAD_S, costs)
    rates = [each.ticks_per_s for each in run.found.saturated]
    return {
        "measured": float(np.median(rates)),
        "least": min(rates),
        "most": max(rates),
        "simulated": len(served.in_hand_s) / served.ended_s,
        "load": run.load,
    }


def _simulated(symbols: int, seed: int, rate: float, duration_s: float, costs: Costs) -> Served:
    arrivals = Market(Bursts(), duration_s, seed).arrivals(rate, [seed])
    poll_records_max = KafkaConfig.model_fields["poll_records_max"].default
    return serve(arrivals, costs, Shape(poll_records_max, symbols, symbols), [seed], duration_s)
