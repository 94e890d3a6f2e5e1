"""From what lies in the topics to a decision: which bundle is in force, and whether the other one's error is lower.

Beside the way of a tick, for `tickcast promote`. Reads ticks, forecasts and the shadow's forecasts; nothing is asked of
a daemon.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from tickcast import (
    codec_routed,
    control_topic,
    forecast_formats,
    manifest,
    promotion_looks,
    records,
    shadow_fit,
    symbols,
)
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.config import Config, ModelConfig
from tickcast.errors import BadRecord, ConfigurationError
from tickcast.manifest import Manifest
from tickcast.paired_losses import NEW, OLD, Losses, PairedLosses
from tickcast.partition_state import partition_windows_of
from tickcast.promotion_looks import Verdict
from tickcast.promotion_record import Control, Decided, Decision, Evidence
from tickcast.publisher import reference_mid_of
from tickcast.topic_reader import TopicReader

# A shadow's forecast is written after that of the bundle that answers; clocks of two hosts may differ by less.
CLOCKS_MS = 60_000


class _Told(msgspec.Struct, frozen=True):
    """Of a forecast, what is compared."""

    horizons: tuple[int, ...]
    forecast: list[float]
    bundle: records.BundleName


class Contest(NamedTuple):
    """Two bundles of one entry of the configuration: `old` is in force, `new` is its shadow."""

    config: Config  # as the control topic wants it
    place: int
    key: str
    old: str
    new: str
    control: Control | None  # what was decided before

    @property
    def entry(self) -> ModelConfig:
        """The entry of the configuration."""
        return self.config.models[self.place]


class Judged(NamedTuple):
    """What the topics say of a contest."""

    verdict: Verdict
    evidence: Evidence | None  # where anything was scored


def contest(config: Config, place: int | None, controls: Mapping[str, Control]) -> Contest:
    """The contest of the entry at `place`; of the only one with a shadow where that is None.

    Raises ConfigurationError where there is none, BundleError where a bundle cannot be read or the two do not compare.
    """
    applied = control_topic.applied(config, controls).config
    entry = applied.models[place := place_of(applied, place)]
    if entry.shadow is None:
        raise ConfigurationError(f"models.{place}: no shadow is configured: set models.shadow")
    (answering, old), (shadow, new) = manifest.read(entry.bundle), manifest.read(entry.shadow)
    if old == new:
        raise ConfigurationError(f"models.{place}: `bundle` and `shadow` are the same bundle, {old}")
    shadow_fit.check(answering, shadow, config.inference.mode)
    key = control_topic.key_of(applied, entry)
    control = controls.get(key)
    return Contest(applied, place, key, old, new, control)


def place_of(config: Config, place: int | None) -> int:
    """The place of the entry of `models` that is meant: `place`, or where that is None the only one with a shadow.

    Raises ConfigurationError where there is none.
    """
    if place is not None:
        if not 0 <= place < len(config.models):
            raise ConfigurationError(f"models.{place}: there is no such entry")
        return place
    shadowed = [number for number, entry in enumerate(config.models) if entry.shadow is not None]
    if len(shadowed) == 1:
        return shadowed[0]
    raise ConfigurationError(
        "models: no entry has a shadow: set models.shadow"
        if not shadowed
        else f"models: several entries have a shadow: say which, --model {' or '.join(map(str, shadowed))}"
    )


def judge(between: Contest, reader: TopicReader, horizon: int | None) -> Judged:
    """Whether the shadow's error is lower, over the horizons that both forecast or just that one.

    Raises BrokerError, ConfigurationError for a horizon that is not compared, UsageError for an output record that is
    no forecast.
    """
    horizons = _horizons(between, horizon)
    losses = _losses(between, reader, horizons)
    verdict = promotion_looks.verdict(losses.old - losses.new)
    if not verdict.ticks:
        return Judged(verdict, None)
    look = verdict.looks[-1] if verdict.looks else None
    evidence = Evidence(
        scored=verdict.ticks,
        horizons=horizons,
        old_loss=float(losses.old.mean()),
        new_loss=float(losses.new.mean()),
        difference=verdict.mean,
        look=look.number if look else 0,
        look_ticks=look.ticks if look else 0,
        alpha=look.alpha if look else 0.0,
        low=look.low if look else None,
        high=look.high if look else None,
    )
    return Judged(verdict, evidence)


def decision(
    between: Contest, decided: Decided, who: str, when: datetime, reason: str, evidence: Evidence | None
) -> Decision:
    """What is written of it; a refusal is no switch."""
    sequence = between.control.sequence if between.control is not None else 0
    return Decision(
        decided=decided,
        model=between.key,
        sequence=0 if decided == "refused" else sequence + 1,
        who=who,
        when=when,
        old=between.old,
        new=between.new,
        reason=reason,
        evidence=evidence,
    )


def _horizons(between: Contest, horizon: int | None) -> tuple[int, ...]:
    assert between.entry.shadow is not None
    both = manifest.read(between.entry.bundle)[0], manifest.read(between.entry.shadow)[0]
    common = shadow_fit.common_horizons(*both)
    if horizon is None:
        return common
    if horizon not in common:
        raise ConfigurationError(f"--horizon {horizon}: compared are {', '.join(map(str, common))}")
    return (horizon,)


def _losses(between: Contest, reader: TopicReader, horizons: Sequence[int]) -> Losses:
    config = between.config
    manifests = [manifest.read(entry.bundle)[0] for entry in config.models]
    paired = PairedLosses(horizons, manifests[between.place].target_scale)
    since = _since(between.control)
    inputs = [partition for topic in config.kafka.input_topics for partition in reader.partitions(topic)]
    topic = between.entry.shadow_topic_of(config.kafka.output_topic)
    forecasts = _Forecasts(config, paired, since, horizons)
    held = reader.held(reader.partitions(topic))
    first_ms = min((forecasts.add(NEW, between.new, record) for record in reader.read(held)), default=None)
    if first_ms is None:
        return paired.losses()
    outputs = reader.held(reader.partitions(config.kafka.output_topic))
    begins = reader.offsets_at(outputs, first_ms - CLOCKS_MS)
    ranges = {
        p: OffsetRange(begin if (begin := begins[p]) is not None else at.end, at.end) for p, at in outputs.items()
    }
    for record in reader.read(ranges):
        forecasts.add(OLD, between.old, record)
    ticks = reader.held(inputs)
    reach = config.recovery.replay_records_max
    read = {
        p: OffsetRange(max(ticks[p].first, first - reach), ticks[p].end)
        for p, first in forecasts.first.items()
        if p in ticks
    }
    rows = _Rows(config, manifests, between.place, paired, forecasts.first)
    for record in reader.read(read):
        rows.add(record)
    return paired.losses()


class _Forecasts:
    """Takes forecasts out of records."""

    def __init__(
        self, config: Config, paired: PairedLosses, since: Mapping[Partition, int], horizons: Sequence[int]
    ) -> None:
        self.first: dict[Partition, int] = {}  # the oldest tick that the shadow answered, of each partition
        self._read = forecast_formats.decoder(config, _Told)
        self._paired = paired
        self._since = since
        self._horizons = horizons

    def add(self, side: int, sha256: str, record: Record) -> int:
        """Its forecast, where that bundle made it since it is in force; when it was written."""
        with forecast_formats.taking_apart(record):
            source, offset = records.source_of(record.headers)
            told: _Told | None = None
            if offset >= self._since.get(source, 0):
                told = self._read(record.value or b"")
        if told is not None and told.bundle.sha256 == sha256:
            values = dict(zip(told.horizons, told.forecast, strict=True))
            self._paired.forecast(side, source, offset, [values[horizon] for horizon in self._horizons])
            if side == NEW:
                self.first[source] = min(offset, self.first.get(source, offset))
        return record.timestamp_ms


class _Rows:
    """Recomputes what the ticks became, as the audit does."""

    def __init__(
        self,
        config: Config,
        manifests: Sequence[Manifest],
        place: int,
        paired: PairedLosses,
        first: Mapping[Partition, int],
    ) -> None:
        self._route = symbols.route(config.models, manifests)
        self._decoder = codec_routed.configured(config, manifests, self._route)
        self._windows = {partition: partition_windows_of(manifests, config.recovery) for partition in first}
        self._reference_mid = reference_mid_of(manifests[place])
        self._place = place
        self._paired = paired
        self._first = first

    def add(self, record: Record) -> None:
        """The next tick of its partition."""
        try:
            tick = self._decoder.decode(record)
        except BadRecord:
            return
        place = self._route(tick.symbol)
        if place < 0:
            return
        row = self._windows[record.partition].decides[place](tick).row
        if place == self._place and row is not None and row.due and record.offset >= self._first[record.partition]:
            mid = self._reference_mid(tick.values)
            self._paired.row(record.partition, record.offset, record.timestamp_ms, row.window, row.position, mid)


def _since(control: Control | None) -> dict[Partition, int]:
    """From which offsets on the two have had their present parts: what was seen before a switch decides it no more."""
    if control is None:
        return {}
    starts = control.switches[-1].starts
    return {Partition(topic, number): at for topic, numbers in starts.items() for number, at in numbers.items()}
