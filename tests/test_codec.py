"""Every registered input format against the contract, and what is special to each."""

import check_codec
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tickcast import codec
from tickcast.config import InputConfig
from tickcast.errors import BadRecord, ConfigurationError

ENCODERS: dict[str, check_codec.Encode] = {"json": msgspec.json.encode}


@pytest.mark.parametrize("name", codec.DECODERS)
def test_the_format_fulfils_the_contract(name):
    check_codec.check_codec(name, ENCODERS[name])


@given(st.binary(max_size=200))
@example(b'{"symbol":"A","event_time_ns":1,"bid":1e400,"ask":1}')
@example(b'{"symbol":"A","event_time_ns":1e400,"bid":1,"ask":1}')
@example(b'{"symbol":"\\ud800","event_time_ns":1,"bid":1,"ask":1}')
def test_no_bytes_raise_anything_but_bad_record(value):
    decoder = codec.decoder(InputConfig(), check_codec.COLUMNS)
    try:
        tick = decoder.decode(check_codec.record(value))
    except BadRecord:
        return
    assert tick.symbol.encode()


@given(
    st.dictionaries(
        st.sampled_from(["symbol", "event_time_ns", "bid", "ask"]),
        st.none() | st.text("0123456789.-+eEnaif", max_size=8) | st.floats() | st.integers() | st.booleans(),
    )
)
def test_no_json_object_raises_anything_but_bad_record(fields):
    decoder = codec.decoder(InputConfig(event_time_unit="us"), check_codec.COLUMNS)
    try:
        tick = decoder.decode(check_codec.record(msgspec.json.encode(fields)))
    except BadRecord:
        return
    assert all(value - value == 0 for value in tick.values)


def test_two_things_mapped_to_one_field_are_refused():
    for settings in ({"symbol": "bid"}, {"columns": {"bid": "data", "ask": "data.a"}}):
        with pytest.raises(ConfigurationError, match="more than one thing"):
            codec.decoder(InputConfig(**settings), check_codec.COLUMNS)


def test_a_mapping_of_a_column_that_the_bundle_has_not_is_refused():
    with pytest.raises(ConfigurationError, match=r"input\.columns: bit: .*allowed: bid, ask"):
        codec.decoder(InputConfig(columns={"bit": "b"}), check_codec.COLUMNS)


def test_a_finite_column_whose_sum_overflows_is_no_error():
    decoder = codec.decoder(InputConfig(), check_codec.COLUMNS)
    fields = {**check_codec.FIELDS, "bid": 1.7e308, "ask": 1.7e308}
    assert decoder.decode(check_codec.record(msgspec.json.encode(fields))).values == (1.7e308, 1.7e308)
