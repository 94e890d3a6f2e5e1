"""The line of metadata that travels with an offset."""

import pytest
from tickcast.commit_note import BYTES_MAX, CommitNote, parse, rules_hash
from tickcast.manifest import WindowRules

NOTE = CommitNote(2**63 - 1, 65_536, "0123456789abcdef", "host-1")


def test_a_note_survives_the_round_trip_and_librdkafkas_trailing_nul():
    assert parse(NOTE.text()) == NOTE
    assert parse(NOTE.text() + "\x00") == NOTE


@pytest.mark.parametrize("owner", ["x" * 500, "é" * 500, "with blanks\tand\nlines"])
def test_the_longest_note_fits_and_is_read_back(owner):
    text = NOTE._replace(owner=owner).text()
    assert len(text.encode()) <= BYTES_MAX
    note = parse(text)
    assert note is not None
    assert note[:3] == NOTE[:3]


@pytest.mark.parametrize(
    "text",
    ["", "x", "v=2 replay_from=1 window=1 rules=0123456789abcdef owner=a", NOTE.text()[:40], "v=1 " + NOTE.text()],
)
def test_what_is_no_note_of_this_version_is_not_read(text):
    assert parse(text) is None


def test_the_hash_differs_with_everything_windows_are_a_function_of():
    rules = WindowRules(window=4)
    base = rules_hash([(("*",), rules)], 100, 10)
    others = [
        rules_hash([(("A*",), rules)], 100, 10),
        rules_hash([(("*",), WindowRules(window=5))], 100, 10),
        rules_hash([(("*",), WindowRules(window=4, max_gap_s=1.0))], 100, 10),
        rules_hash([(("*",), rules)], 101, 10),
        rules_hash([(("*",), rules)], 100, 11),
    ]
    assert base == rules_hash([(("*",), WindowRules(window=4))], 100, 10)
    assert len({base, *others}) == 6
