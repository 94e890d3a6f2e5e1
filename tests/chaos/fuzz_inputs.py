"""What the fuzzer feeds: field mappings with records that fit them, and mutations that keep most of them JSON."""

import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from tickcast.clients import Partition, Record
from tickcast.config import InputConfig

PARTITION = Partition("ticks", 0)
TIMESTAMP_MS = 1_700_000_000_123
RECORD_BYTES_MAX = 5_000  # small, so that some inputs are longer
BOOK = ("bid", "ask", "bid_size", "ask_size")

# Tokens that stand in a JSON text as they are here, fit for it or not.
TOKENS = (
    *("0", "-0", "-0.0", "1e400", "-1e400", "1e-400", "1E5", "9007199254740993", "9007199254740992.0", "1e16"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 30, "9" * 400, "9" * 4_301),
    *("01", "+1", ".5", "1.", "1e", "-", "0x10", "1_0", "NaN", "Infinity", "-Infinity", "nul", "tru", "true", "null"),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u0031"', '"\\x"', "[]", "{}", "[" * 200 + "]" * 200, "[" * 200),
    *(
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "4.9e-324",
        "2.2250738585072011e-308",
        "0." + "0" * 400 + "1",
    ),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**53,
        2**63,
        -(2**63),
        1.5,
        -37.63,
        1e308,
        5e-324,
        "",
        "null",
        "NULL",
        "nan",
        "NaN",
    ),
    *(
        "-inf",
        "Infinity",
        "+inf",
        "1.5",
        "-0",
        "1e5",
        " 1",
        "1 ",
        "1_0",
        "+1",
        ".5",
        "1.",
        "01",
        "0x10",
        "1e400",
        "true",
    ),
    *("halted", "H", "\u0661", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "S" * 250, "S" * 251),
    *([], {}, [1.0], {"p": 1}, [[[[1]]]], "x" * 2_000, TIMESTAMP_MS, TIMESTAMP_MS / 1_000, TIMESTAMP_MS * 10**6),
)
PIECES = (
    *(b"", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"null", b"NaN", b"1e400", b"\x1f\x8b\x08", b"//", b"/**/", b"\xc3\x28", b"\xed\xa0\x80", b" ", b"\t", b"\r\n"),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "utf-7")
KEYS = (None, b"", b"A", b"NQ", "prix\u20ac".encode(), b"\xff", b"\xed\xa0\x80", b"S" * 250, b"S" * 251, b"\x00")
TIMESTAMPS_MS = (TIMESTAMP_MS, -1, 0, 1, 2**63 // 10**6, 2**63 // 10**6 + 1, 2**62)
STRUCTURED_SHARE = 0.8  # of the mutants; the others are cut and pasted as bytes
MARK = "\u27e6raw\u27e7"


class Mapping(NamedTuple):
    """A topic's schema: how it is configured, and what is in its records."""

    name: str
    config: InputConfig
    columns: tuple[str, ...]
    seeds: tuple[dict[str, Any], ...]


class Input(NamedTuple):
    """What of a record decides how it reads."""

    key: bytes | None
    timestamp_ms: int
    value: bytes | None

    def record(self) -> Record:
        """The record."""
        return Record(PARTITION, 7, self.timestamp_ms, self.key, self.value, ())


def _config(**settings: Any) -> InputConfig:
    return InputConfig(record_bytes_max=RECORD_BYTES_MAX, **settings)


_PLAIN = {"symbol": "ES", "event_time_ns": TIMESTAMP_MS * 10**6 + 7, "bid": 60_000.01, "ask": 60_000.02}
_SIZED = {**_PLAIN, "bid_size": 3, "ask_size": "4.5"}
_NESTED = {"data": {"s": "ES", "b": "1.5", "a": 2, "u": 99, "t": TIMESTAMP_MS * 1_000}, "stream": "x"}
_SIDES = {"t": TIMESTAMP_MS, "s": "A", "b": {"p": "1.5", "q": 2}, "a": {"p": 1.75, "q": 1}, "st": {"x": {"on": "H"}}}
_SIDES_COLUMNS = {"bid": "b.p", "bid_size": "b.q", "ask": "a.p", "ask_size": "a.q"}
_SIDES_MAPPING = {"symbol": "s", "event_time": "t", "event_time_unit": "ms", "columns": _SIDES_COLUMNS}
_ODD = {"a b": {"": {"prix\u20ac": 1.25}}, "P(b)": 1, "symbol": "\u00fc", "t": TIMESTAMP_MS / 1_000}

MAPPINGS = (
    Mapping("own names", _config(), BOOK, (_SIZED, {**_SIZED, "sequence": 5})),
    Mapping(
        "nested, us, sequence",
        _config(
            symbol="data.s",
            event_time="data.t",
            event_time_unit="us",
            sequence="data.u",
            columns={"bid": "data.b", "ask": "data.a"},
        ),
        ("bid", "ask"),
        (_NESTED,),
    ),
    Mapping("key and timestamp", _config(symbol="kafka_key", event_time="kafka_timestamp"), ("last",), ({"last": 5},)),
    Mapping(
        "odd names, s",
        _config(event_time="t", event_time_unit="s", columns={"bid": "a b..prix\u20ac", "ask": "P(b)"}),
        ("bid", "ask"),
        (_ODD, {**_ODD, "t": str(TIMESTAMP_MS // 1_000)}),
    ),
    Mapping(
        "key, ns, sequence",
        _config(symbol="kafka_key", sequence="x.y.z.n"),
        ("bid",),
        ({**_PLAIN, "x": {"y": {"z": {"n": "7"}}}},),
    ),
    Mapping(
        "markets skipped and cut",
        _config(one_sided="skip", crossed="reset", halted="skip", halted_path="halted"),
        BOOK,
        (_SIZED, {**_SIZED, "bid": None}, {**_SIZED, "bid": 70_000}, {**_SIZED, "halted": True}),
    ),
    Mapping(
        "markets called bad, nested",
        _config(
            one_sided="dead_letter",
            crossed="dead_letter",
            halted="dead_letter",
            halted_path="st.x.on",
            halted_values=("true", "H", "2"),
            **_SIDES_MAPPING,
        ),
        BOOK,
        (_SIDES, {**_SIDES, "st": {"x": {"on": "open"}}}, {**_SIDES, "st": None, "b": None}, {**_SIDES, "st": {}}),
    ),
    Mapping(
        "halts, nested",
        _config(halted="reset", halted_path="st.x.on", halted_values=("H",), crossed="skip", **_SIDES_MAPPING),
        BOOK,
        (_SIDES, {**_SIDES, "b": None}, {**_SIDES, "st": {"x": {"on": 0}}}),
    ),
    Mapping("halts alone", _config(halted="skip", halted_path="h"), ("last",), ({**_PLAIN, "last": 1, "h": True},)),
)

# What no bundle's columns and no record can be.
UNFIT: tuple[tuple[InputConfig, tuple[str, ...]], ...] = (
    (_config(columns={"bit": "b"}), BOOK),
    (_config(symbol="bid"), BOOK),
    (_config(columns={"bid": "data", "ask": "data.a"}), BOOK),
    (_config(sequence="event_time_ns"), BOOK),
    (_config(halted="skip", halted_path="symbol"), BOOK),
    (_config(crossed="skip"), ("last",)),
    (_config(one_sided="reset"), ("bid", "bid_size", "ask_size")),
    (_config(book_columns={"bid": "b"}), BOOK),
)


def seeds(mapping: Mapping) -> list[Input]:
    """Records that fit `mapping`."""
    return [Input(b"NQ", TIMESTAMP_MS, json.dumps(seed).encode()) for seed in mapping.seeds]


def mutant(parent: Input, others: Sequence[Input], names: Sequence[str], rng: random.Random) -> Input:
    """`parent`, changed in one to a few places. `names` are field names that mean something."""
    key = rng.choice(KEYS) if rng.random() < 0.1 else parent.key
    timestamp_ms = rng.choice(TIMESTAMPS_MS) if rng.random() < 0.1 else parent.timestamp_ms
    value = parent.value
    if rng.random() < STRUCTURED_SHARE:
        value = _structured(value or b"{}", names, rng)
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            value = _cut_and_pasted(value or b"{", rng.choice(others).value or b"", rng)
    if rng.random() < 0.01:
        value = rng.choice((None, b"", b"[" * 4_000, b'{"a":' * 900, b" " * 6_000 + b"{}"))
    return Input(key, timestamp_ms, value)


def _structured(value: bytes, names: Sequence[str], rng: random.Random) -> bytes:
    """Another JSON text; one that is no object to begin with is mutated as bytes would be."""
    try:
        tree = json.loads(value)
    except (ValueError, RecursionError):
        return _cut_and_pasted(value, b"", rng)
    raw: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        tree = _changed(tree, names, raw, rng)
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    for place, token in enumerate(raw):
        text = text.replace(json.dumps(f"{MARK}{place}"), token).replace(f'"{MARK}{place}"', token)
    if raw and rng.random() < 0.1:
        text = text.replace(", ", ' , "more": ' + raw[0] + ",", 1)
    return text.encode("utf-8", "surrogatepass")


def _changed(tree: Any, names: Sequence[str], raw: list[str], rng: random.Random) -> Any:
    """`tree` with one change at a random depth."""
    if isinstance(tree, dict) and tree and rng.random() < 0.95:
        name = rng.choice(list(tree))
        if isinstance(tree[name], dict | list) and rng.random() < 0.8:
            return tree | {name: _changed(tree[name], names, raw, rng)}
        match rng.randrange(8):
            case 0:
                return {other: value for other, value in tree.items() if other != name}
            case 1:
                return tree | {rng.choice(names): _value(raw, rng)}
            case 2:
                return {rng.choice(names) if other == name else other: value for other, value in tree.items()}
            case 3:
                other = rng.choice(list(tree))
                return tree | {name: tree[other], other: tree[name]}
            case 4 if isinstance(tree[name], int | float):
                return tree | {name: str(tree[name])}
            case 5 if isinstance(tree[name], int | float) and not isinstance(tree[name], bool):
                return tree | {name: rng.choice((-1, 0.5, 10**6, 10**-6, 0)) * min(tree[name], 1e300)}
            case _:
                return tree | {name: _value(raw, rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.5:
        return [*tree[1:], _changed(tree[0], names, raw, rng)]
    return rng.choice(([tree], {rng.choice(names): tree}, _value(raw, rng)))


def _value(raw: list[str], rng: random.Random) -> Any:
    if rng.random() < 0.4:
        raw.append(rng.choice(TOKENS))
        return f"{MARK}{len(raw) - 1}"
    return rng.choice(VALUES)


def _cut_and_pasted(value: bytes, other: bytes, rng: random.Random) -> bytes:
    at, to = sorted((rng.randrange(len(value) + 1), rng.randrange(len(value) + 1)))
    match rng.randrange(7):
        case 0:
            return value[:at] + bytes([rng.randrange(256)]) + value[at + 1 :]
        case 1:
            return value[:at] + rng.choice(PIECES) + value[at:]
        case 2:
            return value[:at] + value[min(to, at + 8) :]
        case 3:
            return value[:at]
        case 4:
            return value[:to] + value[at:]
        case 5:
            return value[:at] + other[rng.randrange(len(other) + 1) :]
        case _:
            return value.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")
