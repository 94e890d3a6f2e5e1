"""An Avro schema made ready to be read by: without what costs time, and without what a few bytes could do harm by.

Stage `decode` of the way of a tick. fastavro is asked for plain numbers, as datetimes would cost precision and time.
Source: the specification of Apache Avro 1.12.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from tickcast.errors import ConfigurationError
from tickcast.known_schemas import Reference
from tickcast.tick_columns import TimeUnit

# Units of the logical types that are points in time.
TIMESTAMPS: Mapping[str, TimeUnit] = {
    "timestamp-millis": "ms",
    "timestamp-micros": "us",
    "timestamp-nanos": "ns",
    "local-timestamp-millis": "ms",
    "local-timestamp-micros": "us",
    "local-timestamp-nanos": "ns",
}
# Of `fixed`, and of a decimal's digits: no record is as long.
SIZE_MAX = 2**31
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED = frozenset({"record", "error", "enum", "fixed"})

# What fastavro raises for a schema that is none.
_NO_SCHEMA = (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class AvroSchema:
    """A parsed schema, `whole`; and `plain`, to read by, whose logical types are decimals alone."""

    def __init__(self, text: str, references: Sequence[Reference] = ()) -> None:
        """`text` is JSON. Raises ConfigurationError where it is no schema, or none that is safe to read by."""
        self._named: dict[str, Any] = {}
        try:
            for reference in references:
                fastavro.parse_schema(json.loads(reference.text), self._named)
            self.whole = fastavro.parse_schema(json.loads(text), self._named)
            self.named: dict[str, Any] = {}  # of `plain`
            self.plain = fastavro.parse_schema(_Plain(self._named, True).of(self.whole, ()), self.named)
        except _NO_SCHEMA as error:
            raise ConfigurationError(f"no Avro schema: {str(error) or type(error).__name__}") from error

    @property
    def without_decimals(self) -> Any:
        """As `plain`, and decimals are bytes: fastavro would take minutes to make a megabyte of them a number."""
        return fastavro.parse_schema(_Plain(self._named, False).of(self.whole, ()))

    def at(self, path: str) -> list[Any] | None:
        """The types that may stand at `path`, none where there is no such field; None: maps hold it, or hold it not."""
        found = self._branches(self.whole)
        for name in path.split("."):
            if any(_kind(each) == "map" for each in found):
                return None
            records = [each for each in found if _kind(each) in ("record", "error")]
            fields = [field for record in records for field in record["fields"] if field["name"] == name]
            found = [branch for field in fields for branch in self._branches(field["type"])]
        return found

    def time_unit(self, path: str) -> TimeUnit | None:
        """The unit of the points in time at `path`; None where the schema does not say that there are any."""
        found = [str(each.get("logicalType")) for each in self.at(path) or () if isinstance(each, dict)]
        units = {TIMESTAMPS[name] for name in found if name in TIMESTAMPS}
        if len(units) > 1:
            raise ConfigurationError(f"{path}: timestamps of more than one unit")
        return units.pop() if units else None

    def _branches(self, schema: Any) -> list[Any]:
        """What may stand where `schema` is: the branches of a union, else itself alone; names as what they name."""
        if isinstance(schema, list):
            return [branch for each in schema for branch in self._branches(each)]
        if isinstance(schema, dict) and isinstance(schema["type"], dict | list):
            return self._branches(schema["type"])
        return [self._named.get(schema, schema) if isinstance(schema, str) else schema]


class _Plain:
    """Writes a schema down again without logical types. Raises SchemaParseException for one that is not safe.

    Of a schema that holds itself, or of arrays of nothing, a short record is read for ever, or until the stack ends.
    """

    def __init__(self, named: Mapping[str, Any], has_decimals: bool) -> None:
        self._named = named
        self._has_decimals = has_decimals
        self._defined: set[str] = set()

    def of(self, schema: Any, around: tuple[str, ...]) -> Any:
        """`schema`, which lies in the types named `around`."""
        if isinstance(schema, list):
            return [self.of(each, around) for each in schema]
        if isinstance(schema, str):
            return schema if schema in PRIMITIVES else self._of_name(schema, around)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self.of(kind, around)
        if kind in NAMED:
            return self._of_named(schema, around)
        if kind == "array":
            if self._is_nothing(schema["items"]):
                raise SchemaParseException("arrays of nothing: no record may be as long as they can say")
            return {"type": "array", "items": self.of(schema["items"], around)}
        if kind == "map":
            return {"type": "map", "values": self.of(schema["values"], around)}
        return self._decimal(schema, {"type": kind})

    def _of_name(self, name: str, around: tuple[str, ...]) -> Any:
        if name in around:
            raise SchemaParseException(f"{name} holds itself, and so any depth")
        return name if name in self._defined else self._of_named(self._named[name], around)

    def _of_named(self, schema: Any, around: tuple[str, ...]) -> Any:
        name = schema["name"]
        if name in self._defined:
            return name
        plain: dict[str, Any] = {"type": schema["type"], "name": name}
        match schema["type"]:
            case "enum":
                plain |= {"symbols": schema["symbols"]}
            case "fixed":
                plain = self._decimal(schema, plain | {"size": _size(schema["size"])})
            case _:
                fields = schema["fields"]
                plain["fields"] = [{"name": f["name"], "type": self.of(f["type"], (*around, name))} for f in fields]
        self._defined.add(name)
        return plain

    def _decimal(self, schema: Mapping[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
        """`plain` with what makes `schema` a decimal, if it is one."""
        if not self._has_decimals or schema.get("logicalType") != "decimal":
            return plain
        numbers = {key: _size(schema[key]) for key in ("precision", "scale") if key in schema}
        return {**plain, "logicalType": "decimal", **numbers}

    def _is_nothing(self, schema: Any) -> bool:
        """Whether what is of this type takes no bytes."""
        if isinstance(schema, list):
            return False
        if isinstance(schema, str):
            return schema == "null" or (schema not in PRIMITIVES and self._is_nothing(self._named[schema]))
        kind = schema["type"]
        if kind in ("record", "error"):
            return all(self._is_nothing(field["type"]) for field in schema["fields"])
        if kind == "fixed":
            return not schema["size"]
        return kind not in ("enum", "array", "map") and self._is_nothing(kind)


def _size(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= SIZE_MAX:
        raise SchemaParseException(f"a size of {value!r}")
    return value


def _kind(schema: Any) -> Any:
    return schema["type"] if isinstance(schema, dict) else schema
