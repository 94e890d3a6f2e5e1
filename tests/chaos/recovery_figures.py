"""What a restart and a takeover came to, as tables to read and as JSON to compute with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from tickcast.records import Forecast

from chaos.report import RESULTS

MILLISECOND = 1e6  # ns
RESTART_HEAD = "| restart | ticks replayed | ready, s | windows rebuilt, s | first forecast, s | processor, s | load |"
TAKEOVER_HEAD = (
    "| takeover | ticks replayed | in s | own ticks before: p50 / p99, ms | meanwhile: p50 / p99, ms | p99 ratio "
    "| just after: p50 / p99, ms | load |"
)


@dataclass(frozen=True)
class Restart:
    """Of one restart: seconds since its start, and of the processor's until the windows stood."""

    ready_s: float
    rebuilt_s: float
    forecast_s: float
    replayed: int
    processor_s: float
    load: float


@dataclass(frozen=True)
class Span:
    """What ticks took in a span of time, from their Kafka timestamp until the forecast was sent."""

    seconds: float
    ticks: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    received_p99_ms: float  # until the tick was polled; the rest is answering

    @property
    def text(self) -> str:
        """For a table."""
        return f"{self.p50_ms:.1f} / {self.p99_ms:.1f}"


@dataclass(frozen=True)
class Takeover:
    """Of one takeover: what the survivor's own ticks took, and how much it read back meanwhile."""

    before: Span
    rebuilding: Span
    after: Span
    replayed: int
    taken_up_s: float  # since the kill
    load: float

    @property
    def ratio(self) -> float:
        """By how much the p99 of the partitions that nothing happened to rose."""
        return self.rebuilding.p99_ms / self.before.p99_ms


Runs = Mapping[str, tuple[Sequence[Restart], Sequence[Takeover]]]  # by client


def span(sent: Sequence[Forecast], first_ns: int, end_ns: int) -> Span:
    """Of the forecasts of ticks written in that time."""
    inside = [f for f in sent if first_ns <= f.tick_time_ns < end_ns]
    took_ns = [f.sent_time_ns - f.tick_time_ns for f in inside] or [np.nan]
    waited_ns = [f.received_time_ns - f.tick_time_ns for f in inside] or [np.nan]
    p50, p99, most = (float(each) for each in np.percentile(took_ns, [50, 99, 100]) / MILLISECOND)
    return Span(
        (end_ns - first_ns) / 1e9, len(inside), p50, p99, most, float(np.percentile(waited_ns, 99) / MILLISECOND)
    )


def tables(runs: Runs) -> str:
    """Markdown: the median of each client's restarts, and each takeover."""
    restarts = [_restart(client, made) for client, (made, _) in runs.items() if made]
    takeovers = [_takeover(client, each) for client, (_, made) in runs.items() for each in made]
    return "\n".join(
        [RESTART_HEAD, "| --- |" + " ---: |" * 6, *restarts, "", TAKEOVER_HEAD, "| --- |" + " ---: |" * 7, *takeovers]
    )


def write(runs: Runs, facts: Mapping[str, Any]) -> None:
    """`results/recovery.md` and `.json`."""
    RESULTS.mkdir(exist_ok=True)
    listed = {
        client: {"restarts": [asdict(each) for each in restarts], "takeovers": [asdict(each) for each in takeovers]}
        for client, (restarts, takeovers) in runs.items()
    }
    document = json.dumps({"facts": facts, "runs": listed}, indent=1)
    (RESULTS / "recovery.json").write_text(document + "\n", "utf-8")
    told = "; ".join(f"{key} {value}" for key, value in facts.items())
    (RESULTS / "recovery.md").write_text(f"{told}.\n\n{tables(runs)}\n", "utf-8")


def _restart(client: str, made: Sequence[Restart]) -> str:
    middle = {name: median(getattr(each, name) for each in made) for name in Restart.__dataclass_fields__}
    seconds = [f"{middle[name]:.2f}" for name in ("ready_s", "rebuilt_s", "forecast_s", "processor_s")]
    cells = [client, f"{middle['replayed']:,.0f}", *seconds, f"{middle['load']:.1f}"]
    return f"| {' | '.join(cells)} |"


def _takeover(client: str, each: Takeover) -> str:
    cells = [
        client,
        f"{each.replayed:,}",
        f"{each.rebuilding.seconds:.1f}",
        each.before.text,
        each.rebuilding.text,
        f"{each.ratio:.2f}",
        each.after.text,
        f"{each.load:.1f}",
    ]
    return f"| {' | '.join(cells)} |"
