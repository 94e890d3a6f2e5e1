"""What formats share whose values come out one by one: they are made the types that the mapping asks for.

Stage `decode` of the way of a tick; used by `codec_avro` and `codec_protobuf`.
"""

import re
from collections.abc import Sequence
from decimal import Decimal, DecimalException
from typing import Any

import msgspec

from tickcast.codec_fields import FieldDecoder
from tickcast.config import InputConfig
from tickcast.errors import InvalidRecord
from tickcast.tick_columns import TimeUnit

# Above what a double holds; a megabyte takes minutes to be made a number.
DECIMAL_BYTES_MAX = 128


class ValueDecoder(FieldDecoder):
    """A decoder whose `_parse` takes out the values at the paths, in their order."""

    def __init__(self, config: InputConfig, columns: tuple[str, ...], time_unit: TimeUnit | None) -> None:
        """See `FieldDecoder`."""
        super().__init__(config, columns, time_unit)
        self._types = tuple[tuple(self._paths.values())]  # type: ignore[misc]  # made at run time

    def _checked(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """`values` as their types. Raises InvalidRecord for what is of another one."""
        try:
            fields: tuple[Any, ...] = msgspec.convert(values, self._types, strict=False)
        except msgspec.ValidationError as error:
            paths = list(self._paths)
            text = re.sub(r"\$\[(\d+)\]", lambda match: f"$.{paths[int(match[1])]}", str(error))
            raise InvalidRecord(text) from error
        return fields


def decimal_of(data: bytes, scale: int) -> Decimal:
    """The number in `data`, as Avro and Confluent's Protobuf type write decimals. Raises InvalidRecord."""
    if len(data) > DECIMAL_BYTES_MAX:
        raise InvalidRecord(f"a decimal of {len(data)} bytes; at most {DECIMAL_BYTES_MAX} are read")
    try:
        return Decimal(int.from_bytes(data, signed=True)).scaleb(-scale)
    except DecimalException as error:
        raise InvalidRecord(f"a decimal of scale {scale}") from error
