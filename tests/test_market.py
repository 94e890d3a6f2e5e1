"""Market states by the topic's rule: what a record shows, what becomes of it, and that everybody sees the same."""

from collections import Counter
from math import isnan
from typing import Any

import msgspec
import pytest
from check_codec import record
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from pydantic import ValidationError
from thorough import examples
from tickcast import audit, codec, errors, records
from tickcast.clients import OffsetRange, Partition
from tickcast.config import InputConfig
from tickcast.manifest import WindowRules
from tickcast.windows import Tick
from toy_engine import ToyEngine

COLUMNS = ("bid", "ask", "bid_size", "ask_size")
BOOK: dict[str, Any] = {"symbol": "A", "event_time_ns": 1, "bid": 10.0, "ask": 10.5, "bid_size": 3, "ask_size": 4}
RULES = ("accept", "skip", "reset", "dead_letter")
INPUT = Partition("ticks", 0)


def _decode(fields: dict[str, Any], names: tuple[str, ...] = COLUMNS, **settings: Any) -> Tick:
    return codec.decoder(InputConfig(**settings), names).decode(record(msgspec.json.encode(fields)))


def _without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BOOK.items() if name not in names}


ONE_SIDED = [
    {**BOOK, "bid": None},
    {**BOOK, "bid": "null"},
    {**BOOK, "ask": 0},
    {**BOOK, "ask": "0.00000000"},
    {**BOOK, "bid_size": 0},
    {**BOOK, "ask_size": None},
    {**BOOK, "bid": None, "ask": None, "bid_size": None, "ask_size": None},
    _without("bid"),
    _without("ask", "ask_size"),
]


@pytest.mark.parametrize("fields", ONE_SIDED)
def test_a_side_that_is_null_absent_or_0_makes_a_book_one_sided(fields):
    tick = _decode(fields, one_sided="skip")
    assert (tick.market, tick.cuts) == ("one_sided", False)
    for name, value in zip(COLUMNS, tick.values, strict=True):
        assert isnan(value) if fields.get(name) in (None, "null") else value == float(fields[name])


def test_a_negative_price_is_a_price():
    assert _decode({**BOOK, "bid": -37.63, "ask": -37.6}, one_sided="dead_letter").market is None


def test_without_a_rule_a_one_sided_book_is_taken_by_its_numbers_and_what_has_none_is_invalid():
    assert _decode({**BOOK, "bid": 0, "bid_size": 0}).values == (0.0, 10.5, 0.0, 4.0)
    with pytest.raises(errors.InvalidRecord):
        _decode({**BOOK, "bid": None})
    with pytest.raises(errors.InvalidRecord, match="null or absent: bid, bid_size"):  # null for what is halted only
        _decode(_without("bid", "bid_size"), halted="skip", halted_path="halted")


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({**BOOK, "bid": 10.6}, "crossed"),
        ({**BOOK, "bid": 10.5}, None),
        ({**BOOK, "bid": 10.6, "ask": 0}, None),
        ({**BOOK, "bid": 10.6, "bid_size": 0}, None),
    ],
    ids=["crossed", "locked", "no ask", "no bid"],
)
def test_a_book_is_crossed_when_both_sides_are_there_and_the_bid_is_above_the_ask(fields, state):
    assert _decode(fields, crossed="skip").market == state


@pytest.mark.parametrize(
    ("value", "says", "is_halted"),
    [
        (True, "true", True),
        ("true", "true", True),
        (False, "true", False),
        (None, "true", False),
        ("H", "H", True),
        ("h", "H", False),
        (2, "2", True),
        ("2", "2", True),
        (2.5, "2.5", True),
        (3, "2", False),
    ],
)
def test_a_market_is_halted_by_what_stands_at_a_path(value, says, is_halted):
    mapping = {"halted": "reset", "halted_path": "status.trading", "halted_values": (says, "never")}
    tick = _decode({**BOOK, "status": {"trading": value}}, **mapping)
    assert (tick.market, tick.cuts) == (("halted", True) if is_halted else (None, False))
    for nothing in ({}, {"status": None}, {"status": {}}):
        assert _decode({**BOOK, **nothing}, **mapping).market is None
    with pytest.raises(errors.InvalidRecord):
        _decode({**BOOK, "status": {"trading": [value]}}, **mapping)


def test_the_first_state_that_is_not_accepted_decides():
    halted = {**BOOK, "bid": None, "halted": True}
    mapping = {"halted_path": "halted"}
    assert _decode(halted, halted="skip", one_sided="dead_letter", **mapping).market == "halted"
    assert _decode(halted, halted="accept", one_sided="skip", **mapping).market == "one_sided"
    with pytest.raises(errors.HaltedMarket):
        _decode(halted, halted="dead_letter", one_sided="skip", **mapping)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({**BOOK, "bid": 0}, errors.OneSidedBook, "bid is 0.0, bid_size is 3.0, ask is 10.5, ask_size is 4.0"),
        ({**BOOK, "bid": 11}, errors.CrossedBook, "bid is 11.0, bid_size is 3.0, ask is 10.5, ask_size is 4.0"),
        ({**BOOK, "h": True}, errors.HaltedMarket, "h is True"),
    ],
)
def test_a_state_that_is_called_bad_is_told_with_the_values_that_show_it(fields, error, text):
    everything = {"one_sided": "dead_letter", "crossed": "dead_letter", "halted": "dead_letter", "halted_path": "h"}
    with pytest.raises(error) as raised:
        _decode(fields, **everything)
    assert (str(raised.value), raised.value.reason) == (text, error.reason)


def test_sides_may_be_objects_of_their_own_which_null_does_away_with():
    nested = {"columns": {"bid": "b.p", "bid_size": "b.q", "ask": "a.p", "ask_size": "a.q"}, "one_sided": "skip"}
    fields = {"symbol": "A", "event_time_ns": 1, "b": {"p": 1, "q": 2}, "a": {"p": 3, "q": 4}}
    assert _decode(fields, **nested) == Tick(7, "A", 1, (1.0, 3.0, 2.0, 4.0))
    for change in ({"a": None}, {"a": {"p": None}}, {"a": {}}):
        assert _decode({**fields, **change}, **nested).market == "one_sided"


def test_a_value_that_is_not_finite_is_bad_whatever_the_market():
    with pytest.raises(errors.NonFiniteRecord, match="ask"):
        _decode({**BOOK, "bid": None, "ask": "nan"}, one_sided="skip")


def test_a_bundle_may_call_the_sides_otherwise():
    fields = {"symbol": "A", "event_time_ns": 1, "b": 2, "a": 1}
    sides = {"bid": "b", "ask": "a"}
    assert _decode(fields, ("b", "a"), crossed="skip", book_columns=sides).market == "crossed"
    with pytest.raises(errors.ConfigurationError, match=r"input\.crossed: the bundle has no bid or no ask; .*: b, a"):
        _decode(fields, ("b", "a"), crossed="skip")
    with pytest.raises(errors.ConfigurationError, match=r"input\.book_columns: c: no columns.*allowed: b, a"):
        _decode(fields, ("b", "a"), book_columns={"bid": "c"})


def test_a_bundle_without_a_book_can_have_halts():
    fields = {"symbol": "A", "event_time_ns": 1, "last": 2, "halted": True}
    assert _decode(fields, ("last",), halted="skip", halted_path="halted").market == "halted"


def test_a_rule_for_halts_needs_to_be_told_where_it_says_so():
    with pytest.raises(ValidationError, match="needs halted_path"):
        InputConfig(halted="skip")


# -- through the pipeline

CHANGES: dict[str, dict[str, Any]] = {
    "good": {},
    "one_sided": {"bid": None},
    "crossed": {"bid": 99.0},
    "halted": {"halted": True},
    "bad": {"ask": "dear"},
}
steps = st.lists(
    st.tuples(
        st.sampled_from("AB"), st.sampled_from(["good"] * 6 + list(CHANGES)), st.integers(-1, 4), st.integers(0, 2)
    ),
    min_size=1,
    max_size=60,
)
window_rules = st.builds(
    WindowRules,
    window=st.integers(2, 3),
    sampling=st.sampled_from(["all", "on_change"]),
    change_columns=st.just(("ask",)),
    max_gap_s=st.sampled_from([None, 0.003]),
    order=st.sampled_from(["accept", "skip", "reset"]),
)
market_rules = st.fixed_dictionaries(
    {"one_sided": st.sampled_from(RULES), "crossed": st.sampled_from(RULES), "halted": st.sampled_from(RULES)}
)


def _cluster(given_steps: list[tuple[str, str, int, int]]) -> MemoryCluster:
    cluster, time_ns = MemoryCluster(), 1_700_000_000_000_000_000
    for symbol, kind, milliseconds, step in given_steps:
        time_ns += milliseconds * 1_000_000
        book = {**BOOK, "symbol": symbol, "event_time_ns": time_ns, "bid": 10.0 + step, "ask": 13.0 + step}
        cluster.append(INPUT, msgspec.json.encode(book | CHANGES[kind]))
    return cluster


def _line(cluster: MemoryCluster, rules: WindowRules, market: dict[str, str], turns: int) -> Line:
    config = config_with(input={**market, "halted_path": "halted"}, kafka={"poll_records_max": 7})
    line = Line(config, MemoryClient(cluster, [INPUT]), ToyEngine(rules, (*COLUMNS, "seconds_since_previous")))
    line.turn(turns)
    line.close()
    return line


def _sent(line: Line, topic: str) -> dict[int, tuple[Any, bytes]]:
    """Source offset -> forecast and reason of what was sent to `topic`."""
    found = {}
    for to, value, _, headers in line.client.sent:
        if to == topic:
            forecast = records.decode(value).forecast if topic == "forecasts" and value is not None else None
            found[records.source_of(headers)[1]] = forecast, dict(headers).get(records.HEADER_REASON, b"")
    return found


def _audit(cluster: MemoryCluster, line: Line, rules: WindowRules, market: dict[str, str]) -> audit.Account:
    outputs = MemoryCluster()
    for topic, value, key, headers in line.client.sent:
        outputs.append(Partition(topic, 0), value, key)
        last = outputs.topics[Partition(topic, 0)]
        last[-1] = msgspec.structs.replace(last[-1], headers=headers)
    manifest = ToyEngine(rules, (*COLUMNS, "seconds_since_previous")).bundle.manifest
    return audit.audit(
        config_with(input={**market, "halted_path": "halted"}),
        [manifest],
        {INPUT: OffsetRange(0, cluster.end(INPUT))},
        cluster.topics[INPUT],
        outputs.topics[Partition("forecasts", 0)],
        outputs.topics[Partition("dead-letters", 0)],
    )[INPUT]


@settings(max_examples=examples(300))
@given(steps, window_rules, market_rules)
def test_every_market_state_meets_its_rule_is_accounted_for_and_a_restart_changes_nothing(given_steps, rules, market):
    cluster = _cluster(given_steps)
    turns = len(given_steps) // 7 + 4
    line = _line(cluster, rules, market, turns)
    account = _audit(cluster, line, rules, market)
    assert account.adds_up, account
    kinds = Counter(kind for _, kind, _, _ in given_steps)
    for state, rule in market.items():
        skipped = kinds[state] if rule in ("skip", "reset") else 0
        assert account.skipped_by_reason.get(state, 0) == skipped
    forecasts, letters = _sent(line, "forecasts"), _sent(line, "dead-letters")
    invalid = {"one_sided"} if market["one_sided"] == "accept" else set()
    bad = {"bad"} | invalid | {state for state, rule in market.items() if rule == "dead_letter"}
    assert sorted(letters) == [at for at, (_, kind, _, _) in enumerate(given_steps) if kind in bad]
    for commit in cluster.commits:
        again = _cluster(given_steps)
        again.committed[INPUT] = commit[INPUT]
        rest = _sent(_line(again, rules, market, turns), "forecasts")
        assert rest == {at: one for at, one in forecasts.items() if at >= commit[INPUT].offset}


@given(steps, window_rules)
def test_windows_are_those_of_a_topic_from_which_the_skipped_ticks_were_taken_out(given_steps, rules):
    market = {"one_sided": "skip", "crossed": "skip", "halted": "skip"}
    kept = [each for each in given_steps if each[1] in ("good", "bad")]
    turns = len(given_steps) // 7 + 4
    clean, dirty = _cluster(given_steps), _cluster(given_steps)
    clean.topics[INPUT] = [
        each for each, (_, kind, _, _) in zip(clean.topics[INPUT], given_steps, strict=True) if kind in ("good", "bad")
    ]
    assert len(clean.topics[INPUT]) == len(kept)
    assert _sent(_line(clean, rules, {}, turns), "forecasts") == _sent(_line(dirty, rules, market, turns), "forecasts")


def test_skipped_ticks_are_counted_by_the_state_that_they_show():
    given_steps = [("A", kind, 1, 0) for kind in ("good", "one_sided", "crossed", "crossed", "halted", "good")]
    market = {"one_sided": "skip", "crossed": "reset", "halted": "dead_letter"}
    cluster = _cluster(given_steps)
    config = config_with(input={**market, "halted_path": "halted"})
    line = Line(config, MemoryClient(cluster, [INPUT]), ToyEngine(WindowRules(window=2), COLUMNS))
    line.turn(3)
    skipped = {state: line.value("tickcast_skipped_ticks_total", state) for state in ("one_sided", "crossed", "halted")}
    assert skipped == {"one_sided": 1, "crossed": 2, "halted": 0}
    assert line.value("tickcast_dead_letters_total", "halted") == 1
    assert line.value("tickcast_warming_ticks_total") == 2
    line.close()
