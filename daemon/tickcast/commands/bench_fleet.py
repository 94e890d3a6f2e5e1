"""`tickcast bench fleet`: a consumer group on paper, simulated from measured costs."""

from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from tickcast import bench_fleet as bench
from tickcast import bench_fleet_check, bench_fleet_measure, bench_table, fleet_costs, log, tick_files, tick_options
from tickcast import bench_fleet_report as report
from tickcast.bench_fleet import Scene
from tickcast.bench_kafka import Settings
from tickcast.clock import SystemClock
from tickcast.config import LogConfig
from tickcast.errors import UsageError
from tickcast.fleet import Plan
from tickcast.fleet_arrivals import Bursts
from tickcast.tick_columns import TimeUnit

LISTS = "; `1,10` sizes both, in columns"
DEFAULT, NO_BURSTS = Plan(), Bursts()


def bench_fleet(
    hosts: Annotated[str, typer.Option(help=f"Hosts{LISTS}.")] = str(DEFAULT.hosts),
    cores: Annotated[int, typer.Option(min=1, help="Cores of a host that daemons may have.")] = DEFAULT.cores,
    daemon_cores: Annotated[
        int, typer.Option(min=1, help="Cores of a daemon: so many as the costs were measured on.")
    ] = DEFAULT.daemon_cores,
    partitions: Annotated[str, typer.Option(help=f"Partitions of the input topic{LISTS}.")] = str(DEFAULT.partitions),
    symbols: Annotated[str, typer.Option(help=f"Symbols{LISTS}.")] = str(DEFAULT.symbols),
    ticks_per_s: Annotated[str, typer.Option(help=f"Ticks a second on average, of all symbols{LISTS}.")] = (
        f"{DEFAULT.ticks_per_s:.0f}"
    ),
    skew: Annotated[
        str, typer.Option(help=f"The n-th busiest symbol's share is in proportion to 1 / n^skew{LISTS}.")
    ] = f"{DEFAULT.skew:g}",
    burst: Annotated[float, typer.Option(min=1, help="In a burst ticks come so many times as fast.")] = 4.0,
    burst_share: Annotated[float, typer.Option(help="Share of the time that is a burst.")] = NO_BURSTS.share,
    burst_s: Annotated[float, typer.Option(help="Length of a burst, on average.")] = NO_BURSTS.length_s,
    ticks: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Tick file whose gaps are taken instead of bursts.")
    ] = None,
    lost_hosts: Annotated[
        str, typer.Option(help=f"Hosts lost at once, a rack{LISTS}.", show_default="1, where there are several")
    ] = "",
    takeover_s: Annotated[
        float, typer.Option(min=0, help="From the loss until the others have the partitions: the session, and more.")
    ] = DEFAULT.takeover_s,
    window: Annotated[int, typer.Option(min=2, help="Rows in a window.")] = DEFAULT.window,
    tick_bytes: Annotated[int, typer.Option(min=1, help="Of a tick's record, as stored.")] = DEFAULT.tick_bytes,
    forecast_bytes: Annotated[
        int, typer.Option(min=1, help="Of a forecast's record, as stored.")
    ] = DEFAULT.forecast_bytes,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each record.")] = DEFAULT.replication,
    readers: Annotated[int, typer.Option(min=0, help="Consumer groups that read the forecasts.")] = DEFAULT.readers,
    retention_h: Annotated[float, typer.Option(min=0, help="Hours that topics are kept.")] = DEFAULT.retention_h,
    duration_s: Annotated[float, typer.Option(min=0.1, help="So long is simulated, without a loss.")] = 10.0,
    measured: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Costs from `bench engine|kafka --json`, or recovery figures."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Measure the costs here first, of this bundle (extra `demo`)."),
    ] = None,
    check: Annotated[
        str, typer.Option(metavar="RATES", help="--bundle: measure at these ticks a second too, compare, size nothing.")
    ] = "",
    client: Annotated[
        Literal["kafka-python", "confluent-kafka"], typer.Option(help="--bundle: the daemon's Kafka client.")
    ] = "confluent-kafka",
    rounds: Annotated[int, typer.Option(min=1, help="--bundle: how often each is measured.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is by chance.")] = DEFAULT.seed,
    event_time: tick_options.EventTime = "",
    event_time_unit: tick_options.EventTimeUnit = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table alone, for a document.")] = False,
    differing: Annotated[bool, typer.Option("--differing", help="Only lines in which the columns differ.")] = False,
    json: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write everything here, too.")] = None,
) -> None:
    """Size a consumer group from what ticks cost: load, latency, traffic, and what the loss of hosts does."""
    console = bench_table.console()
    log.configure(LogConfig(level="warning"), SystemClock())
    if check:
        if bundle is None:
            raise UsageError("--check needs --bundle: what the daemon answers with")
        found = bench_fleet_check.run(_bench(bundle, client, rounds, seed), _numbers("--check", check), console.print)
        for line in bench_fleet_check.lines(found):
            console.print(line, highlight=False, soft_wrap=True)
        console.print(bench_fleet_check.table(found))
        if json is not None:
            json.write_text(dumps(found, indent=1) + "\n", "utf-8")
        return
    if bundle is not None and measured:
        raise UsageError("--bundle measures the costs that --measured would read: give one of them")
    if bundle is None:
        source = fleet_costs.read(measured or [])
    else:
        source = bench_fleet_measure.measure(_bench(bundle, client, rounds, seed), console.print).source
    bursts = Bursts(1.0 if ticks else burst, burst_share, burst_s)
    recorded_ns = None if ticks is None else _times_ns(ticks, event_time, event_time_unit)
    varied: dict[str, Sequence[Any]] = {
        "hosts": _numbers("--hosts", hosts),
        "partitions": _numbers("--partitions", partitions),
        "symbols": _numbers("--symbols", symbols),
        "ticks_per_s": _numbers("--ticks-per-s", ticks_per_s),
        "skew": _decimals("--skew", skew),
    }
    if lost_hosts:
        varied["lost_hosts"] = _numbers("--lost-hosts", lost_hosts, 0)
    plans = [
        Plan(
            cores=cores,
            daemon_cores=daemon_cores,
            takeover_s=takeover_s,
            window=window,
            tick_bytes=tick_bytes,
            forecast_bytes=forecast_bytes,
            replication=replication,
            readers=readers,
            retention_h=retention_h,
            seed=seed,
            **{"lost_hosts": min(1, each["hosts"] - 1)} | each,
        )
        for each in _columns(varied)
    ]
    reports = [bench.run(Scene(plan, source, bursts, duration_s, recorded_ns)) for plan in plans]
    if markdown:
        console.print(report.markdown(reports, differing), markup=False, highlight=False, soft_wrap=True)
    else:
        for line in report.lines(reports[0]):
            console.print(line, highlight=False, soft_wrap=True)
        console.print(report.table(reports, differing))
        for line in report.remarks(reports):
            console.print(line, highlight=False, soft_wrap=True)
    if json is not None:
        json.write_text(report.as_json(reports), "utf-8")


def _bench(bundle: Path, client: str, rounds: int, seed: int) -> Settings:
    """Settings of `bench kafka` beside those that each run has of its own."""
    return Settings(
        bundle=bundle,
        clients=(client,),
        load_client=client,
        bootstrap_servers="",
        rate=bench_fleet_measure.LONE_RATE,
        saturate=False,
        rounds=rounds,
        symbols=bench_fleet_measure.SYMBOLS,
        partitions=bench_fleet_measure.PARTITIONS,
        ticks=bench_fleet_measure.TICKS_MAX,
        seed=seed,
    )


def _times_ns(path: Path, event_time: str, event_time_unit: TimeUnit | None) -> NDArray[np.int64]:
    """Event times of all of the file's ticks, whatever their symbols. Raises TickFileError, MissingExtraError."""
    known = tick_options.mapping(
        path,
        columns=(),
        event_time=event_time,
        event_time_unit=event_time_unit,
        symbol="",
        symbol_name="all",
        sequence="",
        pairs=None,
    )
    return tick_files.read_all([path], known).event_time_ns


def _numbers(option: str, text: str, least: int = 1) -> list[int]:
    """`4` or `4,40`. Raises UsageError for anything else."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) >= least for part in parts):
        raise UsageError(f"{option} {text}: whole numbers from {least} on, `10` or `10,100`")
    return list(map(int, parts))


def _decimals(option: str, text: str) -> list[float]:
    """`0.8` or `0,0.8`. Raises UsageError for anything else."""
    parts = text.split(",")
    if not all(part.replace(".", "", 1).isdecimal() for part in parts):
        raise UsageError(f"{option} {text}: numbers from 0 on, `0.8` or `0,0.8`")
    return list(map(float, parts))


def _columns(varied: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One plan for each place of the lists; a single number is for all. Raises UsageError where lengths differ."""
    length = max(map(len, varied.values()))
    if {len(found) for found in varied.values()} - {1, length}:
        told = ", ".join(f"--{name.replace('_', '-')} {len(found)}" for name, found in varied.items() if len(found) > 1)
        raise UsageError(f"lists of different lengths: {told}")
    full = [list(found) * length if len(found) == 1 else found for found in varied.values()]
    return [dict(zip(varied, each, strict=True)) for each in zip(*full, strict=True)]
