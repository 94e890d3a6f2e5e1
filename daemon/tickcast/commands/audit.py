"""`tickcast audit`: account for every tick."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from tickcast import audit as accounting
from tickcast import config as configuration
from tickcast import manifest as manifests
from tickcast.audit import Account
from tickcast.clients import OffsetRange, Partition
from tickcast.config import Config
from tickcast.manifest import Manifest
from tickcast.topic_reader import TopicReader

# Where nobody looks at a terminal, nothing need be cut.
PIPED_WIDTH = 200
# Field of an account -> heading; short, for a terminal of 80 columns.
COLUMNS = {
    "ticks": "ticks",
    "forecasts": "forecasts",
    "warming": "warming",
    "skipped": "skipped",
    "dead_letters": "dead",
    "missing": "missing",
    "doubled": "doubled",
    "unexpected": "unexpected",
}
# Only where there are any: without `lag` there can be none.
MISCOUNTED = {"miscounted": "miscounted"}


def audit(
    config: Annotated[Path, typer.Option(help="The daemon's configuration file.", dir_okay=False)],
    from_time_ms: Annotated[
        int | None, typer.Option(help="Audit from this record timestamp on, epoch milliseconds; default: the oldest.")
    ] = None,
    to: Annotated[
        Literal["committed", "end"], typer.Option(help="Audit up to what the group committed, or to the topic's end.")
    ] = "committed",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Check that ticks = forecasts + warming + skipped + dead letters, each tick once; exit 1 if it does not add up."""
    settings = configuration.load(config, os.environ)
    bundles = [manifests.read(entry.bundle)[0] for entry in settings.models]
    accounts = accounts_of(settings, bundles, from_time_ms, to)
    whole = accounting.total(accounts.values())
    if as_json:
        typer.echo(
            json.dumps({"total": whole.as_dict(), "partitions": {_name(p): a.as_dict() for p, a in accounts.items()}})
        )
    else:
        console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
        console.print(_table(accounts, whole))
        for line in _where(accounts):
            console.print(line, soft_wrap=True, highlight=False)
    if not whole.adds_up:
        raise typer.Exit(1)


def accounts_of(
    settings: Config, bundles: Sequence[Manifest], from_time_ms: int | None, to: Literal["committed", "end"]
) -> dict[Partition, Account]:
    """The account of each input partition, `bundles` being those configured.

    Raises BrokerError where a topic cannot be read.
    """
    kafka, limit = settings.kafka, settings.recovery.replay_records_max
    with TopicReader(kafka) as reader:
        inputs = [partition for topic in kafka.input_topics for partition in reader.partitions(topic)]
        held = reader.held(inputs)
        audited = _audited(reader, held, from_time_ms, to)
        # Windows at the start of the audited range rest on ticks before it.
        read = {p: OffsetRange(max(a.first - limit, held[p].first), a.end) for p, a in audited.items()}
        outputs = reader.held(reader.partitions(kafka.output_topic))
        dead_letters = reader.held(reader.partitions(kafka.dead_letter_topic))
        return accounting.audit(
            settings, bundles, audited, reader.read(read), reader.read(outputs), reader.read(dead_letters)
        )


def _audited(
    reader: TopicReader,
    held: Mapping[Partition, OffsetRange],
    from_time_ms: int | None,
    to: Literal["committed", "end"],
) -> dict[Partition, OffsetRange]:
    firsts = (
        reader.offsets_at(held, from_time_ms) if from_time_ms is not None else {p: h.first for p, h in held.items()}
    )
    committed = reader.committed(list(held)) if to == "committed" else {}
    audited = {}
    for partition, kept in held.items():
        end, first = kept.end, firsts[partition]
        if to == "committed":
            at = committed[partition]
            end = at.offset if at is not None else kept.first
        audited[partition] = OffsetRange(end if first is None else min(first, end), end)
    return audited


def _table(accounts: Mapping[Partition, Account], whole: Account) -> Table:
    verdict = "adds up" if whole.adds_up else "DOES NOT ADD UP"
    table = Table("partition", box=None, padding=(0, 1, 0, 0), title=f"audit: {verdict}")
    columns = COLUMNS | MISCOUNTED if whole.miscounted else COLUMNS
    for heading in columns.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, account in [*((_name(p), a) for p, a in sorted(accounts.items())), ("total", whole)]:
        table.add_row(name, *(f"{getattr(account, column):,}" for column in columns))
    return table


def _where(accounts: Mapping[Partition, Account]) -> Iterator[str]:
    """Where to look, a line for each thing that is wrong with a partition."""
    for partition, account in sorted(accounts.items()):
        for what, ranges in account.where.items():
            told = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)
            more = ", ..." if len(ranges) == accounting.RANGES_MAX else ""
            yield f"{_name(partition)}: {what} at offsets {told}{more}"


def _name(partition: Partition) -> str:
    return f"{partition.topic}/{partition.number}"
