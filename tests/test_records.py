"""Dead letters, and the headers that name what a record was made of."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder
from tickcast import records
from tickcast.clients import Partition, Record
from tickcast.errors import InvalidRecord


def test_headers_name_the_source_record():
    assert records.source_of(records.source_headers(Partition("ticks", 3), 42)) == (Partition("ticks", 3), 42)
    with pytest.raises(KeyError):
        records.source_of([("other", b"1")])


def test_a_dead_letter_keeps_bytes_headers_source_and_reason():
    record = Record(Partition("ticks", 3), 42, 0, b"key", b"broken", [("trace", b"1")])
    key, value, headers = records.dead_letter(record, InvalidRecord("why " * 1_000), 100)
    assert (key, value) == (b"key", b"broken")
    assert headers[0] == ("trace", b"1")
    assert records.source_of(headers) == (Partition("ticks", 3), 42)
    assert dict(headers)["reason"] == b"invalid"
    assert len(dict(headers)["detail"]) == records.DETAIL_BYTES_MAX


def test_a_long_dead_letter_is_cut_and_says_what_it_was():
    record = Record(Partition("ticks", 3), 42, 0, None, b"x" * 1_000, ())
    _, value, headers = records.dead_letter(record, InvalidRecord("why"), 100)
    assert value == b"x" * 100
    assert dict(headers)["original-length"] == b"1000"
    assert dict(headers)["original-sha256"] == hashlib.sha256(b"x" * 1_000).hexdigest().encode()


def test_a_null_header_comes_as_an_empty_one():
    """Kafka allows them, kafka-python's producer does not."""
    record = Record(Partition("ticks", 3), 42, 0, None, b"broken", [("trace", None)])
    assert records.dead_letter(record, InvalidRecord("why"), 100).headers[0] == ("trace", b"")


@pytest.mark.parametrize(
    "original",
    [
        {"key": b"k" * 1_048_000, "value": b"v", "headers": ()},
        {"key": None, "value": b"v", "headers": [("name", b"h" * 1_048_000)]},
        {"key": None, "value": b"v", "headers": [("", b"")] * 100_000},
        {"key": b"k" * 49_000, "value": b"v" * 950_000, "headers": [("name", b"h" * 49_000)]},
    ],
)
def test_the_dead_letter_of_the_longest_record_is_none_longer_than_producers_send(original):
    record = Record(Partition("t" * 249, 3), 2**40, 0, **original)
    key, value, headers = records.dead_letter(record, InvalidRecord("why " * 1_000), 900_000)
    overhead = 10  # of one header, at most
    length = len(key or b"") + len(value or b"") + sum(len(n) + len(v) + overhead for n, v in headers)
    assert length < 1_048_576 - 1_000
    cut = {"original-key-length", "original-headers-length", "original-length"} & dict(headers).keys()
    assert len(cut) == 1


def _batch_bytes(letter: records.DeadLetter) -> int:
    """How long the record batch of this letter alone is, as Kafka measures it against `max.message.bytes`."""
    builder = DefaultRecordBatchBuilder(2, 0, True, 1, 1, 1, 2**31)
    assert builder.append(0, 1_700_000_000_000, letter.key, letter.value, letter.headers) is not None
    return len(builder.build())


@given(
    st.integers(records.topic_bytes_min(), 60_000),
    st.none() | st.integers(0, 70_000),
    st.none() | st.integers(0, 70_000),
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=4_000)), max_size=20),
    st.integers(0, 70_000),
)
def test_a_dead_letter_fits_its_topic_and_says_what_was_cut(topic_bytes, key_bytes, value_bytes, headers, bytes_max):
    key, value = (None if count is None else bytes(count) for count in (key_bytes, value_bytes))
    record = Record(Partition("t" * 249, 2**31 - 1), 2**63 - 1, 0, key, value, headers)
    limit = records.dead_letter_limit(topic_bytes)
    letter = records.dead_letter(record, InvalidRecord("why " * 1_000), bytes_max, limit)
    assert records.length(letter) <= limit
    assert _batch_bytes(letter) <= topic_bytes
    said = dict(letter.headers)
    assert records.source_of(letter.headers) == (record.partition, record.offset)
    if letter.value != value:
        assert value is not None
        assert value.startswith(letter.value or b"")
        assert said["original-length"] == b"%d" % len(value)
        assert said["original-sha256"] == hashlib.sha256(value).hexdigest().encode()
        # As long as may be: nothing is cut off for which there was room.
        assert len(letter.value or b"") == min(bytes_max, len(letter.value or b"") + limit - records.length(letter))
    if letter.key != key:
        assert said["original-key-length"] == b"%d" % len(key or b"")
    assert "original-headers-length" in said or [value or b"" for _, value in headers] == [
        value for _, value in letter.headers[: len(headers)]
    ]


def test_a_letter_of_the_least_length_has_room_for_some_of_the_record_whatever_it_is_called():
    record = Record(Partition("t" * 249, 2**31 - 1), 2**63 - 1, 0, b"k" * 9_000, b"v" * 9_000, [("h", b"h" * 9_000)])
    letter = records.dead_letter(record, InvalidRecord("w" * 9_000), 9_000, records.LETTER_BYTES_MIN)
    assert len(letter.value or b"") > 500
    assert records.length(letter) == records.LETTER_BYTES_MIN


def test_a_topic_that_takes_more_than_producers_send_gets_what_they_send():
    assert records.dead_letter_limit(2**31) == records.dead_letter_limit(records.REQUEST_BYTES_MAX)
    assert records.dead_letter_limit(10_000) < 10_000
