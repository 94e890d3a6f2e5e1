"""What tests write records in: for each input format, nested dictionaries as bytes, and what its decoder has to know.

Avro and Protobuf get a schema made up for each dictionary, as a producer of just that record would have had.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import fastavro
import msgspec
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from tickcast import protobuf_types
from tickcast.known_schemas import Schema, Schemas, framed

INT64 = range(-(2**63), 2**63)
FIRST = b"\0"  # of a Protobuf file's messages


class Format(Protocol):
    """One input format."""

    is_framed: bool

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """A record of these fields: strings, numbers, None, lists and dictionaries of them."""

    def known(self) -> Schemas | None:
        """The schemas of all that was encoded, as a registry has them."""


class Plain:
    """A format that needs no schema."""

    is_framed = False

    def __init__(self, encode: Any) -> None:
        self.encode = encode

    def known(self) -> None:
        """There are none."""


class Registered:
    """Schemas with numbers: what a registry holds, without the registry."""

    is_framed = True
    kind = ""

    def __init__(self) -> None:
        self._schemas: dict[int, Schema] = {}

    def register(self, text: str) -> int:
        """The number of this schema."""
        for number, schema in self._schemas.items():
            if schema.text == text:
                return number
        number = len(self._schemas) + 1
        self._schemas[number] = Schema(self.kind, text)
        return number

    def known(self) -> Schemas:
        """See `Format`."""
        return Schemas(self._schemas.get)


class Avro(Registered):
    """Records in the wire format, of schemas that are made up."""

    kind = "AVRO"

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """See `Format`. Whole numbers that no `long` holds come as texts."""
        found = _in_range(fields)
        schema = avro_schema(found)
        return framed(self.register(json.dumps(schema))) + avro_datum(schema, found)


class Protobuf(Registered):
    """Messages in the wire format, of files that are made up; every field knows whether it is there."""

    kind = "PROTOBUF"

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """See `Format`. None is a field that is not there."""
        file = protobuf_file(fields)
        number = self.register(base64.b64encode(file.SerializeToString()).decode())
        return framed(number) + FIRST + protobuf_message(file, fields)


def avro_schema(fields: Mapping[str, Any], name: str = "Tick") -> dict[str, Any]:
    """A schema that fits `fields`."""
    listed = [{"name": key, "type": _avro_type(value, f"{name}_{key}")} for key, value in fields.items()]
    return {"type": "record", "name": name, "fields": listed}


def avro_datum(schema: Any, fields: Any) -> bytes:
    """`fields` as `schema` has them, without a header."""
    file = BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(schema), fields)
    return file.getvalue()


def protobuf_file(fields: Mapping[str, Any], optional: bool = True) -> FileDescriptorProto:
    """A file with a message `md.Tick` that fits `fields`."""
    file = FileDescriptorProto(name="schema.proto", package="md", syntax="proto3")
    _add_fields(file.message_type.add(name="Tick"), fields, ".md.Tick", optional)
    return file


def protobuf_message(file: FileDescriptorProto, fields: Mapping[str, Any]) -> bytes:
    """`fields` as the first message of `file`, without a header."""
    kind = protobuf_types.of_schema(Schema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode()), [0])
    return bytes(kind(**_present(fields)).SerializeToString())


def protoc(*arguments: str) -> None:
    """Run `protoc`, in a process of its own: beside tensorflow's copy of the library it ends the process."""
    found = find_spec("grpc_tools")
    if found is None or found.origin is None:
        pytest.skip("grpcio-tools is not installed")
    built_in = Path(found.origin).parent / "_proto"
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{built_in}", *arguments], check=True)


def formats() -> dict[str, Format]:
    """Of every name in `input.format`, a new one."""
    return {
        "json": Plain(msgspec.json.encode),
        "msgpack": Plain(msgspec.msgpack.encode),
        "avro": Avro(),
        "protobuf": Protobuf(),
    }


def _avro_type(value: Any, name: str) -> Any:
    match value:
        case None:
            return ["null", "double"]
        case bool():
            return "boolean"
        case int():
            return "long"
        case float():
            return "double"
        case str():
            return "string"
        case list():
            return {"type": "array", "items": _avro_type(value[0], name) if value else "double"}
        case _:
            return avro_schema(value, name)


def _in_range(value: Any) -> Any:
    match value:
        case dict():
            return {key: _in_range(each) for key, each in value.items()}
        case int() if not isinstance(value, bool) and value not in INT64:
            return str(value)
        case _:
            return value


def _add_fields(message: Any, fields: Mapping[str, Any], path: str, optional: bool) -> None:
    for number, (name, value) in enumerate(fields.items(), 1):
        added = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
        if isinstance(value, dict):
            added.type, added.type_name = Field.TYPE_MESSAGE, f"{path}.M{number}"
            _add_fields(message.nested_type.add(name=f"M{number}"), value, added.type_name, optional)
        elif isinstance(value, list):
            added.label, added.type = Field.LABEL_REPEATED, Field.TYPE_DOUBLE
        else:
            added.type = _protobuf_type(value)
            if optional:
                added.proto3_optional, added.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{name}")


def _protobuf_type(value: Any) -> int:
    match value:
        case bool():
            return int(Field.TYPE_BOOL)
        case int():
            return int(Field.TYPE_INT64 if value in INT64 else Field.TYPE_UINT64)
        case str():
            return int(Field.TYPE_STRING)
        case _:
            return int(Field.TYPE_DOUBLE)


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _present(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
