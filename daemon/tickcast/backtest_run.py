"""A backtest of topics from a daemon's configuration to a file of forecasts, and what is said of it.

Beside the way of a tick, for `tickcast backtest --from-topics`: what a group of daemons answered, answered again.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tickcast import (
    backtest,
    backtest_answers,
    backtest_output,
    backtest_scores,
    backtest_topics,
    bundles_at_hand,
    in_force,
    in_force_topics,
)
from tickcast.backtest import Summary
from tickcast.backtest_answers import SteadyEngine
from tickcast.backtest_topics import Rows, TopicsBacktest
from tickcast.clients import OffsetRange, Partition
from tickcast.config import Config
from tickcast.control_topic import ControlTopic
from tickcast.errors import UsageError
from tickcast.in_force import InForce, Segment
from tickcast.in_force_topics import Source
from tickcast.topic_reader import TopicReader

Segments = dict[Partition, list[Segment]]
Held = dict[Partition, OffsetRange]


def of_topics(
    config: Config,
    inference: Mapping[str, object],
    source: Source,
    folders: Sequence[Path],
    from_time_ms: int | None,
    attention: Sequence[str] | None,
    out: Path,
    console: Console,
) -> None:
    """Answer what the input topics hold once more, write it to `out`, and say what came of it.

    Raises UsageError for offsets whose bundle is not known, or not at hand; ConfigurationError, BundleError and
    BrokerError.
    """
    config = asking(config.model_copy(update={"inference": backtest.inference_of(config, **inference)}), attention)
    at_hand = bundles_at_hand.find(config, folders)
    with TopicReader(config.kafka) as reader:
        tables = _tables(config, reader, source)
        held = reader.held([p for topic in config.kafka.input_topics for p in reader.partitions(topic)])
        firsts = None if from_time_ms is None else reader.offsets_at(held, from_time_ms)
        segments = _segments(tables, held, firsts)
        if not segments:
            raise UsageError("--from-topics: nothing to answer: no tick is kept, or none is as new as that")
        backtest_topics.check(segments, at_hand)

        def ready(sha256: str) -> SteadyEngine:
            return backtest_answers.steady(bundles_at_hand.load(at_hand, sha256), config.inference)

        with closing(TopicsBacktest(config, segments, held, ready)) as answering:
            if attention and not any(each.manifest.attention for each in answering.bundles):
                raise UsageError("--attention: none of these bundles has attention")
            rows = Rows(answering.bundles, bool(config.output.attention))
            summary = _write(answering, reader, segments, rows, out, console)
            _say(answering, summary, segments, console)


def asking(config: Config, attention: Sequence[str] | None) -> Config:
    """`config`, but what forecasts lean on is asked for of these symbols; None: as it says."""
    if attention is None:
        return config
    return config.model_copy(update={"output": config.output.model_copy(update={"attention": tuple(attention)})})


def _tables(config: Config, reader: TopicReader, source: Source) -> list[InForce]:
    """By what `source` says, for each entry of the configuration."""
    controls = {}
    if config.promotion.control_topic:
        topic = ControlTopic(reader, config.promotion.control_topic)
        topic.read()
        controls = topic.controls
    wanted = in_force_topics.wanted(config, controls)
    if source == "wanted":
        return wanted
    forecasts = reader.read(reader.held(reader.partitions(config.kafka.output_topic)))
    return in_force_topics.answered(config, forecasts, wanted)


def _segments(tables: Sequence[InForce], held: Held, firsts: Mapping[Partition, int | None] | None) -> Segments:
    """What is to be answered of each partition, from `firsts` on; one without a record is left out."""
    cut: Segments = {}
    for partition, kept in held.items():
        first = kept.first if firsts is None else firsts[partition]
        if first is not None and first < kept.end:
            cut[partition] = in_force.segments(tables, partition, OffsetRange(max(first, kept.first), kept.end))
    return cut


def _write(
    answering: TopicsBacktest, reader: TopicReader, segments: Segments, rows: Rows, out: Path, console: Console
) -> Summary:
    start_s = time.monotonic()
    unanswered = 0
    columns = (TextColumn("backtest"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
        backtest_output.opened(out, rows.layout) as writer,
    ):
        task = bar.add_task("backtest", total=sum(each[-1].end - each[0].first for each in segments.values()))
        for partition in sorted(segments):
            for answers in answering.answers(partition, reader.read({partition: answering.range_of(partition)})):
                if answers:
                    made, sources = rows.of(answers, partition)
                    writer.write(made, sources)
                    unanswered += sum(each.answered.size for each in answers) - made.size
                bar.update(task, completed=answering.fates.total())
    fates = answering.fates + Counter(dead_letter=unanswered)
    fates["forecast"] -= unanswered
    return Summary(fates, [], time.monotonic() - start_s)


def _say(answering: TopicsBacktest, summary: Summary, segments: Segments, console: Console) -> None:
    """Who answered what, every tick by what became of it, and how the forecasts turned out."""
    names = {each.sha256: f"{each.manifest.name} {each.manifest.version}" for each in answering.bundles}
    for (topic, number), cut in sorted(segments.items()):
        for first, end, bundles in cut:
            told = ", ".join(f"{names[str(sha256)]} ({str(sha256)[:12]})" for sha256 in bundles)
            console.print(f"{topic}/{number}, offsets {first} to {end - 1}: {told}", highlight=False, soft_wrap=True)
    console.print(summary.text(), highlight=False, soft_wrap=True)
    by_name = {each.sha256: each.manifest for each in answering.bundles}
    for (lineup, place), scored in answering.scores.items():
        scores = scored.scores()
        if any(score.scored for score in scores):
            console.print(f"{names[lineup[place]]} ({lineup[place][:12]}):", highlight=False)
            console.print(backtest_scores.table(scores, by_name[lineup[place]].unit))
