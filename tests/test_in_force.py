"""Each offset has the bundle that was in force there, by the control record and by the forecasts."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import in_force
from tickcast.clients import Partition
from tickcast.in_force import ForecastsSeen, InForce, Stretch
from tickcast.promotion_record import Switch

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = [f"{number:064x}" for number in range(4)]
P0, P1 = Partition("ticks", 0), Partition("ticks", 1)
OFFSETS_MAX = 30


def switches(*starts: dict[int, int], first: int = 1) -> list[Switch]:
    """Switches from bundle to bundle, with their starts by partition of `ticks`."""
    return [
        Switch(sequence=first + i, old=NAMES[i % 4], new=NAMES[(i + 1) % 4], when=WHEN, starts={"ticks": each})
        for i, each in enumerate(starts)
    ]


def assert_covers(table: InForce, partition: Partition) -> None:
    """Stretches begin at 0, follow each other without a hole, differ from their neighbours, and the last is open."""
    stretches = table.stretches(partition)
    assert stretches[0].first == 0
    assert stretches[-1].end is None
    for before, after in pairwise(stretches):
        assert before.first < after.first == before.end
        assert before.sha256 != after.sha256


def test_a_promotion_counts_from_its_start_in_each_partition():
    table = in_force.of_switches(switches({0: 100, 1: 7}))
    assert (table.at(P0, 99), table.at(P0, 100)) == (NAMES[0], NAMES[1])
    assert (table.at(P1, 6), table.at(P1, 7)) == (NAMES[0], NAMES[1])
    assert table.stretches(P0) == [Stretch(0, 100, NAMES[0]), Stretch(100, None, NAMES[1])]


def test_a_partition_that_was_made_later_is_the_new_bundle_s():
    assert in_force.of_switches(switches({0: 100})).at(Partition("ticks", 9), 0) == NAMES[1]


def test_what_was_in_force_before_the_switches_still_told_is_not_known():
    table = in_force.of_switches(switches({0: 100}, {0: 200}, first=5))
    assert [table.at(P0, offset) for offset in (99, 100, 199, 200)] == [None, NAMES[1], NAMES[1], NAMES[2]]


def test_there_is_no_offset_below_zero():
    with pytest.raises(ValueError, match="no offset"):
        in_force.of_switches(switches({0: 1})).at(P0, -1)


@given(st.lists(st.dictionaries(st.integers(0, 1), st.integers(0, OFFSETS_MAX)), min_size=1, max_size=6))
def test_by_switches_the_newest_that_starts_at_or_below_an_offset_counts(starts):
    told = switches(*starts)
    table = in_force.of_switches(told)
    for partition in (P0, P1):
        assert_covers(table, partition)
        for offset in range(OFFSETS_MAX + 2):
            began = [each.new for each in told if each.starts["ticks"].get(partition.number, 0) <= offset]
            named = any(partition.number in each for each in starts)
            assert table.at(partition, offset) == (began[-1] if began else NAMES[0] if named else told[-1].new)


forecasts = st.lists(
    st.tuples(st.sampled_from([P0, P1]), st.integers(0, OFFSETS_MAX), st.sampled_from(NAMES)), max_size=60
)


@given(forecasts, st.randoms(use_true_random=False))
def test_by_forecasts_the_one_sent_last_counts_in_whatever_order_they_are_read(sent, random):
    dated = [(*each, time_ns) for time_ns, each in enumerate(sent)]
    newest = {(partition, offset): sha256 for partition, offset, sha256 in sent}
    random.shuffle(dated)
    seen = ForecastsSeen()
    for partition, offset, sha256, time_ns in dated:
        seen.add(partition, offset, time_ns, sha256)
    table = seen.table()
    for partition in (P0, P1):
        held = {offset: sha256 for (where, offset), sha256 in newest.items() if where == partition}
        assert_covers(table, partition)
        expected = held[min(held)] if held else None
        for offset in range(OFFSETS_MAX + 2):
            expected = held.get(offset, expected)
            assert table.at(partition, offset) == expected


@given(st.lists(st.dictionaries(st.integers(0, 1), st.integers(0, OFFSETS_MAX)), min_size=1, max_size=4), forecasts)
def test_before_the_oldest_forecast_kept_the_switches_count(starts, sent):
    by_switches, seen = in_force.of_switches(switches(*starts)), ForecastsSeen()
    for time_ns, (partition, offset, sha256) in enumerate(sent):
        seen.add(partition, offset, time_ns, sha256)
    firsts, by_forecasts = seen.firsts(), seen.table()
    table = by_forecasts.or_else(by_switches, firsts)
    for number, partition in enumerate((P0, P1)):
        assert_covers(table, partition)
        named = any(number in each for each in starts)
        for offset in range(OFFSETS_MAX + 2):
            is_told = partition in firsts and (not named or offset >= firsts[partition])
            assert table.at(partition, offset) == (by_forecasts if is_told else by_switches).at(partition, offset)
