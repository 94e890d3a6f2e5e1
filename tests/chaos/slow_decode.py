"""Executable specification of how a JSON record reads as a tick: slow and clear, the oracle for `tickcast.codec_json`.

Made of Python's own parser; shares with the daemon the configuration and nothing else.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tickcast.clients import Record
from tickcast.config import InputConfig

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
NOT_FINITE = re.compile(r"-?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
INTEGER_DIGITS_MAX = 4_300  # of Python itself
FLOAT_EXACT_MAX = 2**53  # a float literal reads as an integer up to here
NESTED_MAX = 300  # parsers give up somewhere above
UNIT_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
SYMBOL_LENGTH_MAX = 250


class Bad(Exception):  # noqa: N818 - as the daemon's own
    """The record holds no tick; the text says why."""


class Literal(str):
    """A number as it is written."""

    __slots__ = ()


class SlowTick(NamedTuple):
    """What the daemon should read; missing values of a market state's tick are None."""

    symbol: str
    event_time_ns: int
    values: tuple[float | None, ...]
    sequence: int
    market: str | None
    cuts: bool


class Reading(NamedTuple):
    """What is in a record; where it `is_loose`, parsers may differ in whether they take it, but not in what it says."""

    tick: SlowTick | None
    is_json: bool
    is_loose: bool


def read(config: InputConfig, columns: Sequence[str], record: Record) -> Reading:
    """The tick in `record`, if there is one."""
    value = record.value
    if not value or len(value) > config.record_bytes_max:
        return Reading(None, False, False)
    loose = [bool(LONE_SURROGATE.search(value)) or value.count(b"[") + value.count(b"{") > NESTED_MAX]

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        loose[0] |= len(fields) < len(pairs)
        return fields

    try:
        # Names and texts that nobody asked for may be no UTF-8.
        text = value.decode("utf-8", "surrogateescape")
        tree = json.loads(text, parse_int=Literal, parse_float=Literal, parse_constant=_refused, object_pairs_hook=made)
    except (ValueError, RecursionError):
        return Reading(None, False, loose[0])
    try:
        return Reading(_tick(config, columns, record, tree), True, loose[0])
    except Bad:
        return Reading(None, True, loose[0])


def _refused(name: str) -> Any:
    raise ValueError(name)


def _tick(config: InputConfig, columns: Sequence[str], record: Record, tree: Any) -> SlowTick:
    rules = {"halted": config.halted, "one_sided": config.one_sided, "crossed": config.crossed}
    rules = {state: rule for state, rule in rules.items() if rule != "accept"}
    book = {config.book_columns.get(part, part): part for part in ("bid", "ask", "bid_size", "ask_size")}
    may_be_null = book if rules.keys() & {"halted", "one_sided"} else {}
    paths = {column: config.columns.get(column, column) for column in columns}
    nullable = {paths[column] for column in columns if column in may_be_null}
    if "halted" in rules:
        nullable.add(config.halted_path)
    required = {path for column, path in paths.items() if path not in nullable}
    required |= {config.symbol, config.event_time, config.sequence} - {"kafka_key", "kafka_timestamp", ""}

    values = tuple(
        _number(found) if (found := _at(tree, path, required, path in nullable)) is not None else None
        for path in paths.values()
    )
    halted = None
    if "halted" in rules and (found := _at(tree, config.halted_path, required, True, is_text=True)) is not None:
        halted = _plain(found)
    symbol = _symbol(config, record, tree, required)
    time_ns = _time_ns(config, record, tree, required)
    sequence = _integer(_at(tree, config.sequence, required, False)) if config.sequence else 0
    if any(value is not None and not math.isfinite(value) for value in values):
        raise Bad("not finite")
    by_part = {book[column]: value for column, value in zip(columns, values, strict=True) if column in book}
    state = next((state for state in rules if _shows(state, by_part, halted, config)), None)
    if state is None and None in values:
        raise Bad("null")
    if state is not None and rules[state] == "dead_letter":
        raise Bad(state)
    return SlowTick(symbol, time_ns, values, sequence, state, state is not None and rules[state] == "reset")


def _shows(state: str, book: dict[str, float | None], halted: str | None, config: InputConfig) -> bool:
    if state == "halted":
        return halted in config.halted_values
    if any(value is None or value == 0 for value in book.values()):
        return state == "one_sided"
    bid, ask = book.get("bid"), book.get("ask")
    return state == "crossed" and bid is not None and ask is not None and bid > ask


def _at(tree: Any, path: str, required: set[str], is_nullable: bool, is_text: bool = False) -> Any:
    """What stands at `path`. On the way, what holds nothing that is required may be null or absent."""
    node, names = tree, path.split(".")
    for depth, name in enumerate(names):
        here = ".".join(names[: depth + 1])
        if not isinstance(node, dict):
            raise Bad(f"{here}: no object")
        may_lack = is_nullable and not any(other == here or other.startswith(f"{here}.") for other in required)
        node = node.get(name)
        if node is None or (may_lack and _is_null(node) and not (is_text and here == path)):
            if may_lack:
                return None
            raise Bad(f"{here}: null or absent")
    return node


def _is_null(found: Any) -> bool:
    """Numbers may come as texts, and so may their absence."""
    return isinstance(found, str) and found.lower() == "null"


def _number(found: Any) -> float | None:
    if isinstance(found, Literal) or (isinstance(found, str) and NUMBER.fullmatch(found)):
        value = float(found)
        if math.isinf(value):
            raise Bad("out of range")
        return value
    if isinstance(found, str) and NOT_FINITE.fullmatch(found):
        return float(found)
    raise Bad("no number")


def _integer(found: Any) -> int:
    if not isinstance(found, Literal) and not (isinstance(found, str) and NUMBER.fullmatch(found)):
        raise Bad("no number")
    if found.lstrip("-").isdecimal():
        if len(found.lstrip("-")) > INTEGER_DIGITS_MAX:
            raise Bad("out of range")
        return int(found)
    value = float(found)
    if not value.is_integer() or abs(value) > FLOAT_EXACT_MAX:
        raise Bad("no integer")
    return int(value)


def _plain(found: Any) -> str:
    if isinstance(found, bool):
        return json.dumps(found)
    if isinstance(found, Literal):
        return str(_integer(found)) if found.lstrip("-").isdecimal() else str(_number(found))
    if isinstance(found, str):
        return _encodable(found)
    raise Bad("neither text nor number")


def _symbol(config: InputConfig, record: Record, tree: Any, required: set[str]) -> str:
    if config.symbol == "kafka_key":
        found: Any = (record.key or b"").decode("utf-8", "surrogateescape")
    else:
        found = _at(tree, config.symbol, required, False)
    if not isinstance(found, str) or isinstance(found, Literal) or not 0 < len(found) <= SYMBOL_LENGTH_MAX:
        raise Bad("no symbol")
    return _encodable(found)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Bad("no text") from error
    return text


def _time_ns(config: InputConfig, record: Record, tree: Any, required: set[str]) -> int:
    if config.event_time == "kafka_timestamp":
        if record.timestamp_ms < 0:
            raise Bad("no timestamp")
        time_ns = record.timestamp_ms * UNIT_NS["ms"]
    else:
        found = _at(tree, config.event_time, required, False)
        if config.event_time_unit == "ns" or (isinstance(found, str) and found.lstrip("-").isdecimal()):
            time_ns = _integer(found) * UNIT_NS[config.event_time_unit]
        else:
            time = _number(found)
            if time is None or not math.isfinite(time * UNIT_NS[config.event_time_unit]):
                raise Bad("no time")
            time_ns = round(time * UNIT_NS[config.event_time_unit])
    if not -(2**63) <= time_ns < 2**63:
        raise Bad("no time of 64 bits")
    return time_ns
