"""The line of metadata that travels with an offset."""

import pytest
from factories import manifest_with
from pipelines import config_with
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
    manifest = manifest_with(columns=("bid", "ask"), rules=WindowRules(window=4))
    base = rules_hash(config_with(), [manifest])
    others = [
        rules_hash(config_with(models=[{"bundle": "bundle", "symbols": ["A*"]}]), [manifest]),
        rules_hash(config_with(), [manifest_with(columns=("bid", "ask"), rules=WindowRules(window=5))]),
        rules_hash(config_with(), [manifest_with(columns=("bid", "ask"), rules=WindowRules(window=4, max_gap_s=1.0))]),
        rules_hash(config_with(), [manifest_with(columns=("bid", "mid"), rules=WindowRules(window=4))]),
        rules_hash(config_with(recovery={"replay_records_max": 101}), [manifest]),
        rules_hash(config_with(recovery={"max_symbols": 11}), [manifest]),
        rules_hash(config_with(input={"columns": {"bid": "b"}}), [manifest]),
        rules_hash(config_with(input={"record_bytes_max": 100}), [manifest]),
    ]
    assert base == rules_hash(config_with(kafka={"group_id": "other"}), [manifest])
    assert len({base, *others}) == 1 + len(others)


def test_of_several_bundles_the_hash_is_over_all_and_their_order():
    """Which is whose: the first entry that matches counts."""
    entries = [{"bundle": "a", "symbols": ["A*"]}, {"bundle": "b", "symbols": ["B*"]}]
    manifests = [manifest_with(rules=WindowRules(window=4)), manifest_with(rules=WindowRules(window=5))]
    found = [
        rules_hash(config_with(models=entries), manifests),
        rules_hash(config_with(models=entries), manifests[::-1]),
        rules_hash(config_with(models=entries[::-1]), manifests),
        rules_hash(config_with(models=entries[::-1]), manifests[::-1]),
        rules_hash(config_with(models=entries[:1]), manifests[:1]),
    ]
    assert len(set(found)) == len(found)


def test_what_a_bundle_was_trained_for_counts_where_it_decides_whose_ticks_make_windows():
    trained, other = manifest_with(symbols=("A", "B")), manifest_with(symbols=("A",))
    allowed = config_with(models=[{"bundle": "bundle", "allow_untrained_symbols": True}])
    assert rules_hash(config_with(), [trained]) != rules_hash(config_with(), [other])
    assert rules_hash(config_with(), [trained]) == rules_hash(config_with(), [manifest_with(symbols=("B", "A"))])
    assert (
        rules_hash(allowed, [trained]) == rules_hash(allowed, [other]) == rules_hash(config_with(), [manifest_with()])
    )
