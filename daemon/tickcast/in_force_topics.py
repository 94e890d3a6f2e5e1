"""Which bundles answer which offsets, as a group's topics tell it: the control topic, or the forecasts themselves.

Beside the way of a tick.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from tickcast import control_topic, forecast_formats, in_force, manifest, records, symbols
from tickcast.clients import Record
from tickcast.config import Config
from tickcast.in_force import ForecastsSeen, InForce, Stretch
from tickcast.promotion_record import Control
from tickcast.records import BundleName

# `answered`: by the forecasts, which bundle did answer; `wanted`: by the control topic, which one was to.
Source = Literal["answered", "wanted"]


class _Told(msgspec.Struct, frozen=True):
    """Of a forecast, who made it and when."""

    symbol: str
    sent_time_ns: int
    bundle: BundleName


def wanted(config: Config, controls: Mapping[str, Control]) -> list[InForce]:
    """By the control records, for each entry of the configuration; its own bundle where there is none.

    Raises BundleError where that one cannot be read.
    """
    tables = []
    for entry in config.models:
        control = controls.get(control_topic.key_of(config, entry))
        if control is not None:
            tables.append(in_force.of_switches(control.switches))
        else:
            tables.append(InForce({}, [Stretch(0, None, manifest.read(entry.bundle)[1])]))
    return tables


def answered(config: Config, forecasts: Iterable[Record], otherwise: Sequence[InForce]) -> list[InForce]:
    """By the forecasts, in any order, for each entry; `otherwise` counts for partitions that none is of, and
    before a partition's first one where it tells of that by name: older forecasts may have been deleted.

    Raises UsageError for a record that is no forecast.
    """
    read = forecast_formats.decoder(config, _Told)
    takes = [symbols.matcher(entry.symbols) for entry in config.models]
    seen = [ForecastsSeen() for _ in config.models]
    for record in forecasts:
        with forecast_formats.taking_apart(record):
            source, offset = records.source_of(record.headers)
            told: _Told = read(record.value or b"")
        for takes_it, one in zip(takes, seen, strict=True):
            if takes_it(told.symbol):
                one.add(source, offset, told.sent_time_ns, told.bundle.sha256)
                break
    return [one.table().or_else(other, one.firsts()) for one, other in zip(seen, otherwise, strict=True)]
