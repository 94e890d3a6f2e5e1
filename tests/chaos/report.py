"""What the crash matrix leaves behind: a line for each run, as a table to read and as JSON to compute with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    "scenario",
    "client",
    "delivery",
    "strikes",
    "ticks",
    "ticks/s",
    "missing",
    "doubled",
    "deviation",
    "restart to forecast, p50 / max s",
    "until a reader sees it, s",
    "ended by itself",
    "holds",
)


class Row(NamedTuple):
    """One run of one scenario."""

    scenario: str
    client: str
    delivery: str
    seconds: float
    strikes: Mapping[str, int]
    unreached: Mapping[str, int]
    ticks: int
    ticks_per_s: float
    missing: int
    doubled: int
    deviation: float
    restarts_s: Sequence[float]
    takeovers_s: Mapping[str, Sequence[float]]
    statuses: Sequence[int]  # of processes that ended by themselves
    problems: Sequence[str]


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [COLUMNS, tuple("---" if at < 4 else "---:" for at in range(len(COLUMNS))), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_stage(rows: Sequence[Row]) -> dict[str, int]:
    """Strikes inside each stage, over all runs."""
    found: dict[str, int] = {}
    for row in rows:
        for stage, count in row.strikes.items():
            found[stage] = found.get(stage, 0) + count
    return found


def write(rows: Sequence[Row], facts: Mapping[str, Any], name: str) -> None:
    """`results/NAME.md` and `.json`."""
    RESULTS.mkdir(exist_ok=True)
    document = {"facts": facts, "strikes": by_stage(rows), "rows": [row._asdict() for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    told = "; ".join(f"{key} {value}" for key, value in facts.items())
    stages = ", ".join(f"{stage} {count}" for stage, count in sorted(by_stage(rows).items()))
    problems = [f"- {row.scenario}, {row.client}, {row.delivery}: {each}" for row in rows for each in row.problems]
    parts = [f"{told}.", table(rows), f"Strikes by stage: {stages}.", *(["\n".join(problems)] if problems else [])]
    (RESULTS / f"{name}.md").write_text("\n\n".join(parts) + "\n", "utf-8")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.scenario,
        row.client,
        row.delivery,
        _counts(row.strikes),
        f"{row.ticks:,}",
        f"{row.ticks_per_s:,.0f}",
        str(row.missing),
        str(row.doubled),
        f"{row.deviation:.0e}",
        f"{median(row.restarts_s):.2f} / {max(row.restarts_s):.2f}" if row.restarts_s else "",
        "; ".join(f"{what} {', '.join(f'{each:.1f}' for each in times)}" for what, times in row.takeovers_s.items()),
        ", ".join(map(str, row.statuses)),
        "no" if row.problems else "yes",
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{stage} {count}" for stage, count in sorted(counts.items()))
