"""Protobuf message types made at run time: of a descriptor set, or of what the registry holds.

Stage `decode` of the way of a tick. Source: the Protobuf language guide, `descriptor.proto`.
"""

import base64
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from tickcast.errors import ConfigurationError
from tickcast.known_schemas import Reference, Schema

MessageType = type[Message]

# Files that libraries bring, and that descriptor sets and registries need not.
BUILT_IN: Mapping[str, str] = {
    **{
        f"google/protobuf/{name}.proto": f"google.protobuf.{name}_pb2"
        for name in ("any", "descriptor", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
    },
    "confluent/meta.proto": "confluent_kafka.schema_registry.confluent.meta_pb2",
    "confluent/type/decimal.proto": "confluent_kafka.schema_registry.confluent.type.decimal_pb2",
}
# A registry does not say what the file is called.
FILE_NAME = "schema.proto"

# What the library raises for files that do not fit together.
_NO_FILES = (TypeError, KeyError, ValueError, DecodeError, ModuleNotFoundError)


def of_file_set(data: bytes, name: str) -> MessageType:
    """The message called `name` in a descriptor set, as `protoc -o` writes it. Raises ConfigurationError."""
    try:
        files = FileDescriptorSet.FromString(data).file
        pool = _pool(files)
    except _NO_FILES as error:
        raise ConfigurationError(f"no descriptor set (protoc --include_imports -o FILE): {error}") from error
    there = sorted(_names(files))
    if name not in there:
        raise ConfigurationError(f"input.message: no message {name!r}; there are: {', '.join(there)}")
    return _class(pool, name)


def of_schema(schema: Schema, indexes: Sequence[int]) -> MessageType:
    """The message at `indexes` (in the file, in that, ...) of a registry's schema. Raises ConfigurationError."""
    try:
        file = _file(Reference(FILE_NAME, schema.text))
        pool = _pool([*map(_file, schema.references), file])
        messages, names = file.message_type, [file.package] if file.package else []
        for index in indexes:
            names.append(messages[index].name)
            messages = messages[index].nested_type
        return _class(pool, ".".join(names))
    except IndexError as error:
        raise ConfigurationError(f"no message at {list(indexes)}") from error
    except _NO_FILES as error:
        raise ConfigurationError(f"no Protobuf file that holds: {error}") from error


def _class(pool: DescriptorPool, name: str) -> MessageType:
    made: MessageType = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return made


def _file(reference: Reference) -> FileDescriptorProto:
    file = FileDescriptorProto.FromString(base64.b64decode(reference.text, validate=True))
    file.name = reference.name
    return file


def _pool(files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """`files`, each after those that it imports, with what is built in."""
    pool = DescriptorPool()
    there = {file.name: file for file in files}
    added: set[str] = set()

    def add(name: str) -> None:
        if name in added:
            return
        added.add(name)
        file = there[name] if name in there else _built_in(name)
        for needed in file.dependency:
            add(needed)
        pool.Add(file)

    for name in there:
        add(name)
    return pool


def _built_in(name: str) -> FileDescriptorProto:
    if name not in BUILT_IN:
        raise KeyError(f"{name} is imported, and not there")
    descriptor: Any = importlib.import_module(BUILT_IN[name]).DESCRIPTOR
    return FileDescriptorProto.FromString(descriptor.serialized_pb)


def _names(files: Iterable[FileDescriptorProto]) -> Iterator[str]:
    for file in files:
        yield from _names_in(file.message_type, [file.package] if file.package else [])


def _names_in(messages: Iterable[Any], around: list[str]) -> Iterator[str]:
    for message in messages:
        names = [*around, message.name]
        yield ".".join(names)
        yield from _names_in(message.nested_type, names)
