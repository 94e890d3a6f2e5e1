"""Bands on the whole way of a tick, over the in-memory Kafka: the same ones whatever the polls and the paths."""

import dataclasses

import msgspec
import numpy as np
import pytest
from band_feeds import bands_of
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from tickcast import records
from tickcast.clients import Partition
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
COLUMNS = ("bid", "ask")
SYMBOLS = "ABC"
HORIZONS = (1, 3)
BANDS = bands_of(np.abs(np.random.default_rng(1).normal(size=(4_000, 2))) * 100)
RULES = WindowRules(window=4)


def _cluster(ticks: int) -> MemoryCluster:
    cluster, random = MemoryCluster(), np.random.default_rng(3)
    for at in range(ticks):
        bid = round(float(100 + random.normal()), 2)
        tick = {"symbol": SYMBOLS[random.integers(3)], "event_time_ns": at, "bid": bid, "ask": bid + 1}
        cluster.append(INPUT, msgspec.json.encode(tick), key=b"k")
    return cluster


def _engine(splits: bool, banded: bool = True) -> ToyEngine:
    engine = ToyEngine(RULES, COLUMNS, splits)
    changes = {"reference_columns": COLUMNS, "horizons": HORIZONS, "bands": BANDS if banded else None}
    manifest = engine.bundle.manifest.model_copy(update=changes)
    engine.bundle = dataclasses.replace(engine.bundle, manifest=manifest)
    return engine


def _published(line: Line) -> dict[int, records.Forecast]:
    while (state := line.ownership.states.get(INPUT)) is None or state.position < line.client.cluster.end(INPUT):
        line.turn()
    line.turn(3)
    found = [records.decode(value) for topic, value, _, _ in line.client.sent if topic == "forecasts"]
    line.close()
    return {forecast.offset: forecast for forecast in found}


def _run(cluster: MemoryCluster, records_max: int, engine: ToyEngine, **sections) -> dict[int, records.Forecast]:
    config = config_with(kafka={"poll_records_max": records_max}, **sections)
    return _published(Line(config, MemoryClient(cluster, [INPUT]), engine))


def _trickled(cluster: MemoryCluster, engine: ToyEngine) -> dict[int, records.Forecast]:
    """Each tick by itself, with time for carries between."""
    slow = MemoryCluster()
    line = Line(config_with(), MemoryClient(slow, [INPUT]), engine)
    for record in cluster.topics[INPUT]:
        slow.append(INPUT, record.value, record.key)
        line.turn(2)
    return _published(line)


def test_every_forecast_has_bands_and_they_are_the_same_on_either_path_and_in_polls_of_any_size():
    cluster = _cluster(400)
    wanted = _trickled(cluster, _engine(splits=True))
    assert len(wanted) == 400 - len(SYMBOLS) * (RULES.window + 1)
    assert {f.path for f in wanted.values()} == {"finish", "window"}
    assert len({tuple(f.bands.half_widths) for f in wanted.values() if f.bands}) > 5  # they move
    for records_max, splits in ((7, True), (400, False), (60, True)):
        cluster.committed.clear()
        found = _run(cluster, records_max, _engine(splits))
        assert found.keys() == wanted.keys()
        for offset, forecast in found.items():
            assert forecast.bands is not None
            assert forecast.bands.level == 0.9
            assert forecast.bands.half_widths == pytest.approx(wanted[offset].bands.half_widths, rel=1e-12)


def test_a_bundle_without_bands_makes_forecasts_without():
    assert {f.bands for f in _run(_cluster(60), 10, _engine(splits=True, banded=False)).values()} == {None}


def test_of_a_backlog_what_is_not_answered_still_shows_how_far_off_the_answers_were():
    cluster = _cluster(900)
    found = _run(cluster, 30, _engine(splits=False), lag={"on_lag": "latest"})
    assert len(found) < 200
    assert len({tuple(f.bands.half_widths) for f in found.values() if f.bands}) > 5


def test_after_a_restart_bands_begin_with_the_exports_and_it_is_counted():
    cluster = _cluster(600)
    line = Line(config_with(), MemoryClient(cluster, [INPUT]), _engine(splits=True))
    before = _published(line)
    for at in range(30):
        tick = {"symbol": "A", "event_time_ns": 600 + at, "bid": 1.0, "ask": 2.0}
        cluster.append(INPUT, msgspec.json.encode(tick), key=b"k")
    restarted = Line(config_with(), MemoryClient(cluster, [INPUT]), _engine(splits=True))
    restarted.turn(3)
    assert restarted.value("tickcast_bands_begun_total") == 1
    after = _published(restarted)
    first, newest = after[600], before[max(offset for offset, f in before.items() if f.symbol == "A")]
    assert first.bands is not None
    assert newest.bands is not None
    assert first.bands != newest.bands
    assert first.bands == next(iter(before.values())).bands


def test_what_became_of_forecasts_with_bands_is_counted():
    line = Line(config_with(), MemoryClient(_cluster(600), [INPUT]), _engine(splits=False))
    while not line.value("tickcast_forecasts_banded_total", "1"):
        line.turn()
    seen, covered = (line.value(f"tickcast_forecasts_{each}_total", "1") for each in ("banded", "covered"))
    assert 0 < covered <= seen
    line.close()
