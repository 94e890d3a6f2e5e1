"""The whole job on one machine, step by step: ticks, model, bundle, Kafka, daemon, playing, audit, report.

Around the way of a tick: every step is the real thing, run as a user would run it. Whatever ends the demo, Ctrl-C
included, everything that it started has ended before it returns.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tickcast import kafka_jars, state_topic, tick_files
from tickcast.audit import Account
from tickcast.broker import Broker
from tickcast.bundle import Bundle
from tickcast.config import Config
from tickcast.errors import UsageError
from tickcast.topic_reader import TopicReader

from tickcast_export import demo_attention, demo_daemon, demo_facts, demo_model, demo_results, demo_ticks, report
from tickcast_export.demo_results import Results
from tickcast_export.demo_settings import DEAD_LETTERS, INPUT, INPUT_PARTITIONS, OUTPUT, STATE, Settings, Story
from tickcast_export.demo_ticks import Material
from tickcast_export.figures import duration, percent
from tickcast_export.report import Reported, Summary

STEPS = 7


def run(settings: Settings, console: Console) -> Summary:
    """All steps. Raises TickcastError for whatever cannot be done, saying what and why."""
    story = Story(console, STEPS)
    settings.out.mkdir(parents=True, exist_ok=True)
    _fetch(story)
    story.heading("ticks")
    material = _ticks(settings, story)
    story.heading(f"train a small {settings.family} model, {settings.train_s:g} s")
    demo_model.train(settings)
    story.heading("export and certify")
    certified = demo_model.export(settings, story)
    story.heading("start Apache Kafka")
    with _broker(story) as broker:
        config = demo_daemon.configure(settings, broker)
        provider = demo_daemon.serve(settings, config, len(material.played), broker, story)
        story.heading("audit and report")
        accounts = demo_daemon.audit(settings)
        results = _results(config, certified)
    page = settings.file("report.html")
    summary = demo_facts.summary(settings, config, provider, accounts, results, page)
    facts = demo_facts.facts(settings, material, certified, config, provider)
    _write_report(page, summary, material, certified, results, accounts, facts)
    return summary


def table(summary: Summary) -> Table:
    """The summary for a terminal."""
    made = Table(show_header=False, box=None, padding=(0, 2))
    made.add_column(style="dim")
    made.add_column()
    whole = not (summary.missing or summary.doubled)
    accounted = f"{summary.warming:,} warming, {summary.skipped:,} skipped, {summary.dead_letters:,} dead letters"
    latency = f"{duration(summary.latency_us_p50)}, {duration(summary.latency_us_p99)}"
    colour = "green" if whole else "red"
    made.add_row("ticks in", f"{summary.ticks:,}")
    made.add_row("forecasts out", f"{summary.forecasts:,} ({accounted})")
    made.add_row("missing, doubled", f"[{colour}]{summary.missing:,}, {summary.doubled:,}[/] (by tickcast audit)")
    made.add_row("latency p50, p99", f"{latency} (Kafka timestamp to sent)")
    error = percent(summary.error_vs_persistence)
    made.add_row("below persistence", f"{error} squared error, on ticks never trained on")
    made.add_row("report", summary.report)
    return made


def _fetch(story: Story) -> None:
    """Java and Kafka's jars first: not after a minute of training. Raises MissingExtraError, BrokerError."""
    kafka_jars.java()
    if not kafka_jars.are_cached():
        story.say("fetching Kafka's jars, 43 MB, once")
    kafka_jars.jars()


def _ticks(settings: Settings, story: Story) -> Material:
    if settings.ticks is None or settings.mapping is None:
        material = demo_ticks.simulated(settings.pace, settings.seed)
    else:
        material = demo_ticks.from_file(settings.ticks, settings.mapping, settings.pace)
        story.say(f"columns: {settings.mapping.text()}")
    story.say(f"{material.source}: {material.note}")
    if not len(material.played):
        raise UsageError(f"{material.source}: no ticks to play: too few, or --duration-s too short")
    tick_files.write_csv(settings.file("train.csv"), material.train)
    tick_files.write_csv(settings.file("played.csv"), material.played)
    return material


@contextmanager
def _broker(story: Story) -> Iterator[Broker]:
    """A running Kafka with the demo's topics."""
    with Broker() as broker:
        broker.create_topic(INPUT, INPUT_PARTITIONS)
        broker.create_topic(OUTPUT, INPUT_PARTITIONS)
        broker.create_topic(DEAD_LETTERS)
        broker.create_topic(STATE, INPUT_PARTITIONS, state_topic.SETTINGS)
        story.say(f"Kafka {kafka_jars.KAFKA_VERSION} on {broker.bootstrap_servers}")
        yield broker


def _results(config: Config, certified: Bundle) -> Results:
    with TopicReader(config.kafka) as ticks, TopicReader(config.kafka) as forecasts:
        ticks_held = ticks.held(ticks.partitions(INPUT))
        forecasts_held = forecasts.held(forecasts.partitions(OUTPUT))
        return demo_results.collect(config, certified.manifest, ticks.read(ticks_held), forecasts.read(forecasts_held))


def _write_report(
    page: Path,
    summary: Summary,
    material: Material,
    certified: Bundle,
    results: Results,
    accounts: Mapping[str, Account],
    facts: Mapping[str, str],
) -> None:
    attention = demo_attention.compute(certified, results.series)
    unit = certified.manifest.unit
    shown = Reported(summary, material.source, material.simulated, unit, results, accounts, attention, facts)
    page.write_text(report.page(shown), "utf-8")
