"""Avro records as ticks: of a schema file, or of whatever schema the registry says that a record was written by.

Stage `decode` of the way of a tick. Source: the specification of Apache Avro 1.12, binary encoding.
"""

import functools
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from tickcast import avro_compiler, codec, known_schemas
from tickcast.avro_compiler import NotCompiledError
from tickcast.avro_schema import AvroSchema
from tickcast.codec import Decoder
from tickcast.codec_fields import is_nullable
from tickcast.codec_framed import FramedDecoder
from tickcast.codec_values import ValueDecoder
from tickcast.config import InputConfig
from tickcast.errors import ConfigurationError, UndecodableRecord
from tickcast.known_schemas import Schema, Schemas

# What the walk raises for bytes that are not of the schema, and what fastavro does.
_NOT_WALKED = (IndexError, ValueError, OverflowError, struct.error)
_NO_DATUM = (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError)


def decoder(config: InputConfig, columns: tuple[str, ...], known: Schemas | None) -> Decoder:
    """For bare records of `input.schema_file`, or for records that name a schema. Raises ConfigurationError."""
    if config.schema_file:
        path = Path(config.schema_file)
        try:
            return AvroReader(config, columns, AvroSchema(codec.schema_text(path)), 0)
        except ConfigurationError as error:
            raise ConfigurationError(f"input.schema_file: {path}: {error}") from error
    assert known is not None

    def reader_of(schema: Schema, header: bytes) -> Decoder:
        if schema.kind != "AVRO":
            raise ConfigurationError(f"of {schema.kind}, not AVRO")
        return AvroReader(config, columns, AvroSchema(schema.text, schema.references), len(header))

    return FramedDecoder(config, known, reader_of, known_schemas.HEADER_BYTES, lambda value: known_schemas.HEADER_BYTES)


class AvroReader(ValueDecoder):
    """Decoder for records of one schema."""

    def __init__(self, config: InputConfig, columns: tuple[str, ...], schema: AvroSchema, header_bytes: int) -> None:
        """Each record begins with `header_bytes` that are no part of it.

        Raises ConfigurationError where the schema has not what is mapped.
        """
        timed = config.event_time != codec.KAFKA_TIMESTAMP
        super().__init__(config, columns, schema.time_unit(config.event_time) if timed else None)
        for path, leaf in self._paths.items():
            if schema.at(path) == [] and not is_nullable(leaf):
                raise ConfigurationError(f"no field {path!r}")
        self._header_bytes = header_bytes
        try:
            walk = avro_compiler.compiled(schema.plain, schema.named, self._paths)
        except NotCompiledError:
            self._schema = schema.without_decimals
            self._as_object = functools.partial(msgspec.convert, type=self._object_type(), strict=False)
            self._parse = self._parsed
        else:
            self._take = walk.take
            self._parse = self._walked
            # `tuple` gives back the one that it is given.
            self._fields = tuple if walk.is_exact else self._checked

    def _walked(self, value: bytes) -> tuple[Any, ...]:
        """The values at the paths, as they stand in the record."""
        try:
            found, end = self._take(value, self._header_bytes)
        except _NOT_WALKED as error:
            raise UndecodableRecord(f"not of its schema: {str(error) or type(error).__name__}") from error
        if end != len(value):
            raise _other_length(end, value)
        return found

    def _parsed(self, value: bytes) -> Any:
        """The whole record as an object, for mappings that go through maps and the like."""
        file = BytesIO(value)
        file.seek(self._header_bytes)
        try:
            datum = fastavro.schemaless_reader(file, self._schema, None)
        except _NO_DATUM as error:
            raise UndecodableRecord(f"not of its schema: {str(error) or type(error).__name__}") from error
        if file.tell() != len(value):
            raise _other_length(file.tell(), value)
        return self._as_object(datum)


def _other_length(end: int, value: bytes) -> UndecodableRecord:
    if end > len(value):
        return UndecodableRecord(f"not of its schema: {end - len(value)} bytes are lacking")
    return UndecodableRecord(f"{len(value) - end} bytes follow what its schema tells of")
