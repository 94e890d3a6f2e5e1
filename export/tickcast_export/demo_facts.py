"""What a run of the demo is told by: its figures, and what was run to get them."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tickcast import __version__, kafka_jars
from tickcast import audit as accounting
from tickcast.audit import Account
from tickcast.bundle import Bundle
from tickcast.config import Config

from tickcast_export.demo_model import certificate_lines
from tickcast_export.demo_results import Results, percentile
from tickcast_export.demo_settings import INPUT_PARTITIONS, Settings
from tickcast_export.demo_ticks import Material
from tickcast_export.report import Summary


def summary(
    settings: Settings, config: Config, provider: str, accounts: Mapping[str, Account], results: Results, page: Path
) -> Summary:
    """The figures: those of the accounts are `tickcast audit`'s."""
    whole = accounting.total(accounts.values())
    return Summary(
        ticks=whole.ticks,
        forecasts=whole.forecasts,
        warming=whole.warming,
        skipped=whole.skipped,
        dead_letters=whole.dead_letters,
        missing=whole.missing,
        doubled=whole.doubled,
        latency_us_p50=percentile(results.latency_us, 0.5),
        latency_us_p99=percentile(results.latency_us, 0.99),
        error_vs_persistence=results.error_vs_persistence(),
        family=settings.family,
        client=config.kafka.client,
        provider=provider,
        report=str(page),
    )


def facts(settings: Settings, material: Material, certified: Bundle, config: Config, provider: str) -> dict[str, str]:
    """What was run: a label and its text."""
    manifest = certified.manifest
    rules = manifest.rules
    trained = (
        f"{settings.units} units, window {rules.window}, {len(manifest.horizons)} horizons, {settings.train_s:g} s"
    )
    mapped = {"columns": settings.mapping.text()} if settings.mapping else {}
    return {
        "command": settings.command,
        "ticks": f"{material.source}; {material.note}",
        **mapped,
        "played": f"{_span(material)}, at {settings.pace.text()}",
        "model": f"{manifest.family}: {trained} of training, seed {settings.seed}",
        "bundle": f"{manifest.name} {manifest.version}, sha256 {certified.sha256}",
        "certificate": "; ".join(certificate_lines(certified)),
        "daemon": f"tickcast {__version__}, client {config.kafka.client}, provider {provider}",
        "broker": f"Apache Kafka {kafka_jars.KAFKA_VERSION}, one node, {INPUT_PARTITIONS} input partitions",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
    }


def _span(material: Material) -> str:
    """First and last event time of what was played."""
    times = material.played.event_time_ns
    first, last = (datetime.fromtimestamp(int(at) / 1e9, UTC) for at in (times.min(), times.max()))
    return f"event times {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def _processor() -> str:
    """The processor's name, where Linux says it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
