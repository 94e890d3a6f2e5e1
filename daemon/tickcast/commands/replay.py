"""`tickcast replay`: play tick files into a topic."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tickcast import clients, tick_files, tick_options
from tickcast import config as configuration
from tickcast.clock import SystemClock
from tickcast.config import KafkaConfig
from tickcast.errors import UsageError
from tickcast.replay import Encoder, FixedRate, Pace, Played, Recorded, TopicSink, Unpaced, play
from tickcast.windows import Tick

NAME = "tickcast-replay"
CLOSE_TIMEOUT_S = 5.0
CHUNK_ROWS = 1_024  # read in some 4 ms, by which the ticks behind them may be late


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="CSV, CSV.gz or Parquet, in order."),
    ],
    topic: Annotated[str, typer.Option(help="Topic to play into; it must exist.")],
    bootstrap_servers: Annotated[
        str, typer.Option(help="Brokers to ask first, host:port,host:port.")
    ] = "127.0.0.1:9092",
    config: Annotated[
        Path | None,
        typer.Option(
            help="A daemon's configuration instead: its brokers, its client, and how it logs in.", dir_okay=False
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=1e-6, show_default="1", help="So many times as fast as recorded.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, help="So many ticks a second instead; 0: as fast as the broker takes them.")
    ] = None,
    gap_max_s: Annotated[
        float | None, typer.Option(min=0, help="Play a longer recorded silence as one of so many seconds.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many ticks.")] = None,
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    symbol: tick_options.Symbol = "",
    symbol_name: tick_options.SymbolName = "",
    sequence: tick_options.SequenceNumber = "",
    map_: tick_options.Map = None,
) -> None:
    """Play ticks into a topic as JSON, keyed by symbol: at recorded pace, a multiple of it, or a fixed rate."""
    pace = _pace(speed, rate, gap_max_s)
    mapping = tick_options.mapping(
        files[0],
        event_time=event_time,
        event_time_unit=event_time_unit,
        symbol=symbol,
        symbol_name=symbol_name,
        sequence=sequence,
        pairs=map_,
    )
    console = Console()
    console.print(f"columns: {mapping.text()}", highlight=False, soft_wrap=True)
    ticks = itertools.islice(_ticks(tick_files.chunks(files, mapping, CHUNK_ROWS)), limit)
    kafka = _kafka(bootstrap_servers, topic) if config is None else _like(configuration.load(config).kafka, topic)
    played = _play(ticks, Encoder(mapping.names, bool(mapping.sequence)), pace, kafka, console, limit)
    console.print(_summary(played, topic), highlight=False, soft_wrap=True)


def _pace(speed: float | None, rate: float | None, gap_max_s: float | None) -> Pace:
    if rate is None:
        return Recorded(speed or 1.0, gap_max_s)
    if speed is not None or gap_max_s is not None:
        raise UsageError("--rate sets the pace alone: leave out --speed and --gap-max-s")
    return FixedRate(rate) if rate else Unpaced()


def _ticks(chunks: Iterator[tick_files.Ticks]) -> Iterator[Tick]:
    return itertools.chain.from_iterable(chunks)


def _kafka(bootstrap_servers: str, topic: str) -> KafkaConfig:
    """Only the producing half of it is used: the group is never joined."""
    return KafkaConfig(
        bootstrap_servers=bootstrap_servers,
        group_id=NAME,
        input_topics=(topic,),
        output_topic=topic,
        dead_letter_topic=topic,
    )


def _like(kafka: KafkaConfig, topic: str) -> KafkaConfig:
    """The same for the cluster of `kafka`; never as its daemon: not in its group, in no transaction."""
    topics = {"input_topics": (topic,), "output_topic": topic, "dead_letter_topic": topic}
    return kafka.model_copy(update={"group_id": NAME, "delivery": "at_least_once", **topics})


def _play(
    ticks: Iterator[Tick], encoder: Encoder, pace: Pace, kafka: KafkaConfig, console: Console, limit: int | None
) -> Played:
    clock = SystemClock()
    client = clients.connect(kafka, NAME)
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        sink = TopicSink(client, kafka.output_topic, clock, kafka.request_timeout_ms / 1000)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("replay", total=limit)
            return play(ticks, encoder, sink, pace, clock, lambda sent: bar.update(task, completed=sent))
    finally:
        client.close(CLOSE_TIMEOUT_S)


def _summary(played: Played, topic: str) -> str:
    rate = played.ticks / played.seconds if played.seconds else 0.0
    late = f", at most {played.late_s_max * 1e3:.1f} ms behind schedule" if played.late_s_max else ""
    return f"{played.ticks} ticks acknowledged by {topic} in {played.seconds:.1f} s ({rate:.0f} a second){late}"
