"""Forecasts as JSON objects: the format where nothing else is asked for.

Stage `encode` of the way of a tick.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tickcast.config import Config
from tickcast.records import Forecast


def encoder(config: Config) -> Callable[[Forecast], bytes]:
    """See `ForecastFormat`."""
    return msgspec.json.Encoder().encode


def decoder(config: Config, kind: Any) -> Callable[[bytes], Any]:
    """See `ForecastFormat`."""
    return msgspec.json.Decoder(kind).decode
