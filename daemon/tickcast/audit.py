"""The accounting that can be checked: ticks = forecasts + warming + skipped + dead letters, and what is wrong with it.

Recomputes what should have become of each tick from the input topic, the bundle's rules and the configuration, with the
windows module, and compares it with what lies in the output and dead-letter topics. Uses no number of the daemon's own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from tickcast import codec, records, symbols
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.errors import BadRecord, NonFiniteForecast
from tickcast.manifest import Manifest
from tickcast.partition_state import windows_of

# What a tick should become, as one small number per offset.
ABSENT, FORECAST, DEAD_LETTER, OTHER = range(4)


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
    skipped_by_reason: dict[str, int] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether every tick has met its fate, once."""
        accounted = self.forecasts + self.warming + self.skipped + self.dead_letters
        return self.ticks == accounted and not (self.missing or self.doubled or self.unexpected)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "adds_up": self.adds_up}


class PartitionAudit:
    """One input partition: first every tick, then every forecast and dead letter, then `account`."""

    def __init__(self, config: Config, manifest: Manifest, audited: OffsetRange) -> None:
        self.audited = audited
        self._decoder: Decoder = codec.decoder(config.input, manifest.record_columns)
        self._windows = windows_of(manifest, config.recovery)
        self._has_model = symbols.matcher(config.models[0].symbols)
        length = audited.end - audited.first
        self._expected = np.zeros(length, np.uint8)
        self._forecasts = np.zeros(length, np.uint16)
        self._dead_letters = np.zeros(length, np.uint16)
        self._fates: Counter[str] = Counter()

    def tick(self, record: Record) -> None:
        """The next record of the partition; those before the audited range only fill the windows."""
        fate = self._fate(record)
        at = record.offset - self.audited.first
        if at < 0:
            return
        self._fates[fate] += 1
        self._expected[at] = {"forecast": FORECAST, "dead_letter": DEAD_LETTER}.get(fate, OTHER)

    def forecast(self, offset: int) -> None:
        """A forecast that names `offset` as its source."""
        self._count(self._forecasts, offset)

    def dead_letter(self, offset: int, reason: str) -> None:
        """A dead letter that names `offset` as its source."""
        self._count(self._dead_letters, offset)
        at = offset - self.audited.first
        if reason == NonFiniteForecast.reason and 0 <= at < len(self._expected) and self._expected[at] == FORECAST:
            self._expected[at] = DEAD_LETTER  # the rules cannot know what the model answers

    def account(self) -> Account:
        """The partition's account."""
        wants_forecast, wants_letter = self._expected == FORECAST, self._expected == DEAD_LETTER
        forecast_there, letter_there = self._forecasts > 0, self._dead_letters > 0
        skipped = {fate: n for fate, n in self._fates.items() if fate not in ("forecast", "warming", "dead_letter")}
        doubles = [np.maximum(counts.astype(np.int64) - 1, 0) for counts in (self._forecasts, self._dead_letters)]
        return Account(
            ticks=self._fates.total(),
            forecasts=int((forecast_there & wants_forecast).sum()),
            warming=self._fates["warming"],
            skipped=sum(skipped.values()),
            dead_letters=int((letter_there & wants_letter).sum()),
            missing=int((wants_forecast & ~forecast_there).sum() + (wants_letter & ~letter_there).sum()),
            doubled=int(doubles[0].sum() + doubles[1].sum()),
            unexpected=int((forecast_there & ~wants_forecast).sum() + (letter_there & ~wants_letter).sum()),
            skipped_by_reason=skipped,
        )

    def _fate(self, record: Record) -> str:
        try:
            tick = self._decoder.decode(record)
        except BadRecord:
            return "dead_letter"
        return self._windows.decide(tick).fate if self._has_model(tick.symbol) else "no_model"

    def _count(self, counts: "np.ndarray[tuple[int], np.dtype[np.uint16]]", offset: int) -> None:
        at = offset - self.audited.first
        if 0 <= at < len(counts):
            counts[at] += 1


def audit(
    config: Config,
    manifest: Manifest,
    audited: Mapping[Partition, OffsetRange],
    ticks: Iterable[Record],
    forecasts: Iterable[Record],
    dead_letters: Iterable[Record],
) -> dict[Partition, Account]:
    """The account of each partition of `audited`.

    `ticks` begin `replay_records_max` offsets before each audited range, or at the oldest one kept. Raises KeyError or
    ValueError for an output record whose headers name no source.
    """
    partitions = {partition: PartitionAudit(config, manifest, held) for partition, held in audited.items()}
    for record in ticks:
        partitions[record.partition].tick(record)
    for record in forecasts:
        source, offset = records.source_of(record.headers)
        if source in partitions:
            partitions[source].forecast(offset)
    for record in dead_letters:
        source, offset = records.source_of(record.headers)
        if source in partitions:
            partitions[source].dead_letter(offset, dict(record.headers)[records.HEADER_REASON].decode())
    return {partition: one.account() for partition, one in partitions.items()}


def total(accounts: Iterable[Account]) -> Account:
    """The sum of `accounts`."""
    whole, reasons = Account(), Counter[str]()
    for account in accounts:
        reasons.update(account.skipped_by_reason)
        for name in ("ticks", "forecasts", "warming", "skipped", "dead_letters", "missing", "doubled", "unexpected"):
            setattr(whole, name, getattr(whole, name) + getattr(account, name))
    whole.skipped_by_reason = dict(reasons)
    return whole
