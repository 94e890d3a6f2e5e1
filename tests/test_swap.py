"""Another bundle under way: what it answers is what a fresh run of it would, and nothing of the old one is in it."""

from dataclasses import replace

import msgspec
import pytest
from factories import manifest_with
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, models_of, window_rules
from test_pipeline import COLUMNS, INPUT, Step, _cluster, _comparable, _forecasts, _ticks, _whole
from thorough import examples
from tickcast.board_reader import BoardReader
from tickcast.commit_note import parse
from tickcast.config import Config
from tickcast.errors import BrokerError
from tickcast.manifest import WindowRules
from tickcast.model import Models, windows_go_on
from tickcast.records import Forecast
from toy_carried import ToyCarried, certificate
from toy_engine import ToyEngine

OLD_SHA256, NEW_SHA256 = "0" * 64, "1" * 64
RULES = WindowRules(window=3)

# Long enough, and windows short enough, that most examples have forecasts of both bundles.
steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["A", "A", "B", None]), st.integers(-1, 7), st.integers(0, 9)),
    min_size=30,
    max_size=60,
)
rules = window_rules(gap_s=0.006)
cuts = st.floats(0.2, 0.8)  # where a swap comes, as a share of the log


class NewEngine(ToyEngine):
    """Another bundle: with a carry of the old one's, its answer would be neither's."""

    def __init__(
        self,
        rules: WindowRules,
        columns: tuple[str, ...] = COLUMNS,
        splits: bool = True,
        horizons: tuple[int, ...] = (),
    ) -> None:
        super().__init__(rules, columns, splits)
        manifest = self.bundle.manifest.model_copy(update={"name": "new", "horizons": horizons or (1, 2)})
        self.bundle = replace(self.bundle, manifest=manifest, sha256=NEW_SHA256)
        self._weights = self._weights**2 + 3


def _part(cluster: MemoryCluster, end: int) -> MemoryCluster:
    """The first records of a log."""
    part = MemoryCluster()
    part.topics[INPUT] = cluster.topics[INPUT][:end]
    return part


def _undisturbed(cluster: MemoryCluster, line: Line) -> dict[int, Forecast]:
    for _ in _whole(cluster, line):
        pass
    line.close()
    return {offset: _comparable(forecast) for offset, forecast in _forecasts(line.client).items()}


def _swapped(
    whole: MemoryCluster, line: Line, model: Models, before: int, turns: int | None
) -> tuple[int, bool, dict[int, Forecast]]:
    """Answer the first `before` records, or `turns` turns of them; swap; answer the rest.

    Where the swap came, whether windows went on, and all forecasts.
    """
    cluster = line.client.cluster
    assert len(cluster.topics[INPUT]) == before
    if turns is None:
        for _ in _whole(cluster, line):  # and idle turns, in which carries are prepared
            pass
    else:
        line.turn(turns)
    state = line.ownership.states.get(INPUT)
    position = state.publish_from if state is not None and state.rebuilding else state.position if state else 0
    windows_go_on = line.assembly.swap(model).windows_go_on
    cluster.topics[INPUT] += whole.topics[INPUT][before:]
    return position, windows_go_on, _undisturbed(cluster, line)


def _config(records_max: int, reach: int, delivery: str = "at_least_once", mode: str = "windowed") -> Config:
    return config_with(
        kafka={"poll_records_max": records_max, "delivery": delivery},
        recovery={"replay_records_max": reach},
        inference={"mode": mode},
    )


@settings(max_examples=examples(100), deadline=None)
@given(
    steps,
    rules,
    st.one_of(st.none(), rules),
    st.integers(1, 7),
    st.integers(10, 40),
    cuts,
    st.one_of(st.none(), st.integers(0, 9)),
    st.sampled_from(["at_least_once", "exactly_once"]),
)
def test_each_forecast_is_that_of_a_fresh_run_of_the_bundle_it_names(
    given_steps: list[Step], old_rules, other_rules, records_max, reach, cut, turns, delivery
):
    new_rules = other_rules or old_rules
    before = round(cut * len(given_steps))
    whole, config = _cluster(given_steps), _config(records_max, reach, delivery)
    old, new = (
        _undisturbed(whole, Line(config, MemoryClient(_cluster(given_steps), [INPUT]), engine))
        for engine in (ToyEngine(old_rules, COLUMNS), NewEngine(new_rules))
    )
    line = Line(config, MemoryClient(_part(whole, before), [INPUT]), ToyEngine(old_rules, COLUMNS))
    position, windows_go_on, found = _swapped(whole, line, models_of(config, NewEngine(new_rules)), before, turns)
    wanted = {offset: f for offset, f in old.items() if offset < position}
    assert found == wanted | {offset: f for offset, f in new.items() if offset >= position}
    assert windows_go_on == (old_rules == new_rules)


@settings(max_examples=examples(60), deadline=None)
@given(
    steps,
    st.integers(2, 4),
    st.integers(1, 7),
    st.integers(10, 40),
    st.integers(1, 25),
    st.sampled_from([0, 3]),
    cuts,
    st.one_of(st.none(), st.integers(0, 9)),
    st.booleans(),
)
def test_in_the_mode_carried_states_start_anew_from_their_anchors(
    given_steps, window, records_max, reach, interval, more, cut, turns, folds
):
    before = round(cut * len(given_steps))
    whole, config = _cluster(given_steps), _config(records_max, reach, mode="carried")

    def made(is_new: bool, stretch: int) -> tuple[ToyEngine, ToyCarried]:
        given_rules = WindowRules(window=window)
        engine = NewEngine(given_rules) if is_new else ToyEngine(given_rules, COLUMNS)
        manifest = engine.bundle.manifest.model_copy(update={"carried": certificate(stretch)})
        engine.bundle = replace(engine.bundle, manifest=manifest)
        return engine, ToyCarried(engine, folds)

    old, new = (
        _undisturbed(whole, Line(config, MemoryClient(_cluster(given_steps), [INPUT]), *each))
        for each in (made(False, interval), made(True, interval + more))
    )
    line = Line(config, MemoryClient(_part(whole, before), [INPUT]), *made(False, interval))
    position, windows_go_on, found = _swapped(
        whole, line, models_of(config, *made(True, interval + more)), before, turns
    )
    wanted = {offset: f for offset, f in old.items() if offset < position}
    assert found == wanted | {offset: f for offset, f in new.items() if offset >= position}
    assert not windows_go_on


def _line(cluster: MemoryCluster, acknowledges: bool = True, **sections: object) -> Line:
    return Line(config_with(**sections), MemoryClient(cluster, [INPUT], acknowledges), ToyEngine(RULES, COLUMNS))


def _new(new_rules: WindowRules = RULES) -> Models:
    return models_of(config_with(), NewEngine(new_rules))


def _tick(cluster: MemoryCluster, milliseconds: int) -> None:
    body = {"symbol": "A", "event_time_ns": 1_700_000_000_000_000_000 + milliseconds * 1_000_000, "value": 3}
    cluster.append(INPUT, msgspec.json.encode(body))


def test_a_tick_for_which_the_old_model_had_a_carry_ready_is_answered_without_it():
    cluster = _ticks(6)
    line = _line(cluster)
    line.turn(3)  # answers, then an idle turn prepares the carry
    model = _new()
    assert line.assembly.swap(model).windows_go_on
    _tick(cluster, 10)
    line.turn(2)
    found = _forecasts(line.client)
    assert (found[6].path, found[6].bundle.sha256) == ("window", NEW_SHA256)
    _tick(cluster, 11)
    line.turn()
    assert _forecasts(line.client)[7].path == "finish"  # by a carry of the new model's
    assert model.each[0].engine.finished == 1
    line.close()


def test_windows_of_equal_rules_and_rows_are_not_read_again():
    line = _line(_ticks(10))
    line.turn(2)
    assert line.assembly.swap(_new()).windows_go_on
    line.turn(2)
    assert line.value("tickcast_ticks_replayed_total", "ticks") == 0
    assert line.value("tickcast_recoveries_total", "other_rules") == 0
    line.close()


def test_windows_of_another_length_are_read_back_before_anything_is_answered():
    cluster = _ticks(10)
    line = _line(cluster, kafka={"poll_records_max": 4})
    line.turn(3)
    before = len(line.client.sent)
    assert not line.assembly.swap(_new(WindowRules(window=6))).windows_go_on
    state = line.ownership.states[INPUT]
    assert (state.position, state.publish_from, state.rebuilding) == (0, 10, True)
    assert line.client.paused == {INPUT}
    line.turn(4)
    assert not line.client.paused
    assert len(line.client.sent) == before
    assert line.value("tickcast_recoveries_total", "other_rules") == 1
    assert line.value("tickcast_ticks_replayed_total", "ticks") == 10
    _tick(cluster, 20)
    line.turn(2)
    assert _forecasts(line.client)[10].bundle.sha256 == NEW_SHA256
    note = parse(cluster.committed[INPUT].metadata)
    assert note is not None
    assert (note.window, cluster.committed[INPUT].offset) == (6, 11)
    line.close()


def test_the_note_is_that_of_the_new_rules_once_windows_stand_though_no_tick_came():
    cluster = _ticks(10)
    line = _line(cluster)
    line.turn(3)
    before = parse(cluster.committed[INPUT].metadata)
    line.assembly.swap(_new(WindowRules(window=6)))
    line.turn(3)
    after = parse(cluster.committed[INPUT].metadata)
    assert before is not None
    assert after is not None
    assert before.rules_hash != after.rules_hash
    assert (cluster.committed[INPUT].offset, after.window) == (10, 6)
    line.close()


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_what_was_answered_is_committed_before_windows_are_read_back(delivery: str):
    cluster = _ticks(10)
    line = _line(cluster, kafka={"commit_interval_ms": 30_000, "delivery": delivery})
    line.turn(2)
    line.assembly.swap(_new(WindowRules(window=6)))
    assert cluster.committed[INPUT].offset == 10
    line.close()


@pytest.mark.parametrize("new_rules", [RULES, WindowRules(window=6)])
def test_with_acknowledgements_outstanding_nothing_is_answered_twice_or_lost(new_rules: WindowRules):
    cluster = _ticks(10)
    line = _line(cluster, acknowledges=False, recovery={"drain_timeout_ms": 1_000})
    line.turn(2)
    line.assembly.swap(_new(new_rules))
    assert cluster.committed[INPUT].offset == 0
    for milliseconds in range(20, 25):
        _tick(cluster, milliseconds)
    line.turn(3)
    line.client.acknowledge()
    line.turn(3)
    assert sorted(_forecasts(line.client)) == list(range(4, 15))  # which fails on a doubled one
    assert cluster.committed[INPUT].offset == 15
    line.close()


def test_a_cluster_that_does_not_answer_leaves_everything_as_it_was(monkeypatch):
    cluster = _ticks(10)
    line = _line(cluster)
    line.turn(2)

    def silent(*_: object) -> None:
        raise BrokerError("no answer in time")

    with monkeypatch.context() as patched:
        patched.setattr(line.client, "offset_range", silent)
        with pytest.raises(BrokerError):
            line.assembly.swap(_new(WindowRules(window=6)))
    _tick(cluster, 20)
    line.turn(2)
    found = _forecasts(line.client)[10]
    assert (found.bundle.sha256, found.path) == (OLD_SHA256, "finish")
    line.close()


def test_other_horizons_are_forecast_and_counted_under_their_names():
    cluster = _ticks(5)
    line = _line(cluster)
    line.turn(2)
    engine = NewEngine(RULES, horizons=(1, 7))
    line.assembly.swap(models_of(config_with(), engine))
    for milliseconds in range(10, 14):
        _tick(cluster, milliseconds)
    line.turn(2)
    assert _forecasts(line.client)[5].horizons == (1, 7)
    assert line.value("tickcast_forecasts_expired_total", "1") > 0
    assert line.value("tickcast_forecasts_expired_total", "7") == 0
    line.close()


def test_the_board_names_the_bundle_that_answers_and_no_other():
    line = _line(_ticks(5))
    line.turn(2)
    line.assembly.swap(_new())
    line.assembly.swap(models_of(config_with(), ToyEngine(RULES, COLUMNS)))
    line.assembly.swap(_new())
    shown = [s.labels for s in BoardReader(line.board.fd).samples() if s.metric.name == "tickcast_model_info"]
    assert [(labels[0], labels[2]) for labels in shown] == [("new", NEW_SHA256)]
    line.close()


def test_a_swap_before_any_partition_is_owned_counts_for_those_to_come():
    cluster = _ticks(10)
    line = _line(cluster)
    line.assembly.swap(_new(WindowRules(window=6)))
    line.turn(3)
    assert {f.bundle.sha256 for f in _forecasts(line.client).values()} == {NEW_SHA256}
    note = parse(cluster.committed[INPUT].metadata)
    assert note is not None
    assert note.window == 6
    line.close()


def test_windows_go_on_only_where_their_rows_are_the_same():
    def graph(sha256: str) -> dict[str, object]:
        tensors = [{"name": "rows", "dtype": "float32", "shape": ("batch", 4, 2)}]
        window = {"file": "window.onnx", "sha256": OLD_SHA256, "inputs": tensors, "outputs": tensors}
        return {"window": window, "features": {**window, "file": "features.onnx", "sha256": sha256}}

    config, carried = config_with(), config_with(inference={"mode": "carried"})
    old = manifest_with(graphs=graph("a" * 64))
    others = {
        "the same": {"graphs": graph("a" * 64), "name": "b", "version": "2", "horizons": (1,)},
        "another feature graph": {"graphs": graph("b" * 64)},
        "no feature graph": {},
        "more features": {"graphs": graph("a" * 64), "features": 3},
        "other columns": {"graphs": graph("a" * 64), "columns": ("ask", "bid")},
        "another window": {"graphs": graph("a" * 64), "rules": WindowRules(window=5)},
    }
    found = {what: windows_go_on(config, [old], [manifest_with(**changes)]) for what, changes in others.items()}
    assert found == {what: what == "the same" for what in others}
    assert not windows_go_on(carried, [old], [old])
