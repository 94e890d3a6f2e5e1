"""What `tickcast bench kafka` says: two lines of facts, tables for a person, and everything as JSON.

Beside the way of a tick: what the benches say about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
from rich.table import Table

from tickcast import bench_kafka_model, bench_machine, bench_table, kafka_jars
from tickcast import manifest as manifests
from tickcast.bench_kafka import Found, Settings
from tickcast.bench_kafka_rounds import Paced, Saturated
from tickcast.bench_percentiles import HEADER, Percentiles, percentiles
from tickcast.config import InferenceConfig

# A percentile's name in `Percentiles` -> its heading.
RATIOS = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}


def facts(settings: Settings) -> dict[str, Any]:
    """What the figures were taken on."""
    manifest, sha256 = manifests.read(settings.bundle)
    inference = InferenceConfig.model_validate(settings.overrides.get("inference", {}))
    broker = f"at {settings.bootstrap_servers}" if settings.bootstrap_servers else kafka_jars.KAFKA_VERSION
    return {
        **bench_machine.facts(),
        "kafka": broker,
        **{client: version(client) for client in {*settings.clients, settings.load_client}},
        "load_and_reader": settings.load_client,
        "bundle": {"name": manifest.name, "version": manifest.version, "sha256": sha256, "family": manifest.family},
        "window": manifest.rules.window,
        # Known for whole windows only: a carried step depends on the state.
        "model_cpu_us_per_tick": (
            bench_kafka_model.cpu_us_per_tick(settings.bundle, inference) if inference.mode == "windowed" else None
        ),
        "delivery": settings.delivery,
    }


def fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """The same in two lines, and a third where others use the machine too."""
    versions = [f"{name} {facts[name]}" for name in ("kafka-python", "confluent-kafka") if name in facts]
    machine = [f"{facts['cpu']}, {facts['cores']} cores", f"load {facts['load_1m']}", f"Python {facts['python']}"]
    job = [f"Kafka {facts['kafka']}", *versions, f"load and reader with {facts['load_and_reader']}"]
    bundle = f"{facts['bundle']['family']}, window {facts['window']}"
    warning = bench_machine.busy_warning()
    return [", ".join(machine), ", ".join([*job, bundle]), *([warning] if warning else [])]


def tables(settings: Settings, facts: Mapping[str, Any], found: Mapping[str, Found]) -> list[Table]:
    """For a person."""
    if settings.saturate:
        return [_saturated_table(found, facts["model_cpu_us_per_tick"]), _stages_table(found), _account_table(found)]
    stretches = (_stretches_table(client, each) for client, each in found.items())
    return [_paced_table(settings, found), *stretches, _account_table(found)]


def as_json(settings: Settings, facts: Mapping[str, Any], found: Mapping[str, Found]) -> str:
    """Everything."""
    asked = {**asdict(settings), "bundle": str(settings.bundle)}
    clients = {client: _client(each) for client, each in found.items()}
    whole = {"bench": "kafka", "facts": dict(facts), "settings": asked, "clients": clients}
    return msgspec.json.format(msgspec.json.encode(whole)).decode() + "\n"


def _client(found: Found) -> dict[str, Any]:
    account = found.account.as_dict()
    if found.saturated:
        rounds = [each._asdict() for each in found.saturated]
        return {"saturated": {**_median(found.saturated), "rounds": rounds}, "account": account}
    daemon, echo = _paced(found.daemon), _paced(found.echo)
    return {"daemon": daemon, "echo": echo, "over_echo": over_echo(found), "account": account}


def _paced(rounds: Sequence[Paced]) -> dict[str, Any]:
    together = percentiles(np.concatenate([each.end_to_end for each in rounds]))
    parts = {name: _together(rounds, name).microseconds() for name in rounds[0].stretches}
    return {
        "end_to_end": together.microseconds(),
        "stretches": parts,
        "paths": paths(rounds),
        "cpu_us_per_tick": float(np.median([each.cpu_us_per_tick for each in rounds])),
        "missing": sum(each.missing for each in rounds),
        "doubled": sum(each.doubled for each in rounds),
        "rounds": [
            {
                "end_to_end": percentiles(each.end_to_end).microseconds(),
                "cpu_us_per_tick": each.cpu_us_per_tick,
                "load": msgspec.structs.asdict(each.sent),
            }
            for each in rounds
        ],
    }


def over_echo(found: Found) -> dict[str, dict[str, float]]:
    """Of each percentile the daemon's over the echo's, round by round: their median, least and most."""
    pairs = [
        (percentiles(daemon.end_to_end), percentiles(echo.end_to_end))
        for daemon, echo in zip(found.daemon, found.echo, strict=True)
    ]
    ratios = {name: [getattr(a, name) / getattr(b, name) for a, b in pairs if b.count] for name in RATIOS}
    return {
        name: {"median": float(np.median(each)), "min": min(each), "max": max(each)}
        for name, each in ratios.items()
        if each
    }


def paths(rounds: Sequence[Paced] | Sequence[Saturated]) -> dict[str, float]:
    """The share of each path in all answers."""
    counts = {path: sum(each.paths[path] for each in rounds) for path in rounds[0].paths}
    return {path: count / max(1, sum(counts.values())) for path, count in counts.items()}


def _median(rounds: Sequence[Saturated]) -> dict[str, Any]:
    rates = [each.ticks_per_s for each in rounds]
    stages = {stage: float(np.median([each.stages_us_per_tick[stage] for each in rounds])) for stage in _stages(rounds)}
    return {
        "ticks_per_s": float(np.median(rates)),
        "ticks_per_s_min": min(rates),
        "ticks_per_s_max": max(rates),
        "cpu_us_per_tick": float(np.median([each.cpu_us_per_tick for each in rounds])),
        "stages_us_per_tick": stages,
        "paths": paths(rounds),
    }


def _stages(rounds: Sequence[Saturated]) -> list[str]:
    return [stage for stage in rounds[0].stages_us_per_tick if any(each.stages_us_per_tick[stage] for each in rounds)]


def _paced_table(settings: Settings, found: Mapping[str, Found]) -> Table:
    rows: list[list[str]] = []
    for client, each in found.items():
        for kind, rounds in (("daemon", each.daemon), ("echo", each.echo)):
            together = percentiles(np.concatenate([one.end_to_end for one in rounds]))
            cpu_us = float(np.median([one.cpu_us_per_tick for one in rounds]))
            rows.append([client if kind == "daemon" else "  bare echo", *together.texts(), f"{cpu_us:.0f} us"])
        ratios = over_echo(each)
        rows.append(["  ratio", *(f"{ratios[name]['median']:.2f}x" for name in RATIOS), ""])
    title = f"end to end at {settings.rate:g} ticks/s, from the scheduled arrival to the reader's hand"
    return bench_table.table(title, ["", *HEADER, "CPU a tick"], rows)


def _stretches_table(client: str, found: Found) -> Table:
    rows = [[name, *_together(found.daemon, name).texts()] for name in found.daemon[0].stretches]
    shares = (f"{path} {bench_table.share(part)}" for path, part in paths(found.daemon).items() if part)
    return bench_table.table(f"{client}: answered by {', '.join(shares)}", ["", *HEADER], rows)


def _together(rounds: Sequence[Paced], stretch: str) -> Percentiles:
    return percentiles(np.concatenate([each.stretches[stretch] for each in rounds]))


def _saturated_table(found: Mapping[str, Found], model_us: float | None) -> Table:
    rows = []
    for client, each in found.items():
        middle = _median(each.saturated)
        rates = [bench_table.rate(middle[name]) for name in ("ticks_per_s", "ticks_per_s_min", "ticks_per_s_max")]
        cpu_us: float = middle["cpu_us_per_tick"]
        outside = "-" if model_us is None else f"{cpu_us - model_us:.1f} us"
        rows.append([client, *rates, f"{cpu_us:.1f} us", outside])
    header = ["", "ticks/s", "least", "most", "CPU", "without model"]
    model = "" if model_us is None else f"; the model by itself: {model_us:.1f} us of CPU a tick"
    return bench_table.table(f"topic full{model}", header, rows)


def _stages_table(found: Mapping[str, Found]) -> Table:
    stages = list(dict.fromkeys(stage for each in found.values() for stage in _stages(each.saturated)))
    rows = []
    for client, each in found.items():
        spent = _median(each.saturated)["stages_us_per_tick"]
        rows.append([client, *(f"{spent.get(stage, 0.0):.1f}" for stage in stages)])
    return bench_table.table("microseconds a tick by stage, on the clock", ["", *stages], rows)


def _account_table(found: Mapping[str, Found]) -> Table:
    header = ["", "ticks", "forecasts", "missing", "doubled", "unexpected", "echo"]
    rows = []
    for client, each in found.items():
        account = each.account
        counts = (account.ticks, account.forecasts)
        wrong = (account.missing, account.doubled, account.unexpected)
        echoed = f"{sum(one.missing for one in each.echo):,}, {sum(one.doubled for one in each.echo):,}"
        numbers = (f"{count:,}" for count in (*counts, *wrong))
        rows.append([client, *numbers, echoed if each.echo else ""])
    return bench_table.table("every tick, by `tickcast audit`; echo: missing, doubled", header, rows)
