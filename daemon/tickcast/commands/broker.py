"""`tickcast broker`: a local Kafka for development, until Ctrl-C or SIGTERM."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tickcast import kafka_jars, state_topic
from tickcast.broker import Broker

CHECK_INTERVAL_S = 0.5  # how late the command may notice that Kafka has ended by itself


def broker(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")] = 9092,
    data: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder that outlives the broker; default: a temporary one.")
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:PARTITIONS[:state]",
            help="Create this topic if absent, with `:state` as live state is kept in; repeatable.",
        ),
    ] = None,
) -> None:
    """Run the real Apache Kafka on this machine, for development; needs the extra `demo`."""
    topics = [_parse_topic(text) for text in topic or []]
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if not kafka_jars.are_cached():
        typer.echo("fetching Kafka's jars, 43 MB, once", err=True)
    with Broker(port, data) as kafka:
        present = kafka.topics()
        for name, partitions, config in topics:
            if name not in present:
                kafka.create_topic(name, partitions, config)
        typer.echo(kafka.bootstrap_servers)  # alone on standard output, for scripts
        typer.echo(_ready(kafka), err=True)
        while not stopping.wait(CHECK_INTERVAL_S):
            kafka.check()


def _ready(kafka: Broker) -> str:
    topics = ", ".join(sorted(name for name in kafka.topics() if not name.startswith("__"))) or "none"
    return f"ready at {kafka.bootstrap_servers}, topics: {topics}; Ctrl-C ends it"


def _parse_topic(text: str) -> tuple[str, int, Mapping[str, str]]:
    name, _, rest = text.partition(":")
    partitions, _, kind = rest.partition(":")
    if not name or not partitions.isdecimal() or int(partitions) < 1 or kind not in ("", "state"):
        raise typer.BadParameter(f"{text!r} is not NAME:PARTITIONS or NAME:PARTITIONS:state", param_hint="--topic")
    return name, int(partitions), state_topic.SETTINGS if kind else {}
