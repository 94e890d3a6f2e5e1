"""The contract of output formats, and the registry of those there are.

Stage `encode` of the way of a tick, and whoever reads forecasts back. A new format is one module and one line in
`FORMATS`; `tests/golden/` holds every one of them to what it has written before.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from tickcast import codec
from tickcast.clients import Record
from tickcast.config import Config
from tickcast.errors import UsageError
from tickcast.records import Forecast

Encode = Callable[[Forecast], bytes]


class ForecastFormat(Protocol):
    """A module-level pair of functions, made for a configuration."""

    def encoder(self, config: Config) -> Encode:
        """What makes a forecast a record's value.

        Where schemas are registered it asks the registry: raises RegistryError without an answer, ConfigurationError
        where it refuses.
        """

    def decoder(self, config: Config, kind: Any) -> Callable[[bytes], Any]:
        """What reads such values as `kind`: `Forecast`, or a msgspec struct with some of its fields.

        It raises msgspec.DecodeError for what is no forecast, and RegistryError where a schema was asked for in vain.
        """


# Name in `output.format` -> the module that fulfils `ForecastFormat`; imported when chosen.
FORMATS: dict[str, str] = {
    "json": "tickcast.forecast_json",
    "msgpack": "tickcast.forecast_msgpack",
    "avro": "tickcast.forecast_avro",
    "protobuf": "tickcast.forecast_protobuf",
}


def encoder(config: Config) -> Encode:
    """The configured format's encoder. Raises as `ForecastFormat.encoder`, and MissingExtraError."""
    return _format(config).encoder(config)


def decoder(config: Config, kind: Any = Forecast) -> Callable[[bytes], Any]:
    """The configured format's decoder for `kind`. Raises as `ForecastFormat.decoder`, and MissingExtraError."""
    return _format(config).decoder(config, kind)


@contextmanager
def taking_apart(record: Record) -> Iterator[None]:
    """Around what takes `record` apart, of a topic that daemons write: UsageError that names one of somebody else."""
    try:
        yield
    except (KeyError, ValueError, msgspec.DecodeError) as error:
        where = f"{record.partition.topic}/{record.partition.number}, offset {record.offset}"
        raise UsageError(f"{where}: no record of a tickcast daemon: {error!r}") from error


def _format(config: Config) -> ForecastFormat:
    name = config.output.format
    try:
        loaded: Any = importlib.import_module(FORMATS[name])
    except ModuleNotFoundError as error:
        if name not in codec.EXTRAS:
            raise
        raise codec.missing_extra("output", name, error) from error
    return loaded  # type: ignore[no-any-return]
