"""Ticks from topics back into order, for a file: what `tickcast record` writes, and training and evaluation read.

Beside the way of a tick. Records are decoded by the daemon's own codec and field mapping. A time range is a range of
offsets of each partition, by the records' own timestamps: ranges that follow one another neither lose nor repeat one.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tickcast import codec, codec_routed, manifest, schema_registry, symbols
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.errors import BadRecord, BrokerError, ConfigurationError, UsageError
from tickcast.known_schemas import Schemas
from tickcast.windows import Tick

# Records of all partitions together that wait for their turn: some tens of MB.
WAITING_MAX = 100_000
# Of one partition at least so many are asked for at once: each question takes a round trip.
BLOCK_MIN = 200


class Topics(Protocol):
    """What of a `TopicReader` is needed."""

    def partitions(self, topic: str) -> list[Partition]:
        """See `TopicReader`."""

    def held(self, partitions: Collection[Partition]) -> dict[Partition, OffsetRange]:
        """See `TopicReader`."""

    def offsets_at(self, partitions: Collection[Partition], time_ms: int) -> dict[Partition, int | None]:
        """See `TopicReader`."""

    def read(self, ranges: Mapping[Partition, OffsetRange]) -> Iterator[Record]:
        """See `TopicReader`."""


class Span(NamedTuple):
    """A time range as offsets. Of the partitions `begun_later` retention may have taken the begin."""

    ranges: dict[Partition, OffsetRange]
    begun_later: tuple[Partition, ...]

    @property
    def offsets(self) -> int:
        """How many there are: at least as many as records."""
        return sum(end - first for first, end in self.ranges.values())


class Reading(NamedTuple):
    """How records become ticks with these columns; `takes` says of a symbol whether it is wanted."""

    columns: tuple[str, ...]
    decoder: Decoder
    takes: Callable[[str], bool]


@dataclass
class Recorded:
    """What became of the records of a range."""

    records: int = 0
    ticks: int = 0
    other_symbols: int = 0  # of other bundles, or of none
    bad: Counter[str] = field(default_factory=Counter)  # by reason
    no_row: Counter[str] = field(default_factory=Counter)  # by the market state whose rule takes them out
    first_event_time_ns: int | None = None
    last_event_time_ns: int | None = None


def span(reader: Topics, topics: Sequence[str], from_ms: int | None, to_ms: int | None) -> Span:
    """The records written at or after `from_ms` and before `to_ms`; None: the oldest kept, and the newest there is.

    Raises BrokerError.
    """
    held = reader.held([partition for topic in topics for partition in reader.partitions(topic)])
    begins = None if from_ms is None else reader.offsets_at(held, from_ms)
    ends = None if to_ms is None else reader.offsets_at(held, to_ms)
    ranges, begun_later = {}, []
    for partition, kept in held.items():
        first = kept.first if begins is None else _or(begins[partition], kept.end)
        end = kept.end if ends is None else _or(ends[partition], kept.end)
        ranges[partition] = OffsetRange(first, max(first, end))
        if from_ms is not None and first == kept.first > 0:
            begun_later.append(partition)
    return Span(ranges, tuple(begun_later))


def reading(config: Config, place: int | None, columns: tuple[str, ...]) -> Reading:
    """For the symbols and columns of the entry of `models` at `place`, the only one where that is None; with `columns`
    for these, of every symbol: no bundle is needed then.

    Raises UsageError for both, ConfigurationError, BundleError where a manifest cannot be read, MissingExtraError
    without a library.
    """
    if columns:
        if place is not None:
            raise UsageError("--columns: of every symbol, so not with --model")
        fetch = schema_registry.fetch(config.registry, config.input.format) if config.input.is_framed else None
        known = None if fetch is None else Schemas(fetch)
        return Reading(columns, codec.decoder(config.input, columns, known), lambda symbol: True)
    place = _place(config, place)
    # A symbol that the bundle was not trained for is one to train the next one on.
    entries = [entry.model_copy(update={"allow_untrained_symbols": True}) for entry in config.models]
    manifests = [manifest.read(entry.bundle)[0] for entry in entries]
    route = symbols.route(entries, manifests)
    decoder = codec_routed.configured(config, manifests, route)
    return Reading(manifests[place].record_columns, decoder, lambda symbol: route(symbol) == place)


def in_order(
    reader: Topics, ranges: Mapping[Partition, OffsetRange], waiting_max: int = WAITING_MAX
) -> Iterator[Record]:
    """Every record of `ranges` as they were written: by timestamp, and of one partition by offset whatever those say.

    At most `waiting_max` are held, or `BLOCK_MIN` of each partition. Raises BrokerError, also where retention deletes
    records before they are read.
    """
    block = max(BLOCK_MIN, waiting_max // max(1, len(ranges)))
    logs = [_blocks(reader, partition, held, block) for partition, held in sorted(ranges.items())]
    return heapq.merge(*logs, key=lambda record: record.timestamp_ms)


def ticks(records: Iterator[Record], using: Reading, counted: Recorded) -> Iterator[Tick]:
    """The ticks of `records` that a file can hold; `counted` hears of each record. Raises RegistryError."""
    for record in records:
        counted.records += 1
        try:
            tick = using.decoder.decode(record)
        except BadRecord as error:
            counted.bad[error.reason] += 1
            continue
        if not using.takes(tick.symbol):
            counted.other_symbols += 1
        elif tick.market is not None:
            counted.no_row[tick.market] += 1
        else:
            counted.ticks += 1
            at_ns, first_ns, last_ns = tick.event_time_ns, counted.first_event_time_ns, counted.last_event_time_ns
            counted.first_event_time_ns = at_ns if first_ns is None else min(first_ns, at_ns)
            counted.last_event_time_ns = at_ns if last_ns is None else max(last_ns, at_ns)
            yield tick


def _place(config: Config, place: int | None) -> int:
    if place is None:
        if len(config.models) > 1:
            raise ConfigurationError(f"models: there are {len(config.models)} entries: say whose ticks, with --model")
        return 0
    if not 0 <= place < len(config.models):
        raise ConfigurationError(f"models.{place}: there is no such entry")
    return place


def _blocks(reader: Topics, partition: Partition, held: OffsetRange, records: int) -> Iterator[Record]:
    """One partition's records, read some at a time: in between the reader reads other partitions."""
    for first in range(held.first, held.end, records):
        block = list(reader.read({partition: OffsetRange(first, min(first + records, held.end))}))
        kept = reader.held([partition])[partition].first
        if kept > first:  # what is deleted while it is asked for is left out by the broker without a word
            topic, number = partition
            gone = f"offsets {first} to {kept - 1}"
            raise BrokerError(f"{topic}/{number}: retention deleted {gone} before they were read: begin anew")
        yield from block


def _or(offset: int | None, otherwise: int) -> int:
    return otherwise if offset is None else offset
