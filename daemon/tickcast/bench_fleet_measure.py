"""Costs for `tickcast bench fleet`, measured on this machine by the other benches: graphs, a full topic, lone ticks.

Around the whole way of a tick, by `bench engine` and `bench kafka`.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from tickcast import bench_engine, bench_kafka, bench_kafka_report, bench_machine, bench_subject, bundle, fleet_costs
from tickcast.bench_kafka import Found, Settings
from tickcast.bench_rounds import Settings as EngineSettings
from tickcast.clock import SystemClock
from tickcast.config import InferenceConfig
from tickcast.fleet_costs import Source

# Ticks of which nearly every one finds the daemon idle, and its carry ready.
LONE_RATE = 500.0
SYMBOLS, PARTITIONS = 64, 4
# Of a paced round.
ROUND_S = 6.0
TICKS_MAX = 60_000
# As the daemon's own defaults, but one thread: only then the processor's time is told apart.
ENGINE = EngineSettings(
    pace="poisson",
    rate_per_s=1_000.0,
    duration_s=6.0,
    rounds=2,
    saturated_ticks=15_000,
    saturated_only=False,
    seed=1,
    inference=InferenceConfig(threads=1),
    plain_graph=None,
)

Tell = Callable[[str], None]


class Run(NamedTuple):
    """One run of `bench kafka`."""

    settings: Settings
    found: Found
    report: Any
    load: float  # of the machine, just before


class Measured(NamedTuple):
    """Costs, and the runs they are from."""

    source: Source
    engine: Any  # report of `bench engine`
    full: Run
    lone: Run


def measure(settings: Settings, tell: Tell) -> Measured:
    """All that costs are made of; `settings` are those of `bench kafka`, for one client. Raises TickcastError."""
    tell("graphs")
    loaded = bundle.load(settings.bundle)
    subject = bench_subject.simulated(loaded, None, settings.symbols, settings.seed)
    engine = bench_engine.run([subject], ENGINE, f"simulated, seed {settings.seed}", SystemClock(), tell)
    full = kafka(replace(settings, saturate=True), tell)
    lone = kafka(paced(settings, LONE_RATE), tell)
    source = fleet_costs.built_in()
    names = ("bench engine", "a full topic", f"{LONE_RATE:g} ticks/s")
    for name, report in zip(names, (engine, full.report, lone.report), strict=True):
        source = fleet_costs.updated(source, report, f"measured here, {name}")
    return Measured(source, engine, full, lone)


def paced(settings: Settings, rate: float) -> Settings:
    """The same at `rate` ticks a second."""
    return replace(settings, saturate=False, rate=rate, ticks=int(min(rate * ROUND_S, TICKS_MAX)))


def kafka(settings: Settings, tell: Tell) -> Run:
    """One run of `bench kafka`. Raises TickcastError."""
    tell("a full topic" if settings.saturate else f"{settings.rate:,.0f} ticks/s")
    load = bench_machine.load()
    found = bench_kafka.run(settings)
    report = json.loads(bench_kafka_report.as_json(settings, bench_kafka_report.facts(settings), found))
    (of_client,) = found.values()
    return Run(settings, of_client, report, load)
