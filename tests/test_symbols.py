"""Whose a symbol is, and what is said where entries of the configuration take each other's."""

import itertools
from fnmatch import fnmatchcase

import pytest
from factories import manifest_with
from hypothesis import given
from hypothesis import strategies as st
from pipelines import config_with
from pydantic import ValidationError
from tickcast.config import ModelConfig
from tickcast.symbols import NO_MODEL, SYMBOLS_CACHED, UNTRAINED, matcher, overlap, overlaps, route

# Every text of up to three of these characters, to be held against what is reasoned about all texts.
TEXTS = ["".join(letters) for length in range(4) for letters in itertools.product("abcd", repeat=length)]

pieces = st.sampled_from(["a", "b", "c", "*", "?", "[ab]", "[!a]", "[b-d]", "[!a-c]"])
patterns = st.lists(pieces, min_size=1, max_size=3).map("".join)


def _entries(*symbols: list[str], allowed: bool = False) -> list[ModelConfig]:
    return [ModelConfig(bundle="b", symbols=tuple(each), allow_untrained_symbols=allowed) for each in symbols]


def test_the_first_entry_that_matches_counts():
    place_of = route(_entries(["ES*"], ["E?", "NQ"], ["N*"]), [manifest_with()] * 3)
    found = {symbol: place_of(symbol) for symbol in ("ES", "ESH6", "ER", "NQ", "NX", "es", "")}
    assert found == {"ES": 0, "ESH6": 0, "ER": 1, "NQ": 1, "NX": 2, "es": NO_MODEL, "": NO_MODEL}


def test_a_symbol_that_its_bundle_was_not_trained_for_is_nobodys():
    """Not the next entry's either, though that would know it: a pattern says whose it is."""
    trained = [manifest_with(symbols=("ESH6", "ESM?")), manifest_with(symbols=("ESU6", "NQH6"))]
    place_of = route(_entries(["ES*"], ["*"]), trained)
    found = {symbol: place_of(symbol) for symbol in ("ESH6", "ESM6", "ESU6", "NQH6", "NQM6")}
    assert found == {"ESH6": 0, "ESM6": 0, "ESU6": UNTRAINED, "NQH6": 1, "NQM6": UNTRAINED}


def test_it_is_answered_where_that_is_allowed_or_nothing_is_known_of_training():
    trained = manifest_with(symbols=("ESH6",))
    assert route(_entries(["ES*"], allowed=True), [trained])("ESU6") == 0
    assert route(_entries(["*"], allowed=True), [trained])("") == 0
    assert route(_entries(["ES*"]), [manifest_with(symbols=())])("ESU6") == 0
    assert route(_entries(["*"]), [trained])("ESU6") == UNTRAINED


def test_a_flood_of_names_takes_bounded_memory():
    place_of = route(_entries(["A*"]), [manifest_with()])
    assert place_of.cache_info().maxsize == SYMBOLS_CACHED  # type: ignore[attr-defined]


@given(patterns, st.sampled_from(TEXTS))
def test_a_symbol_fits_as_a_shell_would_have_it(pattern, text):
    assert matcher([pattern])(text) == fnmatchcase(text, pattern)
    assert matcher(["x", pattern])("x")


@given(patterns, patterns)
def test_patterns_overlap_where_a_text_fits_both(one, other):
    both = [text for text in TEXTS if fnmatchcase(text, one) and fnmatchcase(text, other)]
    assert overlap(one, other) == overlap(other, one)
    if both:
        assert overlap(one, other)
    elif overlap(one, other):  # by a longer text, or one of other letters
        assert not set("*?!").isdisjoint(one + other)


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("ES*", "*H6", True),
        ("ES*", "NQ*", False),
        ("[a-m]x", "[k-z]x", True),
        ("[a-c]", "[!ac]", True),
        ("[a-c]", "[d-f]", False),
        ("[!a]", "[!b]", True),
        ("[]x]", "]", True),
        ("[", "[[]", True),
        ("a*b*c", "a??", True),
        ("a*b*c", "a?", False),
        ("", "*", True),
    ],
)
def test_overlaps_that_are_easily_got_wrong(one, other, is_shared):
    assert overlap(one, other) == is_shared


def test_each_overlap_is_told_with_who_answers():
    told = list(overlaps(_entries(["ESH6", "NQ*"], ["ES*"], ["*"])))
    assert told == [
        "models.1.symbols: 'ES*' overlaps with 'ESH6' of models.0.symbols: what fits both is answered by models.0",
        "models.2.symbols: '*' overlaps with 'ESH6' of models.0.symbols: what fits both is answered by models.0",
        "models.2.symbols: '*' overlaps with 'ES*' of models.1.symbols: what fits both is answered by models.1",
    ]
    assert list(overlaps(_entries(["ES*"], ["NQ*"]))) == []


@pytest.mark.parametrize("before", [["*"], ["A", "B*", "C"]])
def test_an_entry_that_would_never_answer_is_refused(before):
    with pytest.raises(ValidationError, match=r"models\.1\.symbols: entries before it take all"):
        config_with(models=[{"bundle": "a", "symbols": before}, {"bundle": "b", "symbols": ["A", "B*"]}])
