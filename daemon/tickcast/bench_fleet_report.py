"""What `tickcast bench fleet` says: one table, a column for each plan; for a terminal, for a document, for programs.

Beside the way of a tick: what the benches say about it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.table import Table

from tickcast import bench_table
from tickcast.bench_fleet import Report
from tickcast.bench_percentiles import duration

# What nobody should read into the figures.
LEFT_OUT = (
    "measured: what a tick costs one daemon on its cores; assumed: daemons on one host do not slow each other down",
    "assumed: the brokers, the network and the group's coordinator keep up; a takeover takes what --takeover-s says",
    "left out: the way through Kafka, other programs, pauses of the machine, ladders of more than one carry, hot spots"
    " that move; latencies are from a tick there to be polled to its forecast handed to the client",
)
DECIMAL = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def lines(report: Report) -> Iterator[str]:
    """What ticks cost, and where that is from."""
    by_origin: dict[str, list[str]] = {}
    for name, cost in report["costs"].items():
        text = f"{cost['value']:.2f}" if name == "spread" else duration(cost["value"])
        by_origin.setdefault(cost["from"], []).append(f"{name.removesuffix('_s')} {text}")
    for origin, found in by_origin.items():
        yield f"costs ({origin}): {', '.join(found)}"


def remarks(reports: Sequence[Report]) -> Iterator[str]:
    """What is wrong with a plan, and what the figures leave out."""
    for number, report in enumerate(reports, 1):
        of = f"column {number}: " if len(reports) > 1 else ""
        yield from (f"warning: {of}{text}" for text in report["warnings"])
    yield from LEFT_OUT


def table(reports: Sequence[Report], differing: bool = False) -> Table:
    """For a terminal."""
    header, *rest = rows(reports, differing)
    return bench_table.table("", header, rest)


def markdown(reports: Sequence[Report], differing: bool = False) -> str:
    """For a document."""
    header, *rest = rows(reports, differing)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rest))


def as_json(reports: Sequence[Report]) -> str:
    """Everything."""
    whole = {"bench": "fleet", "plans": list(reports), "left_out": LEFT_OUT}
    return json.dumps(whole, indent=2) + "\n"


def rows(reports: Sequence[Report], differing: bool = False) -> list[list[str]]:
    """The header and the lines below it: what, and how much in each plan; or only where plans are `differing`."""
    header, *rest = ([name, *(cell(report) for report in reports)] for name, cell in _ROWS.items())
    return [header, *(line for line in rest if not differing or len(set(line[1:])) > 1)]


def _of_loss(cell: Callable[[Any], str]) -> Callable[[Report], str]:
    return lambda report: "-" if report["loss"] is None else cell(report["loss"])


def _after(loss: Report, name: str) -> str:
    seconds = loss[name]
    return f"not in {loss['looked_at_s']:.0f} s" if seconds is None else duration(seconds)


def _latency(times: Any, *names: str) -> str:
    return " / ".join(duration(times[f"{name}_us"] / 1e6) for name in names) if times["count"] else "-"


def _bytes(count: float) -> str:
    scale, unit = next(((scale, unit) for scale, unit in DECIMAL if count >= scale), (1.0, "B"))
    return f"{count / scale:.3g} {unit}"


def _least_most(found: Any) -> str:
    return f"{found['least']}" if found["least"] == found["most"] else f"{found['least']} to {found['most']}"


def _load(report: Report) -> str:
    load = report["group"]["load"]
    return " / ".join(f"{load[name]:.0%}" for name in ("average", "busiest", "busiest_in_bursts"))


# What stands before a line -> its figure. The first line is the header.
_ROWS: dict[str, Callable[[Report], str]] = {
    "ticks/s": lambda report: f"{report['plan']['ticks_per_s']:,.0f}",
    "symbols": lambda report: f"{report['plan']['symbols']:,}",
    "skew": lambda report: f"{report['plan']['skew']:g}",
    "partitions": lambda report: f"{report['plan']['partitions']:,}",
    "hosts x cores": lambda report: f"{report['plan']['hosts']} x {report['plan']['cores']}",
    "daemons": lambda report: f"{report['group']['daemons']:,}",
    "partitions of a daemon": lambda report: _least_most(report["group"]["partitions_of_a_daemon"]),
    "symbols of a daemon, most": lambda report: f"{report['group']['symbols_of_a_daemon']:,}",
    "memory of a daemon": lambda report: _bytes(report["group"]["memory_of_a_daemon"]),
    "memory of a host": lambda report: _bytes(report["group"]["memory_of_a_host"]),
    "load: average / busiest / busiest in a burst": _load,
    "busiest symbol, of a daemon": lambda report: f"{report['group']['busiest_symbol']['of_capacity']:.2%}",
    "latency of all, p50 / p99": lambda report: _latency(report["steady"]["average"]["latency"], "p50", "p99"),
    "latency of the busiest, p50 / p99": lambda report: _latency(report["steady"]["busiest"]["latency"], "p50", "p99"),
    "answered by the finish path": lambda report: f"{report['steady']['average']['finish_share']:.0%}",
    "loop: answering / preparing": lambda report: (
        f"{report['steady']['average']['answering']:.0%} / {report['steady']['average']['preparing']:.0%}"
    ),
    "producers to brokers": lambda report: f"{_bytes(report['traffic']['from_producers'])}/s",
    "brokers to consumers": lambda report: f"{_bytes(report['traffic']['to_consumers'])}/s",
    "between brokers": lambda report: f"{_bytes(report['traffic']['between_brokers'])}/s",
    "written to their disks": lambda report: f"{_bytes(report['traffic']['to_disk'])}/s",
    "kept there": lambda report: _bytes(report["traffic"]["kept"]),
    "hosts lost, partitions": _of_loss(lambda loss: f"{loss['hosts']}, {loss['partitions']}"),
    "load of the busiest then": _of_loss(lambda loss: f"{loss['load_after']:.0%}"),
    "records read back by a daemon": _of_loss(lambda loss: f"{loss['replayed_records']:,}"),
    "windows rebuilt after": _of_loss(lambda loss: _after(loss, "rebuilt_s")),
    "nothing waits any more after": _of_loss(lambda loss: _after(loss, "caught_up_s")),
    "most ticks waiting": _of_loss(lambda loss: f"{loss['ticks_waiting_at_most']:,}"),
    "own ticks' p99 meanwhile": _of_loss(lambda loss: _latency(loss["own_meanwhile"], "p99")),
    "hosts at half load": lambda report: f"{report['group']['hosts_at_half_load']:,}",
}
