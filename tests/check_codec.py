"""What every input format must do: run on each entry of `DECODERS` by `test_codec.py`.

A format's `encode` writes nested dictionaries of strings and numbers; equal ones must be equal ticks in every format.
"""

from typing import Any

import pytest
from codec_formats import Format
from tickcast import codec, errors
from tickcast.clients import Partition, Record
from tickcast.config import InputConfig
from tickcast.windows import Tick

COLUMNS = ("bid", "ask")
TIME_NS = 1_700_000_000_123_456_789
FIELDS: dict[str, Any] = {"symbol": "ES", "event_time_ns": TIME_NS, "bid": 60_000.01, "ask": 60_000.02}
NESTED_MAPPING: dict[str, Any] = {
    "symbol": "data.s",
    "event_time": "data.t",
    "event_time_unit": "ms",
    "sequence": "data.u",
    "columns": {"bid": "data.b", "ask": "data.a"},
}
NESTED: dict[str, Any] = {"data": {"s": "ES", "b": "1.5", "a": 2, "u": 99, "t": 1_700_000_000_123}}
SIDES = {"columns": {"bid": "b.p", "ask": "a.p"}}


def record(value: bytes | None, key: bytes | None = None, offset: int = 7) -> Record:
    """A record of an input topic."""
    return Record(Partition("ticks", 3), offset, 1_700_000_000_500, key, value, ())


def check_codec(name: str, form: Format) -> None:
    """Raises AssertionError where format `name` breaks the contract."""
    _reads_what_is_mapped(name, form)
    _knows_market_states(name, form)
    _refuses_what_is_bad(name, form)
    _takes_no_bytes_amiss(name, form)


def decoder(name: str, form: Format, **settings: Any) -> codec.Decoder:
    """A decoder for what `form` has encoded so far, and what it will."""
    return codec.decoder(InputConfig(format=name, **settings), COLUMNS, form.known())  # type: ignore[arg-type]


def _reads_what_is_mapped(name: str, form: Format) -> None:
    encode = form.encode
    tick = decoder(name, form).decode(record(encode(FIELDS)))
    assert tick == Tick(7, "ES", TIME_NS, (60_000.01, 60_000.02), 0)
    assert {type(value) for value in tick.values} == {float}
    mapped = decoder(name, form, **NESTED_MAPPING)
    tick = mapped.decode(record(encode(NESTED)))
    assert tick == Tick(7, "ES", 1_700_000_000_123_000_000, (1.5, 2.0), 99)
    assert {type(value) for value in tick.values} == {float}
    keyed = decoder(name, form, symbol="kafka_key", event_time="kafka_timestamp")
    for more in ({}, {"other": "x", "nested": {"deep": {"er": 1.0}}, "many": [1.0, 2.0]}):
        tick = keyed.decode(record(encode({**FIELDS, **more}), key=b"NQ"))
        assert tick == Tick(7, "NQ", 1_700_000_000_500_000_000, (60_000.01, 60_000.02), 0)
    # One decoder reads what producers wrote before and after a change of their schema.
    both = decoder(name, form)
    for fields in (FIELDS, {"more": 1, **FIELDS}, {**FIELDS, "bid": "60000.01"}, FIELDS):
        assert both.decode(record(encode(fields))).values == (60_000.01, 60_000.02)


def _knows_market_states(name: str, form: Format) -> None:
    encode = form.encode
    sided = decoder(name, form, one_sided="skip", crossed="reset")
    for fields in ({**FIELDS, "ask": None}, {k: v for k, v in FIELDS.items() if k != "ask"}, {**FIELDS, "ask": 0.0}):
        tick = sided.decode(record(encode(fields)))
        assert (tick.market, tick.cuts, tick.values[0]) == ("one_sided", False, 60_000.01)
    tick = sided.decode(record(encode({**FIELDS, "bid": 60_001.0})))
    assert (tick.market, tick.cuts) == ("crossed", True)
    nested = decoder(name, form, one_sided="skip", **SIDES)
    at = {"symbol": "ES", "event_time_ns": TIME_NS}
    assert nested.decode(record(encode({**at, "b": {"p": 1.0}, "a": {"p": 2.0}}))).market is None
    assert nested.decode(record(encode({**at, "b": {"p": 1.0}}))).market == "one_sided"
    assert nested.decode(record(encode({**at, "b": {"p": 1.0}, "a": None}))).market == "one_sided"
    for value, values in (("H", ("H",)), (True, ("true",)), (3, ("3",))):
        halted = decoder(name, form, halted="dead_letter", halted_path="st", halted_values=values)
        with pytest.raises(errors.HaltedMarket):
            halted.decode(record(encode({**FIELDS, "st": value})))
        for other in ({"st": "other"}, {"st": None}, {}):
            assert halted.decode(record(encode({**FIELDS, **other}))).market is None


def _refuses_what_is_bad(name: str, form: Format) -> None:
    encode = form.encode
    bad: list[tuple[type[errors.BadRecord], bytes | None]] = [
        (errors.EmptyRecord, None),
        (errors.EmptyRecord, b""),
        (errors.InvalidRecord, encode({k: v for k, v in FIELDS.items() if k != "ask"})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": "dear"})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": None})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": True})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": [1.0]})),
        (errors.InvalidRecord, encode({**FIELDS, "ask": {"p": 1.0}})),
        (errors.InvalidRecord, encode({**FIELDS, "symbol": 5})),
        (errors.InvalidRecord, encode({**FIELDS, "symbol": ""})),
        (errors.InvalidRecord, encode({**FIELDS, "symbol": "S" * (codec.SYMBOL_LENGTH_MAX + 1)})),
        (errors.InvalidRecord, encode({**FIELDS, "event_time_ns": 2**63})),
        (errors.InvalidRecord, encode({**FIELDS, "event_time_ns": 1.5})),
        (errors.NonFiniteRecord, encode({**FIELDS, "ask": "nan"})),
        (errors.NonFiniteRecord, encode({**FIELDS, "bid": "-inf"})),
    ]
    decode = decoder(name, form).decode
    for error, value in bad:
        with pytest.raises(error):
            decode(record(value))
    with pytest.raises(errors.InvalidRecord):
        decoder(name, form, **NESTED_MAPPING).decode(record(encode({"data": 5})))
    with pytest.raises(errors.OversizeRecord):
        decoder(name, form, record_bytes_max=10).decode(record(encode(FIELDS)))
    keyed = decoder(name, form, symbol="kafka_key")
    for key in (None, b"", b"\xff", b"S" * (codec.SYMBOL_LENGTH_MAX + 1)):
        with pytest.raises(errors.InvalidRecord):
            keyed.decode(record(encode(FIELDS), key=key))


def _takes_no_bytes_amiss(name: str, form: Format) -> None:
    whole = form.encode(FIELDS)
    decode = decoder(name, form).decode
    for cut in range(1, len(whole)):
        with pytest.raises(errors.BadRecord):
            decode(record(whole[:cut]))
    for value in (
        b"\xff\xfe",
        b"\x00" * 100,
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b"1e999",
        b"null",
        b"\x81\xa1a" * 10_000,
    ):
        with pytest.raises(errors.BadRecord):
            decode(record(value))
    if not form.is_framed:
        return
    for head in (b"\x01", b"{", b"\xff"):
        with pytest.raises(errors.UndecodableRecord, match="wire format"):
            decode(record(head + whole[1:]))
    for number in (0, 999_999, 2**31, 2**32 - 1):
        with pytest.raises(errors.UnknownSchema, match=str(number)):
            decode(record(b"\0" + number.to_bytes(4) + whole[5:]))
