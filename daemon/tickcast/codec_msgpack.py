"""MessagePack records as ticks: maps with names for keys, read as JSON's objects are.

Stage `decode` of the way of a tick.
"""

import msgspec

from tickcast.codec_fields import FieldDecoder
from tickcast.config import InputConfig
from tickcast.known_schemas import Schemas


class MsgpackDecoder(FieldDecoder):
    """Decoder for MessagePack maps. Source: the MessagePack specification; numbers may come as strings."""

    def __init__(self, config: InputConfig, columns: tuple[str, ...], schemas: Schemas | None = None) -> None:
        super().__init__(config, columns)
        self._parse = msgspec.msgpack.Decoder(self._object_type(), strict=False).decode
