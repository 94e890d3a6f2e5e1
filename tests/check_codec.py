"""What every input format must do: run on each entry of `DECODERS` by `test_codec.py`.

A format's module in tests gives `encode(fields) -> bytes` for nested dictionaries of strings and numbers.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tickcast import codec, errors
from tickcast.clients import Partition, Record
from tickcast.config import InputConfig
from tickcast.windows import Tick

Encode = Callable[[dict[str, Any]], bytes]
COLUMNS = ("bid", "ask")
TIME_NS = 1_700_000_000_123_456_789
FIELDS: dict[str, Any] = {"symbol": "ES", "event_time_ns": TIME_NS, "bid": 60_000.01, "ask": 60_000.02}


def record(value: bytes | None, key: bytes | None = None, offset: int = 7) -> Record:
    """A record of an input topic."""
    return Record(Partition("ticks", 3), offset, 1_700_000_000_500, key, value, ())


def check_codec(name: str, encode: Encode) -> None:
    """Raises AssertionError where format `name` breaks the contract."""
    _reads_what_is_mapped(name, encode)
    _refuses_what_is_bad(name, encode)
    _takes_no_bytes_amiss(name, encode)


def _decoder(name: str, **settings: Any) -> codec.Decoder:
    return codec.decoder(InputConfig(format=name, **settings), COLUMNS)  # type: ignore[arg-type]


def _reads_what_is_mapped(name: str, encode: Encode) -> None:
    tick = _decoder(name).decode(record(encode(FIELDS)))
    assert tick == Tick(7, "ES", TIME_NS, (60_000.01, 60_000.02), 0)
    nested = {"data": {"s": "ES", "b": "1.5", "a": 2, "u": 99, "t": 1_700_000_000_123}}
    mapped = _decoder(
        name,
        symbol="data.s",
        event_time="data.t",
        event_time_unit="ms",
        sequence="data.u",
        columns={"bid": "data.b", "ask": "data.a"},
    )
    assert mapped.decode(record(encode(nested))) == Tick(7, "ES", 1_700_000_000_123_000_000, (1.5, 2.0), 99)
    keyed = _decoder(name, symbol="kafka_key", event_time="kafka_timestamp")
    tick = keyed.decode(record(encode(FIELDS), key=b"NQ"))
    assert (tick.symbol, tick.event_time_ns) == ("NQ", 1_700_000_000_500_000_000)


def _refuses_what_is_bad(name: str, encode: Encode) -> None:
    bad: list[tuple[type[errors.BadRecord], bytes | None]] = [
        (errors.EmptyRecord, None),
        (errors.EmptyRecord, b""),
        (errors.InvalidRecord, encode({k: v for k, v in FIELDS.items() if k != "ask"})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": "dear"})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": None})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": [1.0]})),
        (errors.InvalidRecord, encode({**FIELDS, "symbol": 5})),
        (errors.InvalidRecord, encode({**FIELDS, "symbol": ""})),
        (errors.InvalidRecord, encode({**FIELDS, "symbol": "S" * (codec.SYMBOL_LENGTH_MAX + 1)})),
        (errors.InvalidRecord, encode({**FIELDS, "event_time_ns": 2**63})),
        (errors.NonFiniteRecord, encode({**FIELDS, "ask": "nan"})),
        (errors.NonFiniteRecord, encode({**FIELDS, "bid": "-inf"})),
    ]
    decoder = _decoder(name)
    for error, value in bad:
        with pytest.raises(error):
            decoder.decode(record(value))
    with pytest.raises(errors.OversizeRecord):
        _decoder(name, record_bytes_max=10).decode(record(encode(FIELDS)))
    keyed = _decoder(name, symbol="kafka_key")
    for key in (None, b"", b"\xff", b"S" * (codec.SYMBOL_LENGTH_MAX + 1)):
        with pytest.raises(errors.InvalidRecord):
            keyed.decode(record(encode(FIELDS), key=key))


def _takes_no_bytes_amiss(name: str, encode: Encode) -> None:
    whole = encode(FIELDS)
    decoder = _decoder(name)
    for cut in range(1, len(whole)):
        with pytest.raises(errors.BadRecord):
            decoder.decode(record(whole[:cut]))
    for value in (b"\xff\xfe", b"\x00" * 100, b"[" * 10_000, b'{"a":' * 10_000, b"1e999", b"null"):
        with pytest.raises(errors.BadRecord):
            decoder.decode(record(value))
