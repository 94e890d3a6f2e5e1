"""Records in the schema registry's wire format as ticks: each is read by what its writer's schema makes of the mapping.

Stage `decode` of the way of a tick. One reader is made per schema, when the first record names it.
"""

from collections.abc import Callable

from tickcast import codec, known_schemas
from tickcast.clients import Record
from tickcast.codec import Decoder
from tickcast.config import InputConfig
from tickcast.errors import ConfigurationError, InvalidRecord, UnknownSchema
from tickcast.known_schemas import Schema, Schemas
from tickcast.windows import Tick

READERS_MAX = known_schemas.SCHEMAS_MAX

# Makes the reader of the records that begin with these bytes. Raises ConfigurationError where that cannot be read.
MakeReader = Callable[[Schema, bytes], Decoder]
# How many bytes a record's header takes. Raises BadRecord.
Measure = Callable[[bytes], int]


class FramedDecoder:
    """A decoder for records that name their schema."""

    def __init__(
        self, config: InputConfig, known: Schemas, make: MakeReader, usual_bytes: int, header_bytes: Measure
    ) -> None:
        """`usual_bytes`: what `header_bytes` says of most records."""
        self.schemas = known
        self._bytes_max = config.record_bytes_max
        self._make = make
        self._usual_bytes = usual_bytes
        self._header_bytes = header_bytes
        self._readers: dict[bytes, Decoder] = {}

    def decode(self, record: Record) -> Tick:
        """The tick in `record`. Raises a BadRecord; RegistryError where the schema had to be asked for in vain."""
        value = record.value
        reader = self._readers.get(value[: self._usual_bytes]) if value else None
        return (reader or self._reader_of(record)).decode(record)

    def _reader_of(self, record: Record) -> Decoder:
        value = codec.checked_value(record, self._bytes_max)
        number = known_schemas.number_of(value)
        header = value[: self._header_bytes(value)]
        if header in self._readers:
            return self._readers[header]
        schema = self.schemas.get(number)
        if schema is None:
            raise UnknownSchema(f"the registry knows no schema {number}")
        if len(self._readers) >= READERS_MAX:
            del self._readers[next(iter(self._readers))]
        try:
            reader = self._make(schema, header)
        except ConfigurationError as error:
            reader = _Refusal(f"schema {number}: {error}")
        self._readers[header] = reader
        return reader


class _Refusal:
    """Reads nothing: records of this schema cannot be ticks."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def decode(self, record: Record) -> Tick:
        raise InvalidRecord(self._reason)


def schemas_of(decoder: Decoder) -> Schemas | None:
    """What `decoder`, or each that it is made of, knows of the registry's schemas; None where it needs none."""
    known = getattr(decoder, "schemas", None)
    return known if isinstance(known, Schemas) else None
