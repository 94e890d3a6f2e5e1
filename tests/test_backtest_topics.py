"""Topics answered once more: each offset by the bundle in force there, as if it had answered all the time."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from factories import manifest_with
from golden_forecast import FORECAST
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with, window_rules
from rich.console import Console
from test_control_topic import control
from thorough import examples
from tickcast import (
    backtest_output,
    backtest_run,
    backtest_topics,
    bundles_at_hand,
    in_force,
    in_force_topics,
    manifest,
    records,
)
from tickcast.backtest_answers import Answered
from tickcast.backtest_topics import Answer, Rows, TopicsBacktest
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.config import Config
from tickcast.errors import UsageError
from tickcast.in_force import InForce, Segment, Stretch
from tickcast.manifest import MANIFEST_NAME, WindowRules
from topic_log import TopicLog
from toy_engine import ToyEngine

P0, P1 = Partition("ticks", 0), Partition("ticks", 1)
FIRST, SECOND, THIRD = (letter * 64 for letter in "abc")
START_NS = 1_700_000_000_000_000_000
R = 12


class Louder(ToyEngine):
    """The toy, so many times as loud: a bundle of its own."""

    def __init__(self, rules: WindowRules, sha256: str, times: float) -> None:
        super().__init__(rules, ("value",), splits=False)
        self.bundle = replace(self.bundle, sha256=sha256)
        self._times = np.float32(times)

    def window(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._times * super().window(rows)


def config_of() -> Config:
    limits = {"replay_records_max": R, "max_symbols": 2}
    return config_with(recovery=limits, inference={"finish_path": False, "threads": 1})


def cluster_of(ticks: Sequence[tuple[str, int, int]]) -> MemoryCluster:
    """Ticks of two partitions: symbol, time since the one before, value."""
    cluster, time_ns = MemoryCluster(), START_NS
    for number, (symbol, elapsed_ms, value) in enumerate(ticks):
        time_ns += elapsed_ms * 1_000_000
        book = {"symbol": symbol, "event_time_ns": time_ns, "value": float(value)}
        cluster.append((P0, P1)[number % 2], b"{" if value == 9 else msgspec.json.encode(book), symbol.encode())
    return cluster


def published(cluster: MemoryCluster, engine: ToyEngine) -> dict[tuple[Partition, int], list[float]]:
    """What a daemon with this bundle makes of everything."""
    client = MemoryClient(cluster, [P0, P1])
    line = Line(config_of(), client, engine)
    line.turn(3)
    line.close()
    sent = [records.decode(value or b"") for topic, value, _, _ in client.sent if topic == "forecasts"]
    return {(Partition(each.topic, each.partition), each.offset): each.forecast for each in sent}


steps = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(-1, 4), st.integers(0, 9)), min_size=2, max_size=60)


@settings(max_examples=examples(200), deadline=None)
@given(steps, window_rules(gap_s=0.003), window_rules(gap_s=0.003), st.tuples(*[st.integers(0, 30)] * 4))
def test_each_offset_has_the_forecast_of_the_bundle_in_force_there(ticks, first_rules, second_rules, starts):
    """Also where windows rest on no more than R offsets, and the two bundles' rules differ."""
    cluster = cluster_of(ticks)
    engines = {FIRST: Louder(first_rules, FIRST, 1), SECOND: Louder(second_rules, SECOND, 10)}
    ends = {partition: cluster.end(partition) for partition in (P0, P1) if cluster.end(partition)}
    held = {partition: OffsetRange(0, end) for partition, end in ends.items()}
    to_second, back = (starts[0], starts[1]), (starts[0] + starts[2], starts[1] + starts[3])
    table = InForce(
        {
            p: [Stretch(0, to_second[n], FIRST), Stretch(to_second[n], back[n], SECOND), Stretch(back[n], None, FIRST)]
            for n, p in enumerate((P0, P1))
        },
        [],
    )
    cut = {partition: in_force.segments([table], partition, each) for partition, each in held.items()}
    wanted = {}
    whole = {sha256: published(cluster, engine) for sha256, engine in engines.items()}
    for partition, segments in cut.items():
        for first, end, (sha256,) in segments:
            made = [((partition, at), whole[str(sha256)].get((partition, at))) for at in range(first, end)]
            wanted |= {where: (sha256, values) for where, values in made if values is not None}
    with closing(TopicsBacktest(config_of(), cut, held, lambda name: engines[name])) as answering:  # type: ignore[arg-type, return-value]
        found = found_by(answering, cluster, cut)
    assert found == wanted
    assert sum(answering.fates.values()) == sum(ends.values())
    assert answering.fates["forecast"] == len(wanted)


def found_by(answering: TopicsBacktest, cluster: MemoryCluster, cut: dict[Partition, list[Segment]]) -> dict[Any, Any]:
    """(partition, offset) -> (sha256, forecast)."""
    found, rows = {}, Rows(answering.bundles, leaning=False)
    for partition in cut:
        first, end = answering.range_of(partition)
        read = [record for record in cluster.topics[partition] if first <= record.offset < end]
        for answers in answering.answers(partition, read):
            if answers:
                made, sources = rows.of(answers, partition)
                assert (np.diff(made.offsets) > 0).all()
                columns = (made.offsets.tolist(), sources.bundles.tolist(), made.forecasts.tolist())
                for offset, sha256, forecast in zip(*columns, strict=True):
                    found[partition, offset] = (sha256, forecast)
    return found


def test_no_more_is_read_than_windows_can_rest_on():
    table = InForce({}, [Stretch(0, None, FIRST)])
    cut = {P0: in_force.segments([table], P0, OffsetRange(100, 200))}
    engine = Louder(WindowRules(window=2), FIRST, 1)
    for oldest, first in ((0, 100 - R), (95, 95)):
        held = {P0: OffsetRange(oldest, 200)}
        with closing(TopicsBacktest(config_of(), cut, held, lambda name: engine)) as answering:  # type: ignore[arg-type, return-value]
            assert answering.range_of(P0) == OffsetRange(first, 200)


def test_every_offset_without_a_bundle_is_refused_at_once():
    cut = {P1: [Segment(0, 10, (None, FIRST)), Segment(10, 20, (SECOND, THIRD))], P0: [Segment(0, 5, (FIRST, FIRST))]}
    with pytest.raises(UsageError) as refused:
        backtest_topics.check(cut, [FIRST, SECOND])
    assert str(refused.value).splitlines() == [
        "ticks/1, offsets 0 to 9, models.0: which bundle was in force is told nowhere any more",
        f"ticks/1, offsets 10 to 19, models.1: bundle {THIRD} is not at hand: name a folder with it, --bundles FOLDER",
    ]
    backtest_topics.check({P0: cut[P0]}, [FIRST])


def test_rows_of_bundles_with_other_horizons_and_windows_share_a_file(tmp_path: Path):
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    short: Any = SimpleNamespace(manifest=manifest_with(horizons=(1, 2)), sha256=FIRST)
    long: Any = SimpleNamespace(manifest=manifest_with(horizons=(2, 5), rules=WindowRules(window=6)), sha256=SECOND)
    rows = Rows([short, long], leaning=True)

    def answered(offset: int, values: list[float], weights: list[float]) -> Answered:
        columns = (np.array(["A"], np.object_), *(np.array([offset]) for _ in range(2)), np.array([1.5]), np.array([0]))
        return Answered(*columns, np.array([values], np.float32), np.array([weights], np.float32).reshape(1, -1))

    answers = [
        Answer((FIRST,), 0, answered(8, [1, 2], [0.5, 0.25, 0.125, 0.125])),
        Answer((SECOND,), 0, answered(7, [3, 4], [])),
        Answer((FIRST,), 0, answered(9, [np.nan, 2], [0.5, 0.25, 0.125, 0.125])),
    ]
    made, sources = rows.of(answers, P1)
    for name in ("f.parquet", "f.csv"):
        with backtest_output.opened(tmp_path / name, rows.layout) as writer:
            writer.write(made, sources)
    table = __import__("pyarrow.parquet").parquet.read_table(tmp_path / "f.parquet").to_pylist()
    told = {"symbol": "A", "reference_mid": 1.5, "topic": "ticks", "partition": 1}
    assert table == [
        told | {"event_time_ns": 7, "offset": 7, "bundle": SECOND, "h1": None, "h2": 3, "h5": 4, "attention": None},
        told
        | {"event_time_ns": 8, "offset": 8, "bundle": FIRST, "h1": 1, "h2": 2, "h5": None}
        | {"attention": [0.5, 0.25, 0.125, 0.125]},
    ]
    assert (tmp_path / "f.csv").read_text().splitlines() == [
        "symbol,event_time_ns,offset,reference_mid,topic,partition,bundle,h1,h2,h5,attention",
        f"A,7,7,1.5,ticks,1,{SECOND},,3,4,",
        f'A,8,8,1.5,ticks,1,{FIRST},1,2,,"[0.5,0.25,0.125,0.125]"',
    ]


class Reader(TopicLog):
    """A cluster in memory, where a real one would be asked."""

    def __init__(self, kafka: object) -> None:
        super().__init__()
        self.cluster.topics[P0] = []
        self.cluster.topics[Partition("forecasts", 0)] = []

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def test_where_there_is_nothing_to_answer_a_file_of_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out, (folder, _) = tmp_path / "f.csv", bundle(tmp_path, "live")
    out.write_text("of yesterday")
    monkeypatch.setattr(backtest_run, "TopicReader", Reader)
    config = config_with(models=[{"bundle": str(folder)}])
    with pytest.raises(UsageError, match="nothing to answer"):
        backtest_run.of_topics(config, {}, "answered", (), None, None, out, Console())
    assert out.read_text() == "of yesterday"


# -- which bundle was in force, as topics tell it


def bundle(folder: Path, name: str) -> tuple[Path, str]:
    (folder / name).mkdir(parents=True)
    sealed = manifest.sealed(manifest_with(name=name))
    (folder / name / MANIFEST_NAME).write_text(sealed.model_dump_json())
    return folder / name, manifest.read(folder / name)[1]


def test_the_control_topic_tells_of_entries_that_were_switched_and_the_configuration_of_all_others(tmp_path: Path):
    first, (second, sha256) = bundle(tmp_path, "first"), bundle(tmp_path, "second")
    entries = [{"bundle": str(first[0]), "symbols": ["A"]}, {"bundle": str(second)}]
    switched, configured = in_force_topics.wanted(
        config_with(models=entries), {"group/A": control([FIRST, SECOND, THIRD], "group/A")}
    )
    assert [each.sha256 for each in switched.stretches(P0)] == [FIRST, SECOND, THIRD]
    assert configured.stretches(P1) == [Stretch(0, None, sha256)]


def test_forecasts_tell_for_each_entry_which_bundle_answered(tmp_path: Path):
    config = config_with(models=[{"bundle": "a", "symbols": ["A*"]}, {"bundle": "b"}])
    sent = [("A1", 3, FIRST), ("A2", 7, SECOND), ("B", 5, THIRD)]
    forecasts = [
        Record(Partition("forecasts", 0), 0, 0, None, forecast(*each), records.source_headers(P0, each[1]))
        for each in sent
    ]
    otherwise = [InForce({}, [Stretch(0, None, "x")]), InForce({}, [Stretch(0, None, "y")])]
    ours, theirs = in_force_topics.answered(config, forecasts, otherwise)
    assert ours.stretches(P0) == [Stretch(0, 7, FIRST), Stretch(7, None, SECOND)]
    assert theirs.stretches(P0) == [Stretch(0, None, THIRD)]
    assert (ours.at(P1, 0), theirs.at(P1, 0)) == ("x", "y")


def test_before_the_oldest_forecast_kept_the_control_topic_tells():
    """The input topic is kept for longer than the output: what was promoted meanwhile did not answer all of it."""
    told = InForce({P0: [Stretch(0, 40, FIRST), Stretch(40, None, SECOND)]}, [Stretch(0, None, SECOND)])
    at_90 = Record(Partition("forecasts", 0), 0, 0, None, forecast("A", 90, THIRD), records.source_headers(P0, 90))
    (found,) = in_force_topics.answered(config_of(), [at_90], [told])
    assert found.stretches(P0) == [Stretch(0, 40, FIRST), Stretch(40, 90, SECOND), Stretch(90, None, THIRD)]
    assert found.at(P1, 0) == SECOND


def test_a_record_that_is_no_forecast_is_named():
    strange = [
        Record(Partition("forecasts", 1), 7, 0, None, b"{}", headers) for headers in ((), records.source_headers(P0, 3))
    ]
    for record in strange:
        with pytest.raises(UsageError, match=r"forecasts/1, offset 7: no record"):
            in_force_topics.answered(config_of(), [record], [InForce({}, [Stretch(0, None, FIRST)])])


def forecast(symbol: str, offset: int, sha256: str) -> bytes:
    named = records.BundleName("n", "1", sha256)
    return records.encode(msgspec.structs.replace(FORECAST, symbol=symbol, offset=offset, bundle=named))


def test_bundles_are_found_in_folders_of_them_and_in_the_configuration(tmp_path: Path):
    inner, own, shadow = (bundle(tmp_path / place, place) for place in ("archive", "own", "shadow"))
    (tmp_path / "archive" / "notes.txt").write_text("no bundle")
    entries = [{"bundle": str(own[0]), "shadow": str(shadow[0])}]
    found = bundles_at_hand.find(config_with(models=entries), [tmp_path / "archive"])
    assert found == {sha256: folder for folder, sha256 in (inner, own, shadow)}
    away = bundles_at_hand.find(config_with(models=[{"bundle": str(tmp_path / "away")}]), [inner[0]])
    assert away == {inner[1]: inner[0]}
    for folder in (tmp_path, tmp_path / "away"):
        with pytest.raises(UsageError, match="--bundles"):
            bundles_at_hand.find(config_with(), [folder])
