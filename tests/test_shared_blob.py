"""A text that one side writes and the other reads whole."""

import pytest
from tickcast.shared_blob import BlobReader, BlobWriter


def _sides() -> tuple[BlobWriter, BlobReader, bytearray]:
    words, region = memoryview(bytearray(16)).cast("Q"), bytearray(32)
    return BlobWriter(words, 1, memoryview(region)), BlobReader(words, 1, memoryview(region)), region


def test_nothing_was_written_yet() -> None:
    _, reader, _ = _sides()
    assert reader.read() == b""


def test_the_newest_text_is_read() -> None:
    writer, reader, _ = _sides()
    for text in (b"first", b"a longer one", b"", b"last"):
        writer.write(text)
        assert reader.read() == text


def test_a_text_that_is_being_written_is_not_read() -> None:
    writer, reader, region = _sides()
    writer.write(b"before")
    assert reader.read() == b"before"
    region[:3] = b"aft"
    assert reader.read() == b"before"


def test_a_text_that_is_too_long_is_refused_and_the_old_one_stays() -> None:
    writer, reader, _ = _sides()
    writer.write(b"old")
    with pytest.raises(ValueError, match="33 bytes; there is room for 32"):
        writer.write(bytes(33))
    assert reader.read() == b"old"
    assert writer.bytes_max == 32
