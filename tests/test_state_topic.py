"""The topic of live state: whether one is wanted, and what is said where it is not fit for it."""

import pytest
from factories import manifest_with
from live_states import BANDS, COLUMNS, QUANTILES
from pipelines import config_with
from tickcast import state_topic
from tickcast.clients import Partition
from tickcast.errors import ConfigurationError
from tickcast.state_topic import SETTINGS, StateTopic

BANDED = manifest_with(columns=COLUMNS, reference_columns=COLUMNS, bands=BANDS)
BARE = manifest_with(columns=COLUMNS)


def found(manifests=(BANDED,), policy: str | None = "compact", topics: dict[str, int] | None = None, **recovery):
    """As the daemon asks, of a cluster with these topics."""
    held = {"ticks": 3, "forecasts-state": 2, "kept": 1} if topics is None else topics
    return state_topic.found(
        config_with(recovery=recovery), manifests, lambda name: frozenset(range(held.get(name, 0))), lambda name: policy
    )


def test_where_there_are_bands_scores_or_drift_a_topic_is_wanted():
    drifting = manifest_with(columns=COLUMNS, reference_quantiles={"bid": QUANTILES})
    scored = manifest_with(columns=COLUMNS, reference_columns=COLUMNS)
    for manifests in ([BANDED], [scored], [drifting], [BARE, BANDED]):
        assert found(manifests) == StateTopic("forecasts-state", 2)
    assert found([BARE]) is None


def test_it_may_have_another_name_or_there_may_be_none():
    assert found(state_topic="kept") == StateTopic("kept", 1)
    assert found(state_topic="none", topics={}) is None


def test_without_the_topic_the_command_that_makes_it_is_said():
    with pytest.raises(ConfigurationError, match="forecasts-state does not exist") as raised:
        found(topics={"ticks": 3})
    said = str(raised.value)
    assert "--create --topic forecasts-state --partitions 3 " in said
    assert all(f"--config {key}={value}" in said for key, value in SETTINGS.items())
    assert "'none'" in said


@pytest.mark.parametrize("policy", ["compact", "compact,delete", None])
def test_a_compacted_topic_will_do_and_so_will_one_of_which_nothing_is_told(policy):
    assert found(policy=policy) is not None


def test_a_topic_that_is_not_compacted_would_grow_for_ever():
    with pytest.raises(ConfigurationError, match=r"not compacted \(cleanup.policy=delete\)") as raised:
        found(policy="delete")
    assert "kafka-configs.sh --bootstrap-server 127.0.0.1:1 --alter --entity-type topics" in str(raised.value)
    assert "cleanup.policy=compact" in str(raised.value)


def test_an_input_partition_s_state_goes_to_one_partition():
    topic = StateTopic("state", 2)
    assert [topic.place_of(Partition("ticks", number)).number for number in range(5)] == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("name", ["ticks", "forecasts", "dead-letters"])
def test_it_is_a_topic_of_its_own(name):
    with pytest.raises(ValueError, match=r"recovery\.state_topic"):
        config_with(recovery={"state_topic": name})
