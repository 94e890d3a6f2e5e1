"""Records of symbols whose bundles ask for different columns."""

from typing import Any

import msgspec
import pytest
from factories import manifest_with
from pipelines import config_with
from tickcast import symbols
from tickcast.clients import Partition, Record
from tickcast.codec import Decoder
from tickcast.codec_routed import RoutedDecoder, configured
from tickcast.config import Config
from tickcast.errors import BadRecord, ConfigurationError

MODELS = [{"bundle": "a", "symbols": ["A*"]}, {"bundle": "b", "symbols": ["B*"]}, {"bundle": "c", "symbols": ["C*"]}]
BOOK, TRADE = ("bid", "ask"), ("last", "bid")


def _config(**input_: Any) -> Config:
    return config_with(models=MODELS, input=input_)


def _decoder(config: Config) -> Decoder:
    manifests = [manifest_with(columns=columns) for columns in (BOOK, TRADE, BOOK)]
    return configured(config, manifests, symbols.route(config.models, manifests))


def _record(key: bytes | None = None, **fields: object) -> Record:
    return Record(Partition("ticks", 0), 7, 1_000, key, msgspec.json.encode({"event_time_ns": 5, **fields}), ())


def test_each_symbol_is_read_for_its_own_bundle():
    decode = _decoder(_config()).decode
    found = {symbol: decode(_record(symbol=symbol, bid=1.0, ask=2.0, last=3.0)).values for symbol in ("A", "B", "C")}
    assert found == {"A": (1.0, 2.0), "B": (3.0, 1.0), "C": (1.0, 2.0)}


def test_what_only_others_ask_for_may_be_absent_or_no_number():
    decode = _decoder(_config()).decode
    assert decode(_record(symbol="A", bid=1.0, ask=2.0)).values == (1.0, 2.0)
    assert decode(_record(symbol="B", bid=1.0, ask="none", last=3.0)).values == (3.0, 1.0)
    with pytest.raises(BadRecord, match="last"):
        decode(_record(symbol="B", bid=1.0, ask=2.0))


def test_a_symbol_without_a_bundle_is_told_without_values():
    decode = _decoder(_config()).decode
    tick = decode(_record(symbol="X"))
    assert (tick.symbol, tick.event_time_ns, tick.values) == ("X", 5, ())
    with pytest.raises(BadRecord, match="symbol"):
        decode(_record(bid=1.0))


def test_with_equal_columns_nothing_is_read_twice():
    config = _config()
    manifests = [manifest_with(columns=BOOK)] * 3
    assert not isinstance(configured(config, manifests, symbols.route(config.models, manifests)), RoutedDecoder)


def test_a_record_whose_key_and_timestamp_say_it_all_can_be_routed():
    decode = _decoder(_config(symbol="kafka_key", event_time="kafka_timestamp")).decode
    assert decode(_record(b"A", bid=1.0, ask=2.0)).values == (1.0, 2.0)
    assert decode(_record(b"X")).symbol == "X"


def test_mappings_are_of_the_bundles_that_have_the_column():
    decode = _decoder(_config(columns={"ask": "data.a", "last": "p"})).decode
    assert decode(_record(symbol="A", bid=1.0, data={"a": 2.0})).values == (1.0, 2.0)
    assert decode(_record(symbol="B", bid=1.0, p=3.0)).values == (3.0, 1.0)


@pytest.mark.parametrize("setting", [{"columns": {"size": "s"}}, {"book_columns": {"bid": "size"}}])
def test_a_mapping_of_no_bundle_s_column_is_named(setting: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=r"input\.\w+: size: no columns of the bundles; allowed: ask"):
        _decoder(_config(**setting))


def test_a_market_rule_that_one_bundle_cannot_keep_is_refused():
    with pytest.raises(ConfigurationError, match=r"input\.crossed: the bundle has no bid or no ask"):
        _decoder(_config(crossed="skip"))
