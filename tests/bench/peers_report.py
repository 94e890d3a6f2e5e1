"""What the comparison leaves behind: `results/peers.json`, `.md`, `.png` and `.svg`."""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import peers_environments, peers_files, peers_reference, peers_results, peers_ticks, picture
from bench.peers_results import Run
from bench.peers_systems import HERE, OURS_COMPARED, SYSTEMS
from rich.console import Console
from tickcast.kafka_jars import KAFKA_VERSION

RESULTS = HERE / "results"
# What is not the same for all.
DIFFERENCES = """\
The weights are the same in every line. tickcast runs them as its certified graph, behind its own features; "plain
graph" is tickcast with the frameworks' features and the very graph that they run. tickcast's records are two and a half
times as long, and after a restart it has its windows again; those of Quix Streams, Faust and the sketch are gone with
the process, and Bytewax's are in its own state, which is not written to disk here. Every system has two onnxruntime
threads; the sketch's spin while they wait, as is onnxruntime's default."""


def facts(names: Sequence[str], rounds: int, ticks: int, seconds: float) -> dict[str, Any]:
    """What whoever wants to judge the figures must know."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kafka": f"{KAFKA_VERSION}, KRaft, on the same machine",
        "rounds": rounds,
        "ticks": ticks,
        "seconds_max": seconds,
        "symbols": peers_ticks.SYMBOLS,
        "partitions": peers_ticks.PARTITIONS,
        "window": peers_files.WINDOW,
        "features": peers_files.FEATURES,
        "versions": {n: peers_environments.versions(SYSTEMS[n].environment, SYSTEMS[n].packages) for n in names},
    }


def write(
    runs: Mapping[str, Sequence[Run]], told: Mapping[str, Any], left_out: Mapping[str, str], console: Console
) -> None:
    """All four files, and the table to the console."""
    RESULTS.mkdir(exist_ok=True)
    ours = [name for name in OURS_COMPARED if runs.get(name)]
    labels = {name: SYSTEMS[name].label for name in runs}
    table = peers_results.table(runs, ours, labels)
    error_max = max(run.error_max for of_one in runs.values() for run in of_one)
    rates = {name: [run.ticks_per_s for run in of_one] for name, of_one in runs.items()}
    document = {
        "facts": told,
        "systems": {
            name: {
                "label": labels[name],
                **dataclasses.asdict(peers_results.spread(rates[name])),
                "rounds": [dataclasses.asdict(run) for run in of_one],
            }
            for name, of_one in runs.items()
        },
        "ratios": {
            our: {n: dataclasses.asdict(peers_results.ratios(rates[our], rates[n])) for n in runs if n != our}
            for our in ours
        },
        "left_out": dict(left_out),
    }
    (RESULTS / "peers.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    (RESULTS / "peers.md").write_text(f"{table}\n\n{_text(told, left_out, error_max)}\n", "utf-8")
    picture.save({labels[n]: peers_results.spread(rates[n]) for n in runs}, told, RESULTS / "peers")
    console.print(table)


def _cpu() -> str:
    """The processor's name, as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _text(told: Mapping[str, Any], left_out: Mapping[str, str], error_max: float) -> str:
    """The facts, as paragraphs and a list."""
    lines = [
        f"{told['date']}; {told['cores']} cores ({told['cpu']}), load {told['load_before']} before; Python",
        f"{told['python']}, Kafka {told['kafka']}. {told['ticks']:,} JSON ticks of",
        f"{told['symbols']} symbols in {told['partitions']} partitions, filled beforehand; window {told['window']},",
        f"{told['features']} features, LSTM(64) and additive attention; every tick with a full window is answered.",
        f"Median and range of {told['rounds']} interleaved rounds, each at most {told['seconds_max']:g} s from the",
        "first forecast on, by the broker's clock. How many times faster tickcast is: the median of the ratios within",
        "each round.",
        "",
        DIFFERENCES,
        "",
        f"Every forecast of {peers_reference.SYMBOLS_CHECKED} symbols was held against the plain graph, run over the",
        f"same ticks by itself: off by {error_max:.0e} at most.",
        "",
    ]
    lines += [
        f"- {SYSTEMS[name].label}: {', '.join(f'{package} {version}' for package, version in versions.items())}"
        for name, versions in told["versions"].items()
    ]
    lines += [f"- left out: {SYSTEMS[name].label}: {reason.splitlines()[0]}" for name, reason in left_out.items()]
    return "\n".join(lines)
