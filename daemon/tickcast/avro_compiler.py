"""A reader of one Avro schema, made for the mapping: takes the wanted values out of a record and steps over the rest.

Stage `decode` of the way of a tick. fastavro makes objects of all that is in a record, which takes up to three times as
long; so the walk through the bytes is written down as Python source, once per schema. Its own way to fail is that it
gets past the end, which is looked at last. Source: the specification of Apache Avro 1.12, binary encoding.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tickcast.codec_values import decimal_of
from tickcast.market import HaltedValue, Number

# What is read as a number below is at most so long; of what is only stepped over the record's end is the limit.
VARINT_BYTES_MAX = 10
# Seven of eight bits of each of eight bytes, moved together in three steps; the eighth says that there are more.
_MORE = 0x8080_8080_8080_8080
_FIXED = {"float": "f", "double": "d"}
# What is read -> the kinds of values that are right as they stand.
_RIGHT: tuple[tuple[Any, frozenset[str]], ...] = (
    (float, frozenset({"float", "double"})),
    (Number, frozenset({"float", "double"})),
    (str, frozenset({"string", "enum"})),
    (int, frozenset({"int", "long"})),
    (int | float, frozenset({"int", "long", "float", "double"})),
    (HaltedValue, frozenset({"string", "enum", "int", "long", "float", "double", "boolean"})),
)
_INDENT = "    "
# Of the walk; a schema may use the same type many times, and that one another.
STEPS_MAX = 10_000

Tree = dict[str, Any]


class Walk(NamedTuple):
    """A way through records of a schema."""

    # Bytes, and where the record begins in them -> the values at the paths, None for what is null; and where it ends.
    take: Callable[[bytes, int], tuple[tuple[Any, ...], int]]
    is_exact: bool  # whether the values are of the types that are wanted, always


class NotCompiledError(Exception):
    """What stands at a path is not known before a record is there; the text says why."""


def compiled(schema: Any, named: Mapping[str, Any], paths: Mapping[str, Any]) -> Walk:
    """The walk through records of `schema`, which is plain and safe. `named` are the types that it calls by name.

    `paths`: what is wanted, and of which type. `take` raises IndexError, ValueError, OverflowError or struct.error for
    bytes that are not of the schema, and InvalidRecord. Raises NotCompiledError.
    """
    wanted: Tree = {}
    for place, path in enumerate(paths):
        node = wanted
        *parents, name = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = place
    source = _Source(named, list(paths.values()))
    source.emit(schema, wanted, 1, False)
    values = "".join(f"v{place}, " for place in range(len(paths)))
    blank = [f"{_INDENT}v{place} = None" for place in sorted(source.maybe_absent(len(paths)))]
    text = "\n".join(["def take(b, p):", *blank, *source.lines, f"{_INDENT}return ({values}), p"])
    made: dict[str, Any] = {"long": _long, "number": decimal_of, **source.constants}
    try:
        exec(compile(text, "<avro schema>", "exec"), made)
    except SyntaxError as error:  # more levels than Python has
        raise NotCompiledError(str(error)) from error
    return Walk(made["take"], source.is_exact)


class _Source:
    """The lines of a walk. In it `b` are the bytes, `p` is where it is, `v0` ... the values, `n` a number just read."""

    def __init__(self, named: Mapping[str, Any], types: list[Any]) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.is_exact = True
        self._named = named
        self._types = types
        self._certain: set[int] = set()  # values that are there in every record
        self._packed = ""  # what comes next and is of a known length: struct's letters, `x` for a byte to step over
        self._places: list[str] = []  # and the values in it
        self._steps = 0

    def maybe_absent(self, count: int) -> set[int]:
        """The values that a record may be without."""
        return set(range(count)) - self._certain

    def emit(self, schema: Any, wanted: Any, depth: int, is_maybe: bool) -> None:
        """Walk over a `schema`. `wanted`: a value's place, what is wanted of an object, or None; in a union it is maybe
        there."""
        self._emit(schema, wanted, depth, is_maybe)
        self._unpack(depth)

    def _emit(self, schema: Any, wanted: Any, depth: int, is_maybe: bool) -> None:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise NotCompiledError("a long way")
        if isinstance(schema, list):
            return self._union(schema, wanted, depth)
        schema = self._named.get(schema, schema) if isinstance(schema, str) else schema
        kind = self._kind(schema)
        if kind in ("record", "error"):
            if isinstance(wanted, int):
                raise NotCompiledError("a record is no value")
            for field in schema["fields"]:
                self._emit(field["type"], (wanted or {}).get(field["name"]), depth, is_maybe)
        elif kind in ("array", "map"):
            self._blocks(schema, kind, wanted, depth)
        elif kind != "null":
            self._value(schema, kind, wanted, depth, is_maybe)
        return None

    def _line(self, depth: int, text: str) -> None:
        self.lines.append(_INDENT * depth + text)

    def _unpack(self, depth: int) -> None:
        """Write down what is of a known length, all of it in one."""
        packed = struct.Struct(f"<{self._packed}")
        if self._places:
            name = f"unpack{len(self.constants)}"
            self.constants[name] = packed.unpack_from
            self._line(depth, f"{', '.join(self._places)}, = {name}(b, p)")
        if packed.size:
            self._line(depth, f"p += {packed.size}")
        self._packed, self._places = "", []

    def _number(self, depth: int) -> None:
        """`n`, as it stands: zigzag."""
        self._line(depth, "n = b[p]; p += 1")
        self._line(depth, "if n > 127: n, p = long(b, p - 1)")

    def _length(self, depth: int) -> None:
        self._number(depth)
        self._line(depth, "if n & 1: raise ValueError('a length below 0')")
        self._line(depth, "n >>= 1")

    def _union(self, schema: list[Any], wanted: Any, depth: int) -> None:
        objects = [each for each in schema if self._kind(each) in ("record", "error", "map")]
        if isinstance(wanted, dict) and (len(objects) != 1 or len(schema) > 2):
            raise NotCompiledError("objects or something else")
        self._unpack(depth)
        self._number(depth)
        for index, branch in enumerate(schema):
            self._line(depth, f"{'el' if index else ''}if n == {2 * index}:")
            before = len(self.lines)
            self.emit(branch, None if self._kind(branch) == "null" else wanted, depth + 1, True)
            if len(self.lines) == before:
                self._line(depth + 1, "pass")
        self._line(depth, "else: raise ValueError('a branch that the union has not')")

    def _blocks(self, schema: Any, kind: str, wanted: Any, depth: int) -> None:
        if wanted is not None:
            raise NotCompiledError(f"a path into {kind}s")
        self._unpack(depth)
        count = f"c{depth}"
        self._line(depth, "while True:")
        self._number(depth + 1)
        self._line(depth + 1, "if not n: break")
        self._line(depth + 1, "if n & 1:")  # the block's length in bytes follows its number of items
        self._length(depth + 2)
        self._line(depth + 2, "p += n")
        self._line(depth + 2, "continue")
        self._line(depth + 1, f"{count} = n >> 1")
        self._line(depth + 1, f"while {count}:")
        self._line(depth + 2, f"{count} -= 1")
        if kind == "map":
            self._length(depth + 2)
            self._line(depth + 2, "p += n")
        self.emit(schema["items" if kind == "array" else "values"], None, depth + 2, True)
        self._line(depth + 2, "if p > len(b): raise ValueError('past the end')")  # or many would be walked there

    def _value(self, schema: Any, kind: str, wanted: int | None, depth: int, is_maybe: bool) -> None:
        if isinstance(wanted, dict):
            raise NotCompiledError("a value is no object")
        place = None if wanted is None else f"v{wanted}"
        if wanted is not None:
            self._note(kind, wanted, is_maybe)
        if kind in _FIXED and place:
            self._packed += _FIXED[kind]
            self._places.append(place)
            return
        if place is None and (size := _size(schema, kind)):
            self._packed += f"{size}x"
            return
        self._unpack(depth)
        match kind:
            case "int" | "long" | "enum" if place is None:
                self._line(depth, "while b[p] > 127: p += 1")
                self._line(depth, "p += 1")
            case "int" | "long":
                self._number(depth)
                as_float = wanted is not None and self._types[wanted] in (float, Number)
                self._line(depth, f"{place} = {'float' if as_float else ''}((n >> 1) ^ -(n & 1))")
            case "boolean":
                self._line(depth, f"{place} = b[p] != 0; p += 1")
            case "enum":
                self._length(depth)
                symbols = f"enum{len(self.constants)}"
                self.constants[symbols] = tuple(schema["symbols"])
                self._line(depth, f"{place} = {symbols}[n]")
            case "fixed":
                self._bytes(schema, place, f"{schema['size']:d}", depth)
            case _:
                self._length(depth)
                self._bytes(schema, place, "n", depth, kind == "string")

    def _bytes(self, schema: Any, place: str | None, length: str, depth: int, is_text: bool = False) -> None:
        if place is not None:
            found = f"b[p:p + {length}]"
            if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
                found = f"number({found}, {schema.get('scale', 0):d})"
            self._line(depth, f"{place} = {found}{'.decode()' if is_text else ''}")
        self._line(depth, f"p += {length}")

    def _note(self, kind: str, wanted: int, is_maybe: bool) -> None:
        """A value of this kind stands there, or may."""
        leaf = self._types[wanted]
        kinds = next(kinds for each, kinds in _RIGHT if each == leaf)
        becomes_float = leaf in (float, Number) and kind in ("int", "long")
        if not (kind in kinds or becomes_float) or (is_maybe and leaf not in (Number, HaltedValue)):
            self.is_exact = False
        if not is_maybe:
            self._certain.add(wanted)

    def _kind(self, schema: Any) -> Any:
        schema = self._named.get(schema, schema) if isinstance(schema, str) else schema
        return schema["type"] if isinstance(schema, dict) else schema


def _size(schema: Any, kind: str) -> int:
    """How many bytes a value takes; 0 where that is not known beforehand."""
    if kind == "fixed":
        return int(schema["size"])
    return {"float": 4, "double": 8, "boolean": 1}.get(kind, 0)


def _long(data: bytes, at: int) -> tuple[int, int]:
    """The zigzag number at `at`, which has more than one byte, and where it ends."""
    number = int.from_bytes(data[at : at + 8], "little")
    if number & _MORE == _MORE:
        last = data[at + 8]
        if last > 0x7F:
            more = data[at + 9]
            if more > 1:
                raise ValueError("a number of more than 64 bits")
            return _joined(number) | (last & 0x7F) << 56 | more << 63, at + 10
        return _joined(number) | last << 56, at + 9
    end = ~number & _MORE
    end &= -end  # the lowest byte without the mark
    size = end.bit_length() // 8
    if at + size > len(data):
        raise ValueError("a number that is cut short")
    return _joined(number & (end - 1)), at + size


def _joined(number: int) -> int:
    """Eight times seven bits side by side."""
    number = number & 0x007F_007F_007F_007F | (number & 0x7F00_7F00_7F00_7F00) >> 1
    number = number & 0x0000_3FFF_0000_3FFF | (number & 0x3FFF_0000_3FFF_0000) >> 2
    return number & 0x0000_0000_0FFF_FFFF | (number & 0x0FFF_FFFF_0000_0000) >> 4
