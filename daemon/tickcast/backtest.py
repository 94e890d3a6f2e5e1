"""Forecasts for the ticks of files, as the daemon would make them, as fast as this machine can.

The way of a tick without Kafka: read -> decide -> features -> windows -> run -> write. Deciding, windows and graphs are
the daemon's own modules; left out is what a file has not: records, offsets to commit, acknowledgements (measured: 25 us
a tick more, beside 20 us for all of a small model's). Equal to the live forecasts to the tolerance of all answers, for
a topic of one partition that holds these ticks and nothing else. Read and written in parts: memory does not grow.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tickcast import attention, tick_files
from tickcast.backtest_answers import Answered, Answers, Columns
from tickcast.backtest_output import Output
from tickcast.backtest_rules import Rules
from tickcast.backtest_scores import BacktestScores, Score
from tickcast.config import Config, InferenceConfig, KafkaConfig, ModelConfig
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast.tick_columns import TickColumns
from tickcast.tick_files import Ticks


class BacktestEngine(Protocol):
    """What answers a file's ticks, read so many at a time."""

    chunk_rows: int

    @property
    def fates(self) -> Counter[str]:
        """What became of the ticks so far; see `Rules`."""

    def answers(self, chunks: Iterable[Ticks]) -> Iterator[Answered]:
        """The ticks that fill their windows, answered, in the order of the file."""

    def close(self) -> None:
        """Let go of threads and processes."""


class Summary(NamedTuple):
    """What came of a backtest."""

    fates: Counter[str]
    scores: list[Score]
    seconds: float

    @property
    def ticks(self) -> int:
        """Ticks read."""
        return self.fates.total()

    def text(self) -> str:
        """One line: every tick, by what became of it."""
        fates = dict(self.fates)
        forecasts, warming, dead = (fates.pop(fate, 0) for fate in ("forecast", "warming", "dead_letter"))
        others = [f"{count:,} skipped ({fate})" for fate, count in sorted(fates.items())]
        told = [f"{forecasts:,} forecasts", f"{warming:,} warming", *others, f"{dead:,} dead letters"]
        rate = self.ticks / self.seconds if self.seconds else 0.0
        return f"{self.ticks:,} ticks: {', '.join(told)}; {self.seconds:.1f} s, {rate:,.0f} ticks a second"


def settings(bundle: Path, given: Config | None, untrained: bool = False, **inference: object) -> Config:
    """What a backtest of `bundle` runs by: the configuration `given` of a daemon, or else what is default there.

    The last of its `models` is the one that answers, `untrained`: also symbols it was not trained for. `inference` are
    settings that take precedence. Raises UsageError for a mode whose answers rest on a topic's offsets.
    """
    config = given or Config(
        name="backtest",
        kafka=KafkaConfig(
            bootstrap_servers="none",
            group_id="backtest",
            input_topics=("ticks",),
            output_topic="forecasts",
            dead_letter_topic="dead-letters",
        ),
        models=(ModelConfig(bundle=bundle),),
    )
    # The place of this bundle; one that is not in the configuration takes the first one's.
    places = [place for place, each in enumerate(config.models) if each.bundle.resolve() == bundle.resolve()] or [0]
    *before, entry = config.models[: places[0] + 1]
    changed = {"bundle": bundle, "allow_untrained_symbols": untrained or entry.allow_untrained_symbols}
    models = (*before, entry.model_copy(update=changed))
    return config.model_copy(update={"models": models, "inference": inference_of(config, **inference)})


def inference_of(config: Config, **asked: object) -> InferenceConfig:
    """How a backtest runs graphs: as `config` says, but for what is `asked` and not None.

    Raises UsageError for a mode whose answers rest on a topic's offsets.
    """
    configured = config.inference
    if configured.mode != "windowed":
        raise UsageError(f"inference.mode = {configured.mode}: a backtest answers in the mode `windowed`")
    # Carries are of no use where nothing is waited for; and no window may have a run of its own.
    fixed = {"finish_path": False, "batch_max": max(2, configured.batch_max)}
    return configured.model_copy(update=fixed | {name: value for name, value in asked.items() if value is not None})


class LocalEngine:
    """Answers in this process."""

    chunk_rows = 4_096  # enough that runs are full, few enough to be a few MB as Python objects

    def __init__(self, engine: Engine, config: Config) -> None:
        """`engine` is warm. Raises as `Rules` does."""
        manifest = engine.bundle.manifest
        self._rules = Rules(config, manifest)
        self._columns = Columns(manifest)
        leaning = attention.of(config, len(config.models) - 1, engine)
        self._answers = Answers(engine, config.inference.threads, leaning)

    @property
    def fates(self) -> Counter[str]:
        """See `BacktestEngine`."""
        return self._rules.fates

    def answers(self, chunks: Iterable[Ticks]) -> Iterator[Answered]:
        """See `BacktestEngine`."""
        for chunk in chunks:
            rows = self._rules.rows(chunk)
            due = [row.due for row in rows]
            told = self._answers.answer(rows, due)
            yield self._columns.of((row for row in rows if row.due), told)

    def close(self) -> None:
        """See `BacktestEngine`."""
        self._answers.close()


def run(
    chunks: Iterable[Ticks], engine: BacktestEngine, writer: Output, scores: BacktestScores, tell: Callable[[int], None]
) -> Summary:
    """Answer all of `chunks` and write what has a forecast. `tell` hears how many ticks were decided so far."""
    start_s = time.monotonic()
    unanswered = 0
    for answered in engine.answers(chunks):
        finite = answered.finite
        unanswered += answered.size - int(finite.sum())
        writer.write(answered if finite.all() else answered.part(finite))
        scores.add(answered)
        tell(engine.fates.total())
    fates = engine.fates + Counter(dead_letter=unanswered)
    fates["forecast"] -= unanswered
    return Summary(fates, scores.scores(), time.monotonic() - start_s)


def chunks_of(files: Sequence[Path], mapping: TickColumns, limit: int | None, rows: int) -> Iterator[Ticks]:
    """The first `limit` ticks of `files`, or all, at most `rows` at a time. Raises TickFileError."""
    read = 0
    for chunk in tick_files.chunks(files, mapping, rows):
        if limit is not None and read + len(chunk) >= limit:
            yield chunk.slice(0, limit - read)
            return
        read += len(chunk)
        yield chunk
