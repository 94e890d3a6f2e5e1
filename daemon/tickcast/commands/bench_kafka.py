"""`tickcast bench kafka`: the daemon through a real broker, beside a bare echo."""

import importlib.util
import os
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import typer

from tickcast import bench_kafka as bench
from tickcast import bench_kafka_report as report
from tickcast import bench_subject, bench_table, clients, security_config
from tickcast.bench_kafka import Settings
from tickcast.errors import MissingExtraError, UsageError

PACED_TICKS, SATURATED_TICKS = 5_000, 60_000
LIBRARIES = {"kafka-python": "kafka", "confluent-kafka": "confluent_kafka"}


def bench_kafka(
    bundle: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Bundle that the daemon answers with.")
    ] = None,
    family: Annotated[
        Literal["stacked", "additive", "seq2seq"] | None,
        typer.Option(help="Instead: make a bundle of this family, with random weights (extra `export`)."),
    ] = None,
    window: Annotated[int, typer.Option(min=2, help="--family: rows in a window.")] = 64,
    client: Annotated[
        Literal["kafka-python", "confluent-kafka", "both"] | None,
        typer.Option(help="The daemon's Kafka client.", show_default="all that are installed"),
    ] = None,
    rate: Annotated[float, typer.Option(min=1e-3, help="Ticks a second, all symbols together.")] = 500.0,
    saturate: Annotated[bool, typer.Option("--saturate", help="As many ticks a second as it answers.")] = False,
    delivery: Annotated[
        Literal["at_least_once", "exactly_once"], typer.Option(help="What the daemon promises.")
    ] = "at_least_once",
    rounds: Annotated[int, typer.Option(min=1, help="How often daemon and echo take turns.")] = 3,
    symbols: Annotated[int, typer.Option(min=1, max=10_000, help="Symbols.")] = 64,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the input topic.")] = 4,
    ticks: Annotated[
        int | None, typer.Option("--ticks-count", min=10, help="Ticks a round: default 5,000, saturated 60,000.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated ticks and their times.")] = 1,
    bootstrap_servers: Annotated[
        str, typer.Option(help="A cluster to use; default: a broker of the bench's own, which needs the extra `demo`.")
    ] = "",
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the daemon's configuration.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.", dir_okay=False)] = None,
) -> None:
    """Time the daemon from a tick's arrival to its forecast in a reader's hand, and account for every tick.

    Exit 1 where a forecast is missing or doubled.
    """
    if (bundle is None) == (family is None):
        raise UsageError("give --bundle or --family: what the daemon answers with")
    console = bench_table.console()
    with TemporaryDirectory(prefix="tickcast-bench-") as folder:
        if bundle is None:
            console.print(f"making a bundle of {family} with random weights", soft_wrap=True)
            ((made, _),) = bench_subject.of_family(str(family), [window], seed, Path(folder))
            bundle = made.folder
        settings = Settings(
            bundle=bundle,
            clients=_clients(client),
            load_client="confluent-kafka" if _is_installed("confluent-kafka") else "kafka-python",
            bootstrap_servers=bootstrap_servers,
            rate=rate,
            saturate=saturate,
            rounds=rounds,
            symbols=symbols,
            partitions=partitions,
            ticks=ticks or (SATURATED_TICKS if saturate else PACED_TICKS),
            seed=seed,
            delivery=delivery,
            overrides=_overrides(setting or []),
        )
        facts = report.facts(settings)
        for line in report.fact_lines(facts):
            console.print(line, highlight=False, soft_wrap=True)
        found = bench.run(settings)
    for table in report.tables(settings, facts, found):
        console.print(table)
    if json is not None:
        json.write_text(report.as_json(settings, facts, found), "utf-8")
    if not all(each.adds_up for each in found.values()):
        raise typer.Exit(1)


def _clients(wanted: str | None) -> tuple[str, ...]:
    """The clients to measure. Raises MissingExtraError."""
    if wanted is None:
        return tuple(filter(_is_installed, clients.CLIENTS))
    names = tuple(clients.CLIENTS) if wanted == "both" else (wanted,)
    for name in names:
        if not _is_installed(name):
            raise MissingExtraError(f"--client {wanted} needs {name}: pip install 'tickcast[{clients.EXTRAS[name]}]'")
    return names


def _is_installed(client: str) -> bool:
    return importlib.util.find_spec(LIBRARIES[client]) is not None


def _overrides(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """`section.key=value`, a TOML value, by section. Raises UsageError."""
    sections: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        section, _, name = key.strip().rpartition(".")
        if not (section and name and text):
            raise UsageError(f"--set {pair}: not SECTION.KEY=VALUE")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        sections.setdefault(section, {})[name] = value
    security_config.locate(sections.get(bench.SECURITY, {}), Path.cwd(), os.environ)
    return sections
