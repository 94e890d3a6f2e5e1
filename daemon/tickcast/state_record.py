"""What lives of a symbol and of a partition beside windows, as records of a compacted topic; written with each commit.

Stage `commit` of the way of a tick, and the restart after it. A record says as of which committed offset it is. Each
symbol, and each partition, has two keys that take turns: until a commit is confirmed, the record of the one before it
is still there.

Key: `["GROUP","TOPIC",PARTITION,TURN,"SYMBOL"]`, JSON; null in place of the symbol: of the whole partition.
Value: MessagePack, and four bytes of crc32 of it, little-endian.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from tickcast.clients import Partition

VERSION = 1
TURNS = 2
CRC_BYTES = 4

State = TypeVar("State")

_decode_key = msgspec.json.Decoder(tuple[str, str, int, int, str | None]).decode
_encode_key = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode


class Key(NamedTuple):
    """Of a group's partition a symbol, or None: the partition itself."""

    group: str
    topic: str
    partition: int
    turn: int
    symbol: str | None

    @property
    def source(self) -> Partition:
        """The input partition."""
        return Partition(self.topic, self.partition)

    def encode(self) -> bytes:
        """The record's key."""
        return _encode_key(self)


class SymbolRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one symbol, after all ticks before `as_of`; nothing is known of it where `bundle` is empty: it was forgotten.

    Holds on until a newer one: without a tick of the symbol nothing changes.
    """

    version: int
    as_of: int
    rules: str  # of the windows: see `commit_note.rules_hash`
    bundle: str  # sha256 of what answers the symbol
    newest_row: int  # offset of the tick of its window's newest row
    live: bytes  # a row of `state_kept.KeptState.dtype`


class PartitionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a partition, after all ticks before `as_of`: with it, all of that commit's records are there."""

    version: int
    as_of: int
    rules: str
    drift: dict[str, bytes]  # sha256 of a bundle -> what `Drift.save` made


_decode_symbol = msgspec.msgpack.Decoder(SymbolRecord).decode
_decode_partition = msgspec.msgpack.Decoder(PartitionRecord).decode


def key_of(encoded: bytes | None) -> Key | None:
    """The key in `encoded`, None where it is none of ours."""
    if encoded is None:
        return None
    try:
        return Key(*_decode_key(encoded))
    except msgspec.MsgspecError:
        return None


def sealed(state: SymbolRecord | PartitionRecord) -> bytes:
    """The record's value."""
    body = _encode(state)
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def symbol_record(value: bytes) -> SymbolRecord:
    """What `sealed` made. Raises ValueError for anything else."""
    state = _opened(value, _decode_symbol)
    _check_version(state.version)
    return state


def partition_record(value: bytes) -> PartitionRecord:
    """What `sealed` made. Raises ValueError for anything else."""
    state = _opened(value, _decode_partition)
    _check_version(state.version)
    return state


def _opened(value: bytes, decode: Callable[[bytes], State]) -> State:
    body, seal = value[:-CRC_BYTES], value[-CRC_BYTES:]
    if zlib.crc32(body).to_bytes(CRC_BYTES, "little") != seal:
        raise ValueError("damaged")
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no state: {error}") from error


def _check_version(version: int) -> None:
    if version != VERSION:
        raise ValueError(f"of version {version}, not {VERSION}")
