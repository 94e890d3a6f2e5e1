"""The crash matrix: every way a daemon, its host, its network or its broker may fail, under load, with both clients.

`make chaos`, or `python -m chaos.matrix` with `tests` on the path. From the environment: `CLIENT`, `DELIVERY` and
`SCENARIO` (one, or several with commas; default: all), `KILLS` (100, over all variants), `SEED` (0), `RATE` (1,100
ticks a second). Ends by itself with a table, which `tests/chaos/results` keeps where nothing is left out; exit status 1
where something does not hold.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from tickcast import bench_machine
from tickcast.clients import CLIENTS
from tickcast.errors import TickcastError

from chaos import model, plans, report, scenarios
from chaos.cluster import proxied_broker
from chaos.course import Course, Site, Variant
from chaos.report import Row

DELIVERIES = ("at_least_once", "exactly_once")
STAGE_STRIKES_MIN = 10  # of a hundred
KILLS = 100
SESSION_TIMEOUT_S = 6.0  # the default
SETTLED_S = 2.0


@dataclass(frozen=True)
class Size:
    """How much is run."""

    clients: tuple[str, ...]
    deliveries: tuple[str, ...]
    scenarios: tuple[str, ...]
    kills: int
    seed: int
    rate: float

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Size":
        """As asked for. Raises KeyError for what there is not."""
        return cls(
            clients=_chosen(environment.get("CLIENT"), tuple(CLIENTS)),
            deliveries=_chosen(environment.get("DELIVERY"), DELIVERIES),
            scenarios=_chosen(environment.get("SCENARIO"), (scenarios.KILLS, *scenarios.SCENARIOS)),
            kills=int(environment.get("KILLS") or KILLS),
            seed=int(environment.get("SEED") or 0),
            rate=float(environment.get("RATE") or 1_100),
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out: only then the results are kept."""
        scenarios_run = len(self.scenarios) - 1 == len(scenarios.SCENARIOS)
        return scenarios_run and self.kills >= KILLS and len(self.variants) == len(CLIENTS) * len(DELIVERIES)

    @property
    def variants(self) -> list[Variant]:
        """Every client with every delivery."""
        return [Variant(client, delivery, self.seed) for delivery in self.deliveries for client in self.clients]


def main() -> int:
    """All of it."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # daemons are ended on the way out
    console, size = Console(highlight=False, soft_wrap=True), Size.of(os.environ)
    rows: list[Row] = []
    began_s, load_before = time.monotonic(), bench_machine.load()
    folder = Path(tempfile.mkdtemp(prefix="tickcast-chaos-"))
    console.print(f"logs: {folder}")
    with proxied_broker() as (broker, proxy):
        place = Site(broker, proxy, model.make(folder), model.WINDOW, folder, size.rate, SESSION_TIMEOUT_S, SETTLED_S)
        for variant in size.variants:
            for name in size.scenarios:
                rows.append(run(place, variant, name, action_of(name, variant, size)))
                console.print(_line(rows[-1]))
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{bench_machine.cores()} of {bench_machine.cpu_model()}",
        "load before": round(load_before, 1),
        "seed": size.seed,
        "minutes": round((time.monotonic() - began_s) / 60, 1),
    }
    console.print(f"\n{report.table(rows)}\n\nstrikes by stage: {report.by_stage(rows)}")
    if size.is_whole:
        report.write(rows, facts, "chaos")
    if any(row.problems for row in rows) or not _struck_enough(rows, size, console):
        return 1
    shutil.rmtree(folder)
    return 0


def action_of(name: str, variant: Variant, size: Size) -> Callable[[Course], None]:
    """What scenario `name` does to the daemons of `variant`."""
    if name in scenarios.SCENARIOS:
        return scenarios.SCENARIOS[name]
    kills = round(size.kills / len(size.variants))
    strikes = plans.strikes(kills, len(size.deliveries), variant.delivery, variant.client, variant.seed)
    return lambda course: scenarios.killed(course, strikes)


def run(place: Site, variant: Variant, name: str, action: Callable[[Course], None]) -> Row:
    """One run; what fails in it is a problem of its row, and the next one is run."""
    began_s = time.monotonic()
    found = None
    with Course(place, variant, name) as course:
        try:
            action(course)
            found = course.finish()
        except (TimeoutError, TickcastError, pytest.fail.Exception) as error:
            course.notes.problems.append(f"{type(error).__name__}: {error}")
    notes = course.notes
    return Row(
        scenario=name,
        client=variant.client,
        delivery=variant.delivery,
        seconds=round(time.monotonic() - began_s, 1),
        strikes=dict(notes.strikes),
        unreached=dict(notes.unreached),
        ticks=found.ticks if found else 0,
        ticks_per_s=course.sent.rate,
        missing=found.missing if found else -1,
        doubled=found.doubled if found else -1,
        deviation=found.deviation if found else float("nan"),
        restarts_s=[round(each, 2) for each in notes.restarts_s],
        takeovers_s={what: [round(each, 2) for each in times] for what, times in notes.takeovers_s.items()},
        statuses=[status for member in (*course.departed, *course.members) for status in member.ended_by_themselves()],
        problems=[*notes.problems, *notes.late],
    )


def _struck_enough(rows: list[Row], size: Size, console: Console) -> bool:
    """Whether each stage had its share of the kills, where nothing is left out."""
    if not size.is_whole:
        return True
    struck = report.by_stage([row for row in rows if row.scenario == scenarios.KILLS])
    wanted = {stage for delivery in size.deliveries for stage in plans.stages(delivery)}
    few = {stage: struck.get(stage, 0) for stage in wanted if struck.get(stage, 0) < STAGE_STRIKES_MIN}
    if few:
        console.print(f"fewer than {STAGE_STRIKES_MIN} strikes inside a stage: {few}")
    return not few


def _chosen(asked: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(asked.split(",")) if asked else known
    if unknown := set(names) - set(known):
        raise KeyError(f"{', '.join(sorted(unknown))}: allowed: {', '.join(known)}")
    return names


def _line(row: Row) -> str:
    what = f"{row.scenario:18} {row.client:16} {row.delivery:14} {row.seconds:5.0f} s  {row.ticks:8,} ticks"
    found = f"missing {row.missing}  doubled {row.doubled}  deviation {row.deviation:.0e}  {row.takeovers_s or ''}"
    return f"{what}  {found}  {'; '.join(row.problems)}"


if __name__ == "__main__":
    sys.exit(main())
