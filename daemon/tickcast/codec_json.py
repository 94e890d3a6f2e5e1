"""JSON records as ticks: one typed decode of just the mapped fields, nested ones and numeric strings included.

Stage `decode` of the way of a tick.
"""

import msgspec

from tickcast.codec_fields import FieldDecoder
from tickcast.config import InputConfig
from tickcast.known_schemas import Schemas


class JsonDecoder(FieldDecoder):
    """Decoder for JSON objects. Source: RFC 8259; msgspec's lax mode reads numbers from strings."""

    def __init__(self, config: InputConfig, columns: tuple[str, ...], schemas: Schemas | None = None) -> None:
        super().__init__(config, columns)
        self._parse = msgspec.json.Decoder(self._object_type(), strict=False).decode
