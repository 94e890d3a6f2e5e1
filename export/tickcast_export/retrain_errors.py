"""What the retraining example came to: errors before the market changed, after that, and after the promotion.

Behind the way of a tick. From the topics alone: no number of the daemon's own is used.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import msgspec
from tickcast import records
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.config import Config
from tickcast.manifest import Manifest
from tickcast.topic_reader import TopicReader

from tickcast_export import demo_results


class Part(NamedTuple):
    """A part of the run: what was played in it, and what was forecast."""

    ticks: Mapping[Partition, OffsetRange]
    forecasts: Mapping[Partition, OffsetRange]


@dataclass(frozen=True)
class Summary:
    """The figures of a run; the last line of the output. Errors: 1 - squared error / that of no change."""

    simulated: bool
    error_before_change: float | None
    error_after_change: float | None
    error_after_promotion: float | None
    sha256_old: str
    sha256_new: str
    evaluated_old: float | None  # mean over horizons, by `tickcast evaluate` on the last of the recorded ticks
    evaluated_new: float | None
    scored_ticks: int  # by `tickcast promote`
    look_ticks: int
    ticks: int
    forecasts: int
    missing: int
    doubled: int
    seconds: float

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


class _Told(msgspec.Struct, frozen=True):
    bundle: records.BundleName


_told = msgspec.json.Decoder(_Told)


def error_vs_persistence(
    reader: TopicReader, config: Config, manifest: Manifest, sha256: str, part: Part
) -> float | None:
    """Of the forecasts by this bundle in this part; None where none could be checked. Raises BrokerError."""
    made = _by(sha256, reader.read(part.forecasts))
    # A reader reads one thing at a time: the ticks are read first, to their end.
    return demo_results.collect(config, manifest, reader.read(part.ticks), made).error_vs_persistence()


def _by(sha256: str, forecasts: Iterator[Record]) -> Iterator[Record]:
    return (record for record in forecasts if _told.decode(record.value or b"{}").bundle.sha256 == sha256)
