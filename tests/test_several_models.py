"""Several bundles over one stream: each answers its own symbols just as it would alone, and all is accounted for."""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, model_of, window_rules
from test_pipeline import COLUMNS, INPUT, _comparable, _forecasts, _whole
from thorough import examples
from tickcast import audit, model, records
from tickcast.board_reader import BoardReader
from tickcast.clients import OffsetRange, Partition
from tickcast.commit_note import parse
from tickcast.config import Config
from tickcast.manifest import WindowRules
from tickcast.tape_reader import Place, TapeReader
from toy_carried import ToyCarried, certificate
from toy_engine import ToyEngine

# Offsets skipped, symbol (None: a bad record), milliseconds, value, whether it has the column that only some ask for.
Step = tuple[int, str | None, int, int, bool]

START_NS = 1_700_000_000_000_000_000
WIDE = ("value", "size")
MODELS: list[dict[str, Any]] = [{"bundle": "a", "symbols": ["A*"]}, {"bundle": "b", "symbols": ["B", "A?"]}]

steps = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["A", "A", "A1", "B", "B", "C", None]),
        st.integers(-1, 7),
        st.integers(0, 3),
        st.booleans(),
    ),
    min_size=30,
    max_size=60,
)
rules = window_rules(gap_s=0.006)


def _named(engine: ToyEngine, name: str, **changes: object) -> ToyEngine:
    """`engine` as a bundle of its own."""
    manifest = engine.bundle.manifest.model_copy(update={"name": name, **changes})
    engine.bundle = replace(engine.bundle, manifest=manifest, sha256=name * 64)
    return engine


def _engines(first: WindowRules, second: WindowRules, columns: tuple[str, ...], splits: bool) -> list[ToyEngine]:
    both = [ToyEngine(first, COLUMNS, splits), ToyEngine(second, columns, splits)]
    return [_named(both[0], "a"), _named(both[1], "b", horizons=(1, 3))]


def _cluster(given_steps: Sequence[Step]) -> MemoryCluster:
    cluster, time_ns = MemoryCluster(), START_NS
    for skip, symbol, milliseconds, value, is_wide in given_steps:
        time_ns += milliseconds * 1_000_000
        tick = {"symbol": symbol, "event_time_ns": time_ns, "value": value} | ({"size": value + 1} if is_wide else {})
        cluster.append(INPUT, b"{" if symbol is None else msgspec.json.encode(tick), key=b"k", skip=skip)
    return cluster


def _run(line: Line) -> dict[int, records.Forecast]:
    """Everything that the line makes of its log."""
    for _ in _whole(line.client.cluster, line):
        pass
    line.close()
    return {offset: _comparable(forecast) for offset, forecast in _forecasts(line.client).items()}


def _config(models: list[dict[str, Any]], records_max: int = 5, reach: int = 100, **sections: object) -> Config:
    kafka = {"poll_records_max": records_max}
    return config_with(models=models, kafka=kafka, recovery={"replay_records_max": reach}, **sections)


def _line(config: Config, cluster: MemoryCluster, engines: Sequence[ToyEngine]) -> Line:
    return Line(config, MemoryClient(cluster, [INPUT]), [model_of(engine) for engine in engines])


@settings(max_examples=examples(120))
@given(steps, rules, rules, st.sampled_from([COLUMNS, WIDE]), st.integers(1, 9), st.integers(10, 40), st.booleans())
def test_each_bundle_answers_its_symbols_as_it_would_alone(
    given_steps, first, second, columns, records_max, reach, splits
):
    """Whatever the other's windows, columns and symbols, from the beginning and from any commit on."""
    whole = _cluster(given_steps)
    both = _run(_line(_config(MODELS, records_max, reach), whole, _engines(first, second, columns, splits)))
    alone: dict[int, records.Forecast] = {}
    for engine, entry in zip(_engines(first, second, columns, splits), MODELS, strict=True):
        found = _run(_line(_config([entry], records_max, reach), _cluster(given_steps), [engine]))
        alone |= {offset: forecast for offset, forecast in found.items() if offset not in alone}
    # Of the symbols that fit both entries' patterns the second bundle answers none.
    wanted = {at: one for at, one in alone.items() if (one.bundle.name == "a") == one.symbol.startswith("A")}
    assert both == wanted
    commits = [commit[INPUT] for commit in whole.commits]
    for committed in commits[:: max(1, len(commits) // 3)]:
        note = parse(committed.metadata)
        assert note is not None
        assert note.window == max(first.window, second.window)
        again = _cluster(given_steps)
        again.committed[INPUT] = committed
        rest = _run(_line(_config(MODELS, 3, reach), again, _engines(first, second, columns, not splits)))
        assert rest == {offset: one for offset, one in both.items() if offset >= committed.offset}


@settings(max_examples=examples(60))
@given(steps, rules, rules, st.sampled_from([COLUMNS, WIDE]), st.integers(1, 3), st.integers(10, 40))
def test_every_tick_is_accounted_for_whosoever_it_is(given_steps, first, second, columns, max_symbols, reach):
    """Also where bundles take the place of each other's symbols."""
    cluster = _cluster(given_steps)
    models = [{**MODELS[0], "symbols": ["A"]}, MODELS[1]]
    config = config_with(models=models, recovery={"replay_records_max": reach, "max_symbols": max_symbols})
    engines = [_named(engine, name, symbols=("A", "B")) for engine, name in
               zip(_engines(first, second, columns, True), "ab", strict=True)]  # fmt: skip
    line = _line(config, cluster, engines)
    forecasts = _run(line)
    outputs = MemoryCluster()
    for topic, value, key, headers in line.client.sent:
        partition = Partition(topic, 0)
        outputs.append(partition, value, key)
        outputs.topics[partition][-1] = msgspec.structs.replace(outputs.topics[partition][-1], headers=headers)
    account = audit.audit(
        config,
        [engine.bundle.manifest for engine in engines],
        {INPUT: OffsetRange(0, cluster.end(INPUT))},
        cluster.topics[INPUT],
        outputs.topics[Partition("forecasts", 0)],
        outputs.topics[Partition("dead-letters", 0)],
    )[INPUT]
    assert account.adds_up, account
    assert (account.ticks, account.forecasts) == (len(given_steps), len(forecasts))
    symbols = [symbol for _, symbol, *_ in given_steps]
    assert account.skipped_by_reason.get("no_model", 0) == symbols.count("C")
    assert account.skipped_by_reason.get("untrained", 0) == symbols.count("A1")
    assert max(len(state.windows) for state in line.ownership.states.values()) <= max_symbols


@settings(max_examples=examples(60))
@given(steps, st.integers(2, 4), st.integers(2, 4), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_in_the_mode_carried_too(given_steps, first, second, interval, other_interval, folds):
    """States of bundles that start anew at different intervals."""
    config = _config(MODELS, inference={"mode": "carried"})
    kinds = ((first, interval, "a"), (second, other_interval, "b"))

    def made() -> list[model.Model]:
        engines = [_named(ToyEngine(WindowRules(window=window), COLUMNS), name, carried=certificate(stretch))
                   for window, stretch, name in kinds]  # fmt: skip
        return [model_of(engine, ToyCarried(engine, folds)) for engine in engines]

    def run(entries: list[int], cluster: MemoryCluster) -> dict[int, records.Forecast]:
        chosen = config.model_copy(update={"models": tuple(config.models[entry] for entry in entries)})
        parts = [made()[entry] for entry in entries]
        return _run(Line(chosen, MemoryClient(cluster, [INPUT]), parts))

    cluster = _cluster(given_steps)
    both = run([0, 1], cluster)
    second_alone = {at: one for at, one in run([1], _cluster(given_steps)).items() if one.symbol == "B"}
    assert both == run([0], _cluster(given_steps)) | second_alone
    commits = [commit[INPUT] for commit in cluster.commits]
    for committed in commits[:: max(1, len(commits) // 3)]:
        again = _cluster(given_steps)
        again.committed[INPUT] = committed
        assert run([0, 1], again) == {at: one for at, one in both.items() if at >= committed.offset}


def _tick(cluster: MemoryCluster, milliseconds: int, symbol: str) -> None:
    tick = {"symbol": symbol, "event_time_ns": START_NS + milliseconds * 1_000_000, "value": milliseconds}
    cluster.append(INPUT, msgspec.json.encode(tick))


def _shown(line: Line) -> list[tuple[str, ...]]:
    samples = BoardReader(line.board.fd).samples()
    return sorted(s.labels[0] for s in samples if s.metric.name == "tickcast_model_info" and s.values[0] == 1)


@pytest.mark.parametrize("window", [3, 5])
def test_one_of_two_bundles_is_swapped_and_the_other_goes_on(window):
    """With what it had prepared, where windows go on; from windows read again where they do not."""
    cluster, rules_ = MemoryCluster(), WindowRules(window=3)
    for milliseconds in range(20):
        _tick(cluster, milliseconds, "AB"[milliseconds % 2])
    config = _config([MODELS[0], {**MODELS[1], "symbols": ["B"]}], records_max=50)
    line = _line(config, cluster, _engines(rules_, rules_, COLUMNS, True))
    line.turn(4)
    first, _ = line.assembly.models.each
    other = model_of(_named(ToyEngine(WindowRules(window=window), COLUMNS), "c"))
    swapped = line.assembly.swap(model.together(config, [first, other]))
    assert swapped.windows_go_on == (window == 3)
    assert _shown(line) == ["a", "c"]
    line.turn(4)
    for milliseconds in range(20, 22):
        _tick(cluster, milliseconds, "AB"[milliseconds % 2])
    line.turn(3)
    found = _forecasts(line.client)
    assert [(found[at].symbol, found[at].bundle.name) for at in (18, 19, 20, 21)] == [
        ("A", "a"), ("B", "b"), ("A", "a"), ("B", "c")]  # fmt: skip
    assert (found[20].path, found[21].path) == ("finish" if window == 3 else "window", "window")
    line.close()


def test_symbols_of_all_bundles_count_for_how_many_are_remembered():
    """Whoever was silent longest goes, whichever bundle's it is."""
    config = config_with(models=MODELS, recovery={"max_symbols": 2})
    cluster = MemoryCluster()
    line = _line(config, cluster, _engines(WindowRules(window=2), WindowRules(window=2), COLUMNS, True))
    for milliseconds, symbol in enumerate(("A", "B", "A", "A2")):  # B goes for A2
        _tick(cluster, milliseconds, symbol)
    line.turn(2)
    windows = line.ownership.states[INPUT].windows
    assert [symbol for symbol in ("A", "A2", "B") if symbol in windows] == ["A", "A2"]
    assert (len(windows), line.value("tickcast_symbols_evicted_total")) == (2, 1)
    _tick(cluster, 9, "B")
    line.turn()
    assert [symbol for symbol in ("A", "A2", "B") if symbol in windows] == ["A2", "B"]
    line.close()


def test_windows_given_back_are_let_go_at_once():
    """No circle of references keeps the slots of their rows until a garbage collection."""
    cluster = MemoryCluster()
    for milliseconds in range(20):
        _tick(cluster, milliseconds, "AB"[milliseconds % 2])
    line = _line(_config(MODELS), cluster, _engines(WindowRules(window=2), WindowRules(window=2), COLUMNS, True))
    line.turn(6)
    gone = [weakref.ref(windows) for windows in line.ownership.states[INPUT].windows.by_model]
    for answering in line.assembly._answerings.each:
        for watcher in answering.watchers:
            watcher.flush()
    gc.disable()
    line.ownership.revoked([INPUT])
    assert [each() for each in gone] == [None, None]
    gc.enable()
    line.close()


def test_the_tape_says_of_each_tick_which_bundle_s_it_is():
    cluster = MemoryCluster()
    for milliseconds in range(20):
        _tick(cluster, milliseconds, "AB"[milliseconds % 2])
    line = _line(_config(MODELS), cluster, _engines(WindowRules(window=2), WindowRules(window=2), COLUMNS, True))
    line.turn(8)
    reader = TapeReader(line.tape.fd)
    told = reader.model()
    assert [each["name"] for each in (told, *told["others"])] == ["a", "b"]
    assert {(entry.symbol, entry.place) for entry in reader.read(Place()).entries} == {("A", 0), ("B", 1)}
    line.close()
