"""Forecasts for the ticks of topics once more: each offset answered by the bundles that were in force there.

The way of a tick without a daemon: read -> decode -> decide -> features -> windows -> run -> write. Bundles in force
together are a lineup. Each lineup keeps windows of its own, from so many offsets before its own as windows can
rest on: so a bundle that came into force finds the windows that a daemon had read back, or taken over, for it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from tickcast import attention, codec_routed, symbols
from tickcast.backtest_answers import Answered, Answers, Columns, SteadyEngine
from tickcast.backtest_output import Sources, layout_of_topics
from tickcast.backtest_scores import BacktestScores
from tickcast.bundle import Bundle
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.config import Config
from tickcast.errors import BadRecord, UsageError
from tickcast.in_force import Segment
from tickcast.partition_state import partition_windows_of
from tickcast.symbols import UNANSWERED
from tickcast.windows import Row

# Decided at a time, as a backtest of files does.
CHUNK_RECORDS = 4_096

# sha256 of each entry's bundle, in the configuration's order.
Names = tuple[str, ...]


class Answer(NamedTuple):
    """Ticks that one bundle answered."""

    lineup: Names
    place: int
    answered: Answered


class Lineup:
    """The bundles of all entries that were in force together, ready to answer."""

    def __init__(self, config: Config, names: Names, engines: Sequence[SteadyEngine]) -> None:
        """`engines` are of the bundles called `names`. Raises ConfigurationError for a mapping that does not fit."""
        self.names = names
        self.manifests = [engine.bundle.manifest for engine in engines]
        self.route = symbols.route(config.models, self.manifests)
        self.decode = codec_routed.configured(config, self.manifests, self.route).decode
        self.columns = [Columns(manifest) for manifest in self.manifests]
        self.answers = [
            Answers(engine, config.inference.threads, attention.of(config, place, engine))
            for place, engine in enumerate(engines)
        ]

    def close(self) -> None:
        """End the threads."""
        for each in self.answers:
            each.close()


class TopicsBacktest:
    """Answers the ticks of partitions, one partition after the other."""

    def __init__(
        self,
        config: Config,
        segments: Mapping[Partition, Sequence[Segment]],
        held: Mapping[Partition, OffsetRange],
        engine_of: Callable[[str], SteadyEngine],
    ) -> None:
        """`segments` say what is to be answered, of what is `held`; `engine_of` a sha256 is warm, and asked once.

        Raises ConfigurationError for bundles that the configuration does not fit.
        """
        self.fates: Counter[str] = Counter()  # what became of the ticks: as in a backtest of files
        self._config = config
        self._segments = segments
        self._held = held
        self._reach = config.recovery.replay_records_max
        engines: dict[str, SteadyEngine] = {}
        lineups = dict.fromkeys(_names(each) for cut in segments.values() for each in cut)
        for sha256 in (sha256 for names in lineups for sha256 in names):
            if sha256 not in engines:
                engines[sha256] = engine_of(sha256)
        self._lineups = {names: Lineup(config, names, [engines[each] for each in names]) for names in lineups}
        self.bundles = [engine.bundle for engine in engines.values()]
        self.scores = {
            (names, place): BacktestScores(manifest)
            for names, lineup in self._lineups.items()
            for place, manifest in enumerate(lineup.manifests)
        }

    def range_of(self, partition: Partition) -> OffsetRange:
        """What has to be read: with what windows at the begin rest on."""
        answered = self._segments[partition]
        first = max(self._held[partition].first, answered[0].first - self._reach)
        return OffsetRange(first, answered[-1].end)

    def answers(self, partition: Partition, records: Iterable[Record]) -> Iterator[list[Answer]]:
        """The ticks of `range_of` the partition, answered: some of them at a time, none of them after those before."""
        stands = [
            _Stand(lineup, own, self._config, self._reach, self.fates)
            for names, lineup in self._lineups.items()
            if (own := [each for each in self._segments[partition] if each.bundles == names])
        ]
        remaining = iter(records)
        while chunk := list(islice(remaining, CHUNK_RECORDS)):
            answered = [answer for stand in stands for answer in stand.take(chunk)]
            for answer in answered:
                self.scores[answer.lineup, answer.place].add(answer.answered)
            yield answered

    def close(self) -> None:
        """End the threads."""
        for lineup in self._lineups.values():
            lineup.close()


class _Stand:
    """A lineup on one partition: what it answers there, and its windows."""

    def __init__(
        self, lineup: Lineup, own: Sequence[Segment], config: Config, reach: int, fates: "Counter[str]"
    ) -> None:
        self._lineup = lineup
        self._own = own
        self._begin, self._end = own[0].first - reach, own[-1].end
        self._at = 0  # the segment that the next record may lie in
        self._decides = partition_windows_of(lineup.manifests, config.recovery).decides
        self._fates = fates

    def take(self, records: Sequence[Record]) -> Iterator[Answer]:
        """The next records of the partition."""
        lineup = self._lineup
        rows: list[list[Row]] = [[] for _ in lineup.answers]
        asked: list[list[bool]] = [[] for _ in lineup.answers]
        for record in records:
            if not self._begin <= record.offset < self._end:
                continue
            answers = self._answers(record.offset)
            fate, place, row = self._decided(record)
            if answers:
                self._fates[fate] += 1
            if row is not None:
                rows[place].append(row)
                asked[place].append(row.due and answers)
        for place, (made, wanted) in enumerate(zip(rows, asked, strict=True)):
            told = lineup.answers[place].answer(made, wanted)
            if any(wanted):
                due = (row for row, is_asked in zip(made, wanted, strict=True) if is_asked)
                yield Answer(lineup.names, place, lineup.columns[place].of(due, told))

    def _answers(self, offset: int) -> bool:
        while offset >= self._own[self._at].end:
            self._at += 1
        return offset >= self._own[self._at].first

    def _decided(self, record: Record) -> tuple[str, int, Row | None]:
        """What becomes of the record's tick, whose it is, and its row if it makes one."""
        try:
            tick = self._lineup.decode(record)
        except BadRecord:
            return "dead_letter", 0, None
        place = self._lineup.route(tick.symbol)
        if place < 0:
            return UNANSWERED[place], 0, None
        decision = self._decides[place](tick)
        return decision.fate, place, decision.row


def check(segments: Mapping[Partition, Sequence[Segment]], at_hand: Iterable[str]) -> None:
    """Raises UsageError that names all offsets whose bundle is not known, or is not one of those `at_hand`."""
    known = frozenset(at_hand)
    problems = []
    for (topic, number), cut in sorted(segments.items()):
        for first, end, names in cut:
            for place, sha256 in enumerate(names):
                where = f"{topic}/{number}, offsets {first} to {end - 1}, models.{place}"
                if sha256 is None:
                    problems.append(f"{where}: which bundle was in force is told nowhere any more")
                elif sha256 not in known:
                    problems.append(f"{where}: bundle {sha256} is not at hand: name a folder with it, --bundles FOLDER")
    if problems:
        raise UsageError("\n".join(problems))


class Rows:
    """Makes rows of a file out of answers by different bundles."""

    def __init__(self, bundles: Sequence[Bundle], leaning: bool) -> None:
        """`leaning`: with attention, as wide as the longest window."""
        self.layout = layout_of_topics(bundles, leaning)
        places = {horizon: place for place, horizon in enumerate(self.layout.horizons)}
        self._places = {each.sha256: [places[horizon] for horizon in each.manifest.horizons] for each in bundles}
        self._width = max((each.manifest.rules.window for each in bundles), default=0) if leaning else 0

    def of(self, answers: Sequence[Answer], partition: Partition) -> tuple[Answered, Sources]:
        """Those that are finite, by offset; NaN stands where a bundle has not such a horizon, or so long a window."""
        parts, names = [], []
        for lineup, place, answered in answers:
            finite, sha256 = answered.part(answered.finite), lineup[place]
            forecasts = np.full((finite.size, len(self.layout.horizons)), np.nan, np.float32)
            forecasts[:, self._places[sha256]] = finite.forecasts
            weights = np.full((finite.size, self._width), np.nan, np.float32)
            weights[:, : finite.attention.shape[1]] = finite.attention
            parts.append(finite._replace(forecasts=forecasts, attention=weights))
            names.append(np.full(finite.size, sha256, np.object_))
        joined, bundles = Answered._make(map(np.concatenate, zip(*parts, strict=True))), np.concatenate(names)
        order = np.argsort(joined.offsets)
        topics = np.full(joined.size, partition.topic, np.object_)
        partitions = np.full(joined.size, partition.number, np.int64)
        return joined.part(order), Sources(topics, partitions, bundles[order])


def _names(segment: Segment) -> Names:
    assert None not in segment.bundles, "see `check`"
    return tuple(each for each in segment.bundles if each is not None)
