"""Bands, pending scores and drift over any kills, restarts and rebalances: those of a run that nobody disturbed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_states import INPUTS, TOPIC, Engine, Member, configured, ticks, told, undisturbed
from thorough import examples
from tickcast.clients import Partition
from tickcast.errors import BrokerError
from tickcast.manifest import WindowRules

RULES = WindowRules(window=4, max_gap_s=5)
NO_ANSWER = BrokerError("no answer in time")

# What happens after so many turns.
events = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["kill", "kill", "stop", "move", "unanswered", "unheard", "compact"]),
    ),
    max_size=12,
)


class Group:
    """One or two members; what all that ever were have published."""

    def __init__(self, cluster: Any, config: Any, engine: Any) -> None:
        self.cluster, self.config, self.engine = cluster, config, engine
        self.found: list[Any] = []
        self.members = [self._member(INPUTS)]

    def _member(self, owned: Any) -> Member:
        return Member(self.cluster, self.config, self.engine(), owned)

    def kill(self) -> None:
        for member in self.members:
            self.found += member.forecasts()
            member.close()
        self.members = [self._member(INPUTS)]

    def stop(self) -> None:
        for member in self.members:
            member.client.close(1.0)
        self.kill()

    def move(self) -> None:
        """The second partition goes to another member, or comes back."""
        if len(self.members) == 1:
            (one,) = self.members
            one.client.revoked_next = [INPUTS[1]]
            one.turn()
            self.members.append(self._member([INPUTS[1]]))
        else:
            one, two = self.members
            two.client.close(1.0)
            self.found += two.forecasts()
            two.close()
            self.members = [one]
            one.client.assigned_next = [INPUTS[1]]
            one.turn()

    def unanswered(self, counts: bool) -> None:
        for member in self.members:
            member.client.commits_unheard = counts
            member.client.plain_commit_answers.append(NO_ANSWER)
            member.client.commit_answers.append(NO_ANSWER)

    def compact(self) -> None:
        for number in range(TOPIC.partitions):
            self.cluster.compact(Partition(TOPIC.name, number))

    def happen(self, event: str) -> None:
        if event in ("unanswered", "unheard"):
            self.unanswered(counts=event == "unheard")
        else:
            getattr(self, event)()

    def turn(self) -> None:
        for member in self.members:
            member.turn()

    def finish(self) -> dict[Any, bytes]:
        known: dict[Any, bytes] = {}
        for member in self.members:
            member.finish()
            known |= member.knows()
            self.found += member.forecasts()
            member.close()
        return known


@pytest.mark.parametrize("exactly_once", [False, True], ids=["at-least-once", "exactly-once"])
@settings(max_examples=examples(45))
@given(
    seed=st.integers(0, 1_000),
    events=events,
    records_max=st.sampled_from([3, 10, 40]),
    interval_s=st.sampled_from([0, 2, 5]),
    reach=st.sampled_from([40, 500]),
    max_symbols=st.sampled_from([2, 100]),
)
def test_whatever_happens_bands_scores_and_drift_are_those_of_an_undisturbed_run(
    exactly_once, seed, events, records_max, interval_s, reach, max_symbols
):
    cluster = ticks(250, seed, one_sided_share=0.02)
    config = configured(
        exactly_once,
        kafka={"poll_records_max": records_max, "commit_interval_ms": max(1, interval_s * 1_000)},
        recovery={"replay_records_max": reach, "max_symbols": max_symbols},
        input={"one_sided": "reset"},  # such a tick has its symbol begin anew
    )
    wanted, known = undisturbed(cluster, config, Engine(RULES))
    group = Group(cluster, config, lambda: Engine(RULES))
    for turns, event in events:
        for _ in range(turns):
            group.turn()
        group.happen(event)
    # Symbols that are as good as forgotten may be remembered in one run and not in another.
    found = group.finish()
    assert found == {each: known[each] for each in found}
    assert {source for source, _ in group.found} == wanted.keys()
    for source, forecast in group.found:
        assert told(forecast) == wanted[source], (source, forecast)
    if exactly_once:
        assert len(group.found) == len(wanted)
