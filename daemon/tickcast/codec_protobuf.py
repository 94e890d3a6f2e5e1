"""Protobuf records as ticks: of a descriptor set, or of whatever schema the registry says that a record was written by.

Stage `decode` of the way of a tick. A field that knows whether it was set, and was not, is absent; one of proto3
without `optional` cannot say so, and reads as 0 or "". Source: the Protobuf encoding and language guides.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from tickcast import codec, known_schemas, protobuf_types
from tickcast.codec import Decoder
from tickcast.codec_fields import is_nullable
from tickcast.codec_framed import FramedDecoder
from tickcast.codec_values import ValueDecoder, decimal_of
from tickcast.config import InputConfig
from tickcast.errors import ConfigurationError, UndecodableRecord
from tickcast.known_schemas import Schema, Schemas
from tickcast.protobuf_types import MessageType
from tickcast.windows import NANOSECONDS

# After the schema's number comes the place of the message in its file. A single 0 stands for the first one's, which
# most files have alone.
FIRST = b"\0"
NESTED_MAX = 16
VARINT_BYTES_MAX = 5

TIMESTAMP = "google.protobuf.Timestamp"
# Messages that stand for one value -> that value. Null where they are not set.
VALUES: dict[str, Callable[[Any], Any]] = {
    TIMESTAMP: lambda found: found.seconds * NANOSECONDS + found.nanos,
    "confluent.type.Decimal": lambda found: decimal_of(found.value, found.scale),
    **{
        f"google.protobuf.{kind}Value": attrgetter("value")
        for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String")
    },
}


def decoder(config: InputConfig, columns: tuple[str, ...], known: Schemas | None) -> Decoder:
    """For bare records of `input.schema_file`, or for records that name a schema. Raises ConfigurationError."""
    if config.schema_file:
        path = Path(config.schema_file)
        try:
            kind = protobuf_types.of_file_set(codec.schema_bytes(path), config.message)
            return ProtobufReader(config, columns, kind, 0)
        except ConfigurationError as error:
            raise ConfigurationError(f"input.schema_file: {path}: {error}") from error
    assert known is not None

    def reader_of(schema: Schema, header: bytes) -> Decoder:
        if schema.kind != "PROTOBUF":
            raise ConfigurationError(f"of {schema.kind}, not PROTOBUF")
        indexes = [0] if header[known_schemas.HEADER_BYTES :] == FIRST else list(_indexes(header)[1])
        return ProtobufReader(config, columns, protobuf_types.of_schema(schema, indexes), len(header))

    usual_bytes = known_schemas.HEADER_BYTES + len(FIRST)
    return FramedDecoder(config, known, reader_of, usual_bytes, header_bytes)


def header_bytes(value: bytes) -> int:
    """How many bytes of `value` come before the message. Raises UndecodableRecord."""
    return _indexes(value)[0]


class ProtobufReader(ValueDecoder):
    """Decoder for records of one message type."""

    def __init__(self, config: InputConfig, columns: tuple[str, ...], kind: MessageType, header_bytes: int) -> None:
        """Each record begins with `header_bytes` that are no part of it.

        Raises ConfigurationError where the message has not what is mapped.
        """
        descriptor: Descriptor = kind.DESCRIPTOR
        timed = config.event_time != codec.KAFKA_TIMESTAMP and _is_timestamp(descriptor, config.event_time)
        super().__init__(config, columns, "ns" if timed else None)
        leaves = [_leaf(descriptor, path, is_nullable(leaf)) for path, leaf in self._paths.items()]
        self._leaves = _getter(leaves)
        self._read = kind.FromString
        self._header_bytes = header_bytes
        self._parse, self._fields = self._parsed, self._checked

    def _parsed(self, value: bytes) -> Any:
        try:
            message = self._read(value[self._header_bytes :])
        except DecodeError as error:
            raise UndecodableRecord(f"not of its message: {error}") from error
        return self._leaves(message)


def _indexes(value: bytes) -> tuple[int, tuple[int, ...]]:
    """How many bytes the header of `value` takes, and where in its file the message is. Raises UndecodableRecord."""
    count, at = _varint(value, known_schemas.HEADER_BYTES)
    if not count:
        return at, (0,)
    if not 0 < count <= NESTED_MAX:
        raise UndecodableRecord(f"a message nested {count} deep; at most {NESTED_MAX} are read")
    indexes = []
    for _ in range(count):
        index, at = _varint(value, at)
        if index < 0:
            raise UndecodableRecord(f"a message with index {index}")
        indexes.append(index)
    return at, tuple(indexes)


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """The zigzag number at `at`, and where it ends."""
    number = 0
    for place, byte in enumerate(value[at : at + VARINT_BYTES_MAX]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise UndecodableRecord("the message's place in its file is cut short")


class _Leaf(NamedTuple):
    """Where a value stands in a message, and what makes it a value."""

    around: tuple[str, ...]  # messages on the way, each of which may not be there
    name: str
    is_tracked: bool  # whether it knows that it is not there
    value: Callable[[Any], Any] | None


def _steps(descriptor: Descriptor, path: str) -> list[FieldDescriptor] | None:
    """The fields on the way to what `path` means; None where there is no such way. Raises ConfigurationError."""
    steps: list[FieldDescriptor] = []
    for name in path.split("."):
        message = steps[-1].message_type if steps else descriptor
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None:
            return None
        if field.is_repeated:
            raise ConfigurationError(f"{path}: {name!r} is repeated, and may hold any number of values")
        steps.append(field)
    return steps


def _is_timestamp(descriptor: Descriptor, path: str) -> bool:
    steps = _steps(descriptor, path)
    found = steps[-1].message_type if steps else None
    return found is not None and found.full_name == TIMESTAMP


def _leaf(descriptor: Descriptor, path: str, may_lack: bool) -> _Leaf | None:
    """What stands at `path`; None: nothing. Raises ConfigurationError where that is no value, or may not lack."""
    steps = _steps(descriptor, path)
    if steps is None:
        if may_lack:
            return None
        raise ConfigurationError(f"no field {path!r}")
    last = steps[-1]
    value: Callable[[Any], Any] | None = None
    if last.message_type is not None:
        if last.message_type.full_name not in VALUES:
            raise ConfigurationError(f"{path}: a message {last.message_type.full_name}, and no value")
        value = VALUES[last.message_type.full_name]
    elif last.enum_type is not None:
        value = functools.partial(_enum_name, {each.number: each.name for each in last.enum_type.values})
    elif last.type == FieldDescriptor.TYPE_BYTES:
        raise ConfigurationError(f"{path}: bytes, which are no number and no text")
    return _Leaf(tuple(field.name for field in steps[:-1]), last.name, last.has_presence, value)


def _enum_name(names: Mapping[int, str], number: int) -> str:
    return names.get(number, str(number))


def _getter(leaves: Sequence[_Leaf | None]) -> Callable[[Any], Sequence[Any]]:
    """What takes the values out of a message, None for those that are not there."""
    found = [leaf for leaf in leaves if leaf is not None]
    is_plain = not any(leaf.around or leaf.is_tracked or leaf.value for leaf in found)
    if is_plain and len(found) == len(leaves) > 1:  # attrgetter of one name does not return a tuple
        return attrgetter(*(leaf.name for leaf in found))
    groups: dict[tuple[str, ...], list[tuple[int, _Leaf]]] = {}
    for place, leaf in enumerate(leaves):
        if leaf is not None:
            groups.setdefault(leaf.around, []).append((place, leaf))
    return functools.partial(_taken, len(leaves), list(groups.items()))


def _taken(
    count: int, groups: Sequence[tuple[Sequence[str], Sequence[tuple[int, _Leaf]]]], message: Any
) -> Sequence[Any]:
    """`count` values. Those in the same message, in `groups`, are looked for together."""
    values: list[Any] = [None] * count
    for around, leaves in groups:
        node = message
        for name in around:
            if not node.HasField(name):
                break
            node = getattr(node, name)
        else:
            is_there = node.HasField
            for place, (_, name, is_tracked, value) in leaves:
                if not is_tracked or is_there(name):
                    found = getattr(node, name)
                    values[place] = found if value is None else value(found)
    return values
