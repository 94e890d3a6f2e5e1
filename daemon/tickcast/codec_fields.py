"""The field mapping that all input formats share: which fields of a record are read, as what, and the tick they make.

Stage `decode` of the way of a tick. A format says how bytes become an object (`_parse`) and how the mapped fields come
out of it (`_fields`); whatever they mean is decided here, so that equal records are equal ticks in every format.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from tickcast import codec
from tickcast.clients import Record
from tickcast.config import InputConfig
from tickcast.errors import ConfigurationError, InvalidRecord, UndecodableRecord
from tickcast.market import HaltedValue, Market, Number, market
from tickcast.tick_columns import TimeUnit
from tickcast.windows import Tick

# A path is a dotted list of names; a leaf is the type read at its end.
Tree = dict[str, Any]


class FieldDecoder:
    """A decoder but for `_parse`: bytes -> object, and `_fields`: object -> what stands at the paths, in their order.

    `_parse` may raise msgspec's errors, of which those of validation are for records of another shape.
    """

    _parse: Callable[[bytes], Any]
    _fields: Callable[[Any], tuple[Any, ...]]

    def __init__(self, config: InputConfig, columns: tuple[str, ...], time_unit: TimeUnit | None = None) -> None:
        """`time_unit`: that of the event time, where the format says it; else the configuration does."""
        self._columns = columns
        self._bytes_max = config.record_bytes_max
        self._unit: TimeUnit = time_unit or config.event_time_unit
        self._market = market(config, columns)
        self._paths = _paths(config, columns, self._market, self._unit)
        places = {path: place for place, path in enumerate(self._paths)}
        self._symbol_at = places.get(config.symbol) if config.symbol != codec.KAFKA_KEY else None
        self._time_at = places.get(config.event_time) if config.event_time != codec.KAFKA_TIMESTAMP else None
        self._sequence_at = places.get(config.sequence)
        self._halted_at = places.get(self._market.halted_path) if self._market is not None else None

    def decode(self, record: Record) -> Tick:
        """The tick in `record`. Raises a BadRecord: what cannot be read, or a market state that is to be one."""
        value = codec.checked_value(record, self._bytes_max)
        try:
            fields = self._fields(self._parse(value))
        except msgspec.ValidationError as error:
            raise InvalidRecord(str(error)) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise UndecodableRecord(str(error)) from error
        symbol = codec.key_symbol(record) if self._symbol_at is None else fields[self._symbol_at]
        if self._time_at is None:
            time = codec.record_time_ns(record)
        else:
            time = codec.event_time_ns(fields[self._time_at], self._unit)
        sequence = 0 if self._sequence_at is None else fields[self._sequence_at]
        values = fields[: len(self._columns)]
        if self._market is None:
            codec.checked_columns(values, self._columns)
            return Tick(record.offset, codec.checked_symbol(symbol), time, values, sequence)
        halted = None if self._halted_at is None else fields[self._halted_at]
        values, state, cuts = self._market.judged(values, halted)
        return Tick(record.offset, codec.checked_symbol(symbol), time, values, sequence, state, cuts)

    def _object_type(self) -> Any:
        """A struct type for the objects of a format that has nested ones with names; sets `_fields` for it."""
        struct, attributes = _struct(self._paths)
        self._fields = _getter([attributes[path] for path in self._paths], self._market is not None)
        return struct


def is_nullable(leaf: Any) -> bool:
    """Whether what is read as `leaf` may be null or absent."""
    return leaf in (Number, HaltedValue)


def _paths(config: InputConfig, columns: tuple[str, ...], rules: Market | None, unit: TimeUnit) -> dict[str, Any]:
    """Path -> type to read there, in the order: columns, symbol, event time, sequence, what says halted."""
    nullable = frozenset[str]() if rules is None else rules.nullable
    wanted: list[tuple[str, Any]] = [
        (config.columns.get(column, column), Number if column in nullable else float) for column in columns
    ]
    if config.symbol != codec.KAFKA_KEY:
        wanted.append((config.symbol, str))
    if config.event_time != codec.KAFKA_TIMESTAMP:
        wanted.append((config.event_time, int if unit == "ns" else int | float))
    if config.sequence:
        wanted.append((config.sequence, int))
    if rules is not None and rules.halted_path:
        wanted.append((rules.halted_path, HaltedValue))
    paths = dict(wanted)
    for path, _ in wanted:
        if sum(path == other or other.startswith(f"{path}.") for other, _ in wanted) > 1:
            raise ConfigurationError(f"input: {path!r} is mapped to more than one thing")
    return paths


def _struct(paths: dict[str, Any]) -> tuple[type, dict[str, str]]:
    """A struct type for the tree of `paths`, and each path's dotted attribute in it."""
    tree: Tree = {}
    for path, leaf in paths.items():
        node = tree
        *parents, name = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    attributes: dict[str, str] = {}
    return _node(tree, "", "", attributes), attributes


def _node(tree: Tree, path: str, attribute: str, attributes: dict[str, str]) -> type:
    fields: list[tuple[str, Any] | tuple[str, Any, None]] = []
    names: dict[str, str] = {}
    for index, (name, child) in enumerate(tree.items()):
        field = f"f{index}"  # record keys need not be identifiers
        names[field] = name
        here, there = f"{path}{name}", f"{attribute}{field}"
        if isinstance(child, dict):
            kind = _node(child, f"{here}.", f"{there}.", attributes)
            fields.append((field, kind | None, None) if _may_lack(child) else (field, kind))
        else:
            fields.append((field, child, None) if _may_lack(child) else (field, child))
            attributes[here] = there
    return msgspec.defstruct("Fields", fields, rename=names, frozen=True, gc=False, kw_only=True)


def _may_lack(child: Any) -> bool:
    """Whether a leaf may be null or absent; an object, if all in it may."""
    return all(map(_may_lack, child.values())) if isinstance(child, dict) else is_nullable(child)


def _getter(attributes: list[str], has_nulls: bool) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the leaves out; where objects may be null on the way, their leaves are null."""
    if has_nulls:
        paths = [attribute.split(".") for attribute in attributes]
        return lambda fields: tuple([_leaf(fields, path) for path in paths])
    if not attributes:
        return lambda fields: ()
    if len(attributes) == 1:  # attrgetter of one name does not return a tuple
        single = attrgetter(attributes[0])
        return lambda fields: (single(fields),)
    return attrgetter(*attributes)


def _leaf(fields: Any, path: Sequence[str]) -> Any:
    for name in path:
        if fields is None:
            return None
        fields = getattr(fields, name)
    return fields
