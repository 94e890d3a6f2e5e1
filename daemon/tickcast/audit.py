"""The accounting that can be checked: ticks = forecasts + warming + skipped + dead letters, and what is wrong with it.

Recomputes what should have become of each tick from the input topic, the bundle's rules and the configuration, with the
windows module, and compares it with what lies in the output and dead-letter topics. Uses no number of the daemon's own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tickcast import codec_routed, forecast_formats, records, symbols
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.errors import BadRecord, NonFiniteForecast
from tickcast.gaps import Gaps, Remark
from tickcast.manifest import Manifest
from tickcast.partition_state import partition_windows_of
from tickcast.symbols import UNANSWERED, Route

# What a tick should become, as one small number per offset.
ABSENT, FORECAST, DEAD_LETTER, OTHER = range(4)
# Ranges of offsets that are told of each thing that is wrong with a partition: enough to go and look.
RANGES_MAX = 10

Marks = NDArray[np.bool_]


@dataclass
class Account:
    """What became of the ticks of some offset range."""

    ticks: int = 0
    forecasts: int = 0
    warming: int = 0
    skipped: int = 0
    dead_letters: int = 0
    missing: int = 0  # ticks without the forecast or dead letter that they should have
    doubled: int = 0  # forecasts and dead letters beyond the first of a tick
    unexpected: int = 0  # forecasts and dead letters of ticks that should have none
    miscounted: int = 0  # forecasts whose `skipped_before` does not agree with the others
    skipped_by_reason: dict[str, int] = field(default_factory=dict)
    # Of one partition: what is wrong -> the first ranges of offsets (first, last) where it is.
    where: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether every tick has met its fate, once."""
        accounted = self.forecasts + self.warming + self.skipped + self.dead_letters
        return self.ticks == accounted and not (self.missing or self.doubled or self.unexpected or self.miscounted)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "adds_up": self.adds_up}


COUNTS = tuple(each.name for each in fields(Account) if each.name not in ("skipped_by_reason", "where"))


class PartitionAudit:
    """One input partition: first every tick, then every dead letter, then every forecast, then `account`."""

    def __init__(
        self,
        config: Config,
        manifests: Sequence[Manifest],
        audited: OffsetRange,
        route: Route,
        decoder: Decoder,
        read: Callable[[bytes], Remark],
    ) -> None:
        """`decoder` is for its ticks, `route` tells whose they are, `read` is for its forecasts."""
        self.audited = audited
        self._decoder = decoder
        self._read = read
        self._route = route
        self._decides = partition_windows_of(manifests, config.recovery).decides
        length = audited.end - audited.first
        self._expected = np.zeros(length, np.uint8)
        self._forecasts = np.zeros(length, np.uint16)
        self._dead_letters = np.zeros(length, np.uint16)
        self._fates: Counter[str] = Counter()
        self._gaps = Gaps(audited, config.lag.on_stale == "skip") if config.lag.skips else None

    def tick(self, record: Record) -> None:
        """The next record of the partition; those before the audited range only fill the windows."""
        at = record.offset - self.audited.first
        fate = self._fate(record, at)
        if at < 0:
            return
        self._fates[fate] += 1
        self._expected[at] = {"forecast": FORECAST, "dead_letter": DEAD_LETTER}.get(fate, OTHER)

    def dead_letter(self, offset: int, reason: str) -> None:
        """A dead letter that names `offset` as its source."""
        at = self._count(self._dead_letters, offset)
        if reason == NonFiniteForecast.reason and at is not None and self._expected[at] == FORECAST:
            self._expected[at] = DEAD_LETTER  # the rules cannot know what the model answers
            if self._gaps is not None:
                self._gaps.letter(at)

    def forecast(self, offset: int, value: bytes | None) -> None:
        """A forecast that names `offset` as its source."""
        at = self._count(self._forecasts, offset)
        if self._gaps is not None and at is not None:
            self._gaps.forecast(at, self._read(value or b""))

    def account(self) -> Account:
        """The partition's account."""
        wants_forecast, wants_letter = self._expected == FORECAST, self._expected == DEAD_LETTER
        forecast_there, letter_there = self._forecasts > 0, self._dead_letters > 0
        skipped = {fate: n for fate, n in self._fates.items() if fate not in ("forecast", "warming", "dead_letter")}
        if self._gaps is not None:
            verdict = self._gaps.verdict(forecast_there)
            skipped |= {reason: n for reason, marks in verdict._asdict().items() if (n := int(marks.sum()))}
            wants_forecast &= ~(verdict.passed_over | verdict.unconfirmed)
        doubles = [np.maximum(counts.astype(np.int64) - 1, 0) for counts in (self._forecasts, self._dead_letters)]
        missing = (wants_forecast & ~forecast_there) | (wants_letter & ~letter_there)
        unexpected = [forecast_there & ~wants_forecast, letter_there & ~wants_letter]
        wrong = {
            "missing": missing,
            "doubled": doubles[0] + doubles[1] > 0,
            "unexpected": unexpected[0] | unexpected[1],
        }
        return Account(
            ticks=self._fates.total(),
            forecasts=int((forecast_there & wants_forecast).sum()),
            warming=self._fates["warming"],
            skipped=sum(skipped.values()),
            dead_letters=int((letter_there & wants_letter).sum()),
            missing=int(missing.sum()),
            doubled=int(doubles[0].sum() + doubles[1].sum()),
            unexpected=int(unexpected[0].sum() + unexpected[1].sum()),
            miscounted=0 if self._gaps is None else self._gaps.miscounted,
            skipped_by_reason=skipped,
            where={what: ranges for what, marks in wrong.items() if (ranges := self._ranges(marks))},
        )

    def _ranges(self, marks: Marks) -> list[tuple[int, int]]:
        """The first ranges of marked offsets; those at which there is no tick stand in no range's way."""
        there = np.flatnonzero((self._expected != ABSENT) | marks)
        edges = np.diff(marks[there].astype(np.int8), prepend=0, append=0)
        begins, ends = np.flatnonzero(edges == 1)[:RANGES_MAX], np.flatnonzero(edges == -1)[:RANGES_MAX]
        offsets = there + self.audited.first
        return [(int(offsets[begin]), int(offsets[end - 1])) for begin, end in zip(begins, ends, strict=True)]

    def _fate(self, record: Record, at: int) -> str:
        try:
            tick = self._decoder.decode(record)
        except BadRecord:
            return "dead_letter"
        place = self._route(tick.symbol)
        if place < 0:
            return UNANSWERED[place]
        decision = self._decides[place](tick)
        if self._gaps is not None and decision.row is not None:
            self._gaps.row(at, decision.row)
        return decision.fate

    def _count(self, counts: NDArray[np.uint16], offset: int) -> int | None:
        """Count one that names `offset`; where it is in the audited range, if at all."""
        at = offset - self.audited.first
        if not 0 <= at < len(counts):
            return None
        counts[at] += 1
        return at


def audit(
    config: Config,
    manifests: Sequence[Manifest],
    audited: Mapping[Partition, OffsetRange],
    ticks: Iterable[Record],
    forecasts: Iterable[Record],
    dead_letters: Iterable[Record],
) -> dict[Partition, Account]:
    """The account of each partition of `audited`. `manifests` are of the configured bundles, in their order.

    `ticks` begin `replay_records_max` offsets before each audited range, or at the oldest one kept. Raises UsageError
    that names an output record whose headers name no source; where ticks may be skipped because of the clock also for
    one that is no forecast.
    """
    route = symbols.route(config.models, manifests)
    decoder = codec_routed.configured(config, manifests, route)
    read = forecast_formats.decoder(config, Remark)
    partitions = {p: PartitionAudit(config, manifests, held, route, decoder, read) for p, held in audited.items()}
    for record in ticks:
        partitions[record.partition].tick(record)
    for record in dead_letters:
        with forecast_formats.taking_apart(record):
            source, offset = records.source_of(record.headers)
            if source in partitions:
                partitions[source].dead_letter(offset, dict(record.headers)[records.HEADER_REASON].decode())
    for record in forecasts:
        with forecast_formats.taking_apart(record):
            source, offset = records.source_of(record.headers)
            if source in partitions:
                partitions[source].forecast(offset, record.value)
    return {partition: one.account() for partition, one in partitions.items()}


def total(accounts: Iterable[Account]) -> Account:
    """The sum of `accounts`."""
    whole, reasons = Account(), Counter[str]()
    for account in accounts:
        reasons.update(account.skipped_by_reason)
        for name in COUNTS:
            setattr(whole, name, getattr(whole, name) + getattr(account, name))
    whole.skipped_by_reason = dict(reasons)
    return whole
