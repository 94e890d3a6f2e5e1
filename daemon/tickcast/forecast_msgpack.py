"""Forecasts as MessagePack maps, with the names that JSON has.

Stage `encode` of the way of a tick.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tickcast.config import Config
from tickcast.records import Forecast


def encoder(config: Config) -> Callable[[Forecast], bytes]:
    """See `ForecastFormat`."""
    return msgspec.msgpack.Encoder().encode


def decoder(config: Config, kind: Any) -> Callable[[bytes], Any]:
    """See `ForecastFormat`."""
    return msgspec.msgpack.Decoder(kind).decode
