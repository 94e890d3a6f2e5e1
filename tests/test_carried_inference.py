"""The mode `carried` through the whole loop: the same input, the same forecasts, however it is cut and restarted."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from test_pipeline import COLUMNS, INPUT, _cluster, _comparable, _forecasts, _whole
from thorough import examples
from tickcast import records
from tickcast.commit_note import parse
from tickcast.manifest import WindowRules
from toy_carried import ToyCarried, certificate
from toy_engine import ToyEngine

steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["A", "B", "C", None]), st.integers(-1, 6), st.integers(0, 2)),
    min_size=30,
    max_size=50,
)
rules = st.builds(
    WindowRules,
    window=st.integers(2, 4),
    sampling=st.sampled_from(["all", "on_change"]),
    change_columns=st.just(("value",)),
    max_gap_s=st.sampled_from([None, 0.02]),
    order=st.sampled_from(["accept", "reset"]),
)


def _line(
    cluster: MemoryCluster, given_rules: WindowRules, records_max: int, reach: int, interval: int, folds: bool = True
) -> Line:
    config = config_with(
        kafka={"poll_records_max": records_max},
        recovery={"replay_records_max": reach},
        inference={"mode": "carried"},
    )
    engine = ToyEngine(given_rules, COLUMNS)
    manifest = engine.bundle.manifest.model_copy(update={"carried": certificate(interval)})
    engine.bundle = replace(engine.bundle, manifest=manifest)
    return Line(config, MemoryClient(cluster, [INPUT]), engine, ToyCarried(engine, folds))


def _answers(line: Line, cluster: MemoryCluster) -> dict[int, records.Forecast]:
    for _ in _whole(cluster, line):
        pass
    found = _forecasts(line.client)
    assert {forecast.path for forecast in found.values()} <= {"carried"}
    line.close()
    return {offset: _comparable(forecast) for offset, forecast in found.items()}


@settings(max_examples=examples(60), deadline=None)
@given(steps, rules, st.integers(1, 40), st.integers(4, 30), st.integers(1, 25), st.booleans(), st.integers(1, 9))
def test_any_commit_and_any_batch_size_give_the_same_forecasts(
    given_steps, given_rules, records_max, reach, interval, folds, other_max
):
    cluster = _cluster(given_steps)
    undisturbed = _answers(_line(cluster, given_rules, records_max, reach, interval, folds), cluster)
    for committed in [commit[INPUT] for commit in cluster.commits]:
        note = parse(committed.metadata)
        assert note is not None
        assert committed.offset - reach - interval <= note.replay_from <= committed.offset
        again = _cluster(given_steps)
        again.committed[INPUT] = committed
        restarted = _answers(_line(again, given_rules, other_max, reach, interval, not folds), again)
        assert restarted == {offset: f for offset, f in undisturbed.items() if offset >= committed.offset}


@settings(max_examples=20, deadline=None)
@given(steps, rules, st.integers(4, 30), st.integers(1, 25))
def test_a_commit_without_a_note_gives_the_same_forecasts(given_steps, given_rules, reach, interval):
    cluster = _cluster(given_steps)
    undisturbed = _answers(_line(cluster, given_rules, 5, reach, interval), cluster)
    for committed in [commit[INPUT] for commit in cluster.commits]:
        again = _cluster(given_steps)
        again.committed[INPUT] = committed._replace(metadata="")
        restarted = _answers(_line(again, given_rules, 3, reach, interval), again)
        assert restarted == {offset: f for offset, f in undisturbed.items() if offset >= committed.offset}


def _ticks(count: int) -> MemoryCluster:
    return _cluster([(0, "A", 1, index % 3) for index in range(count)])


def test_answers_go_on_from_the_anchor_and_attend_to_the_window():
    """One symbol: each forecast says what its state and its ring held."""
    cluster, given_rules = _ticks(20), WindowRules(window=3)
    found = _answers(_line(cluster, given_rules, 4, 1_000, 1_000_000), cluster)
    values = np.array([index % 3 for index in range(20)], np.float32)
    rows = values + 0.5 * np.roll(values, 1)  # `ToyEngine.features`
    for offset, forecast in found.items():
        window = rows[offset - 2 : offset + 1].sum()
        since = rows[2 : offset + 1].sum()  # row 2 is the first: 0 primes, 1 follows it
        assert forecast.forecast == [2 * since + rows[offset], window]
    assert list(found) == list(range(4, 20))


def test_carried_forecasts_are_counted_under_their_path():
    cluster = _ticks(10)
    line = _line(cluster, WindowRules(window=3), 4, 1_000, 1_000)
    for _ in _whole(cluster, line):
        pass
    assert line.value("tickcast_forecasts_total", "carried") == 6
    assert line.value("tickcast_forecasts_total", "window") == 0
    line.close()


def test_a_commit_of_the_other_mode_is_read_back_as_far_as_states_need():
    """The note says where windows can be rebuilt from, not where states can."""
    cluster = _ticks(30)
    undisturbed = _answers(_line(cluster, WindowRules(window=3), 4, 1_000, 1_000), cluster)
    other = _ticks(30)
    windowed = Line(
        config_with(kafka={"poll_records_max": 4}, recovery={"replay_records_max": 1_000}),
        MemoryClient(other, [INPUT]),
        ToyEngine(WindowRules(window=3), COLUMNS),
    )
    for _ in _whole(other, windowed):
        pass
    windowed.close()
    again = _ticks(30)
    again.committed[INPUT] = next(commit[INPUT] for commit in other.commits if commit[INPUT].offset >= 20)
    restarted = _line(again, WindowRules(window=3), 4, 1_000, 1_000)
    found = _answers(restarted, again)
    assert found
    assert found == {offset: undisturbed[offset] for offset in found}
