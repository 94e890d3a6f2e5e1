"""Every registered input format against the contract, and what is special to each."""

import random
import re
from importlib.util import find_spec

import check_codec
import codec_formats
import msgspec
import pytest
from chaos import decode_coverage, fuzz, fuzz_inputs, slow_decode
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thorough import examples
from tickcast import codec, codec_json
from tickcast.clients import Partition, Record
from tickcast.config import InputConfig
from tickcast.errors import BadRecord, ConfigurationError, InvalidRecord
from tickcast.windows import Tick


@pytest.mark.parametrize("name", codec.DECODERS)
def test_the_format_fulfils_the_contract(name):
    check_codec.check_codec(name, codec_formats.formats()[name])


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
    for mapping in ({"symbol": "bid"}, {"columns": {"bid": "data", "ask": "data.a"}}):
        with pytest.raises(ConfigurationError, match="more than one thing"):
            codec.decoder(InputConfig(**mapping), check_codec.COLUMNS)


def test_a_mapping_of_a_column_that_the_bundle_has_not_is_refused():
    with pytest.raises(ConfigurationError, match=r"input\.columns: bit: .*allowed: bid, ask"):
        codec.decoder(InputConfig(columns={"bit": "b"}), check_codec.COLUMNS)


def test_a_finite_column_whose_sum_overflows_is_no_error():
    decoder = codec.decoder(InputConfig(), check_codec.COLUMNS)
    fields = {**check_codec.FIELDS, "bid": 1.7e308, "ask": 1.7e308}
    assert decoder.decode(check_codec.record(msgspec.json.encode(fields))).values == (1.7e308, 1.7e308)


@pytest.mark.parametrize("timestamp_ms", [-1, 2**63 // 1_000_000 + 1])
def test_a_kafka_timestamp_that_is_none_or_does_not_fit_is_no_event_time(timestamp_ms):
    decoder = codec.decoder(InputConfig(event_time="kafka_timestamp"), check_codec.COLUMNS)
    record = Record(Partition("ticks", 0), 0, timestamp_ms, None, msgspec.json.encode(check_codec.FIELDS), ())
    with pytest.raises(InvalidRecord):
        decoder.decode(record)


# -- against the slow specification, under every mapping

MAPPINGS = st.sampled_from(fuzz_inputs.MAPPINGS)
KEYS = st.sampled_from(fuzz_inputs.KEYS)
TIMES_MS = st.sampled_from(fuzz_inputs.TIMESTAMPS_MS)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.text("0123456789.-+eEnaifNl", max_size=8)
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner))


def _agree(mapping: fuzz_inputs.Mapping, given_input: fuzz_inputs.Input) -> None:
    tick, error = fuzz.outcome(codec.decoder(mapping.config, mapping.columns), given_input)
    if error is not None and not isinstance(error, BadRecord):
        raise error
    reading = slow_decode.read(mapping.config, mapping.columns, given_input.record())
    assert fuzz.problem_of(tick, error, reading, mapping, given_input) == ""


@given(MAPPINGS, KEYS, TIMES_MS, st.binary(max_size=200))
def test_any_bytes_read_as_the_specification_says(mapping, key, timestamp_ms, value):
    _agree(mapping, fuzz_inputs.Input(key, timestamp_ms, value))


@given(MAPPINGS, KEYS, TIMES_MS, trees)
def test_any_json_reads_as_the_specification_says(mapping, key, timestamp_ms, tree):
    _agree(mapping, fuzz_inputs.Input(key, timestamp_ms, msgspec.json.encode(tree)))


@settings(max_examples=examples(500))
@given(MAPPINGS, KEYS, TIMES_MS, st.data())
def test_any_value_in_any_mapped_field_reads_as_the_specification_says(mapping, key, timestamp_ms, data):
    tree = msgspec.json.decode(msgspec.json.encode(data.draw(st.sampled_from(mapping.seeds))))
    for _ in range(data.draw(st.integers(1, 3))):
        node = tree
        name = data.draw(st.sampled_from(sorted(node)))
        while isinstance(node[name], dict) and node[name] and data.draw(st.booleans()):
            node = node[name]
            name = data.draw(st.sampled_from(sorted(node)))
        node[name] = data.draw(scalars | st.sampled_from(fuzz_inputs.VALUES))
    _agree(mapping, fuzz_inputs.Input(key, timestamp_ms, msgspec.json.encode(tree)))


@given(MAPPINGS, st.integers(0, 2**32))
def test_what_the_fuzzer_makes_reads_as_the_specification_says(mapping, seed):
    rng, found = random.Random(seed), fuzz_inputs.seeds(mapping)
    for _ in range(10):
        found.append(fuzz_inputs.mutant(rng.choice(found), found, ["symbol", "bid", "b", "st", "other"], rng))
        _agree(mapping, found[-1])


def test_a_short_fuzzing_finds_nothing_meets_every_fate_and_gets_past_the_parser_with_half_of_its_inputs():
    fuzzer = fuzz.Fuzzer(seed=1)
    fuzzer.run(10_000)
    assert fuzzer.holds, fuzzer.table(1.0) + "\n".join(fuzzer.findings)
    bad = {"empty", "oversize", "undecodable", "invalid", "non_finite"}
    assert set(fuzzer.fates) == {"tick", "one_sided", "crossed", "halted"} | bad
    assert sum(len(target.corpus) for target in fuzzer.targets) > 500


@pytest.mark.parametrize("bug", ["crash", "wrong number", "takes all"])
def test_the_fuzzer_finds_a_bug_that_is_there(monkeypatch, bug):
    decode = codec_json.JsonDecoder.decode

    def buggy(self: codec_json.JsonDecoder, record: Record) -> Tick:
        try:
            tick = decode(self, record)
        except InvalidRecord:
            if bug == "takes all":
                return Tick(record.offset, "A", 0, (0.0,) * len(self._columns))
            raise
        if bug == "crash" and tick.values[0] < 0:
            raise ValueError("negative")
        return msgspec.structs.replace(tick, values=tick.values[::-1]) if bug == "wrong number" else tick

    monkeypatch.setattr(codec_json.JsonDecoder, "decode", buggy)
    fuzzer = fuzz.Fuzzer(seed=1)
    fuzzer.run(10_000)
    assert len(fuzzer.findings) == fuzz.FINDINGS_MAX


def test_the_fuzzer_s_command_ends_with_a_table(capsys):
    assert fuzz.main(["--inputs", "2000", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^inputs +2,000$", printed, re.MULTILINE)
    assert re.search(r"^findings +0$", printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("coverage") is None, reason="coverage.py is not installed")
def test_fuzzing_takes_19_of_20_branches_of_decoding_and_mapping():
    covered = decode_coverage.measured(inputs=10_000, seed=1)
    assert covered.share >= 0.95, covered.table()
