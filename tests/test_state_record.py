"""Records of live state: read as they were written, or refused."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast.state_record import (
    VERSION,
    Key,
    PartitionRecord,
    SymbolRecord,
    key_of,
    partition_record,
    sealed,
    symbol_record,
)

SYMBOL = SymbolRecord(VERSION, 7, "rules", "bundle", 5, b"\x00\x01")
PARTITION = PartitionRecord(VERSION, 7, "rules", {"bundle": b"drift"})


@given(st.text(max_size=20), st.one_of(st.none(), st.text(max_size=20)))
def test_a_key_names_group_partition_turn_and_any_symbol(group: str, symbol: str | None) -> None:
    key = Key(group, "ticks", 3, 1, symbol)
    assert key_of(key.encode()) == key


@pytest.mark.parametrize("text", [None, b"", b"EURUSD", b"[]", b'["g","t",0,0]', b'["g","t","0",0,"S"]', b"\xff"])
def test_what_is_no_key_of_ours_is_passed_over(text: bytes | None) -> None:
    assert key_of(text) is None


def test_a_record_is_read_as_it_was_written() -> None:
    assert symbol_record(sealed(SYMBOL)) == SYMBOL
    assert partition_record(sealed(PARTITION)) == PARTITION


def test_no_changed_byte_and_no_cut_goes_unnoticed() -> None:
    whole = sealed(SYMBOL)
    for at in range(len(whole)):
        with pytest.raises(ValueError, match="damaged"):
            symbol_record(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            symbol_record(whole[:at])


def test_another_version_or_anything_else_is_refused() -> None:
    other = sealed(SymbolRecord(VERSION + 1, 7, "rules", "bundle", 5, b""))
    with pytest.raises(ValueError, match=f"version {VERSION + 1}, not {VERSION}"):
        symbol_record(other)
    body = msgspec.msgpack.encode({"what": "ever"})
    with pytest.raises(ValueError, match="no state"):
        partition_record(body + zlib.crc32(body).to_bytes(4, "little"))
