"""What the loop leaves on the tape and in the scores, beside what it sent."""

import math
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, models_of
from tickcast import records
from tickcast.board_reader import BoardReader
from tickcast.clients import Partition
from tickcast.manifest import WindowRules
from tickcast.tape_reader import Place, TapeReader
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
RULES = WindowRules(window=3)
START_NS = 1_700_000_000_000_000_000


def _engine(rules: WindowRules = RULES) -> ToyEngine:
    engine = ToyEngine(rules, ("bid", "ask"))
    manifest = engine.bundle.manifest.model_copy(update={"reference_columns": ("bid", "ask"), "horizons": (1, 2)})
    engine.bundle = replace(engine.bundle, manifest=manifest)
    return engine


def _write(cluster: MemoryCluster, count: int, symbols: str = "AB") -> None:
    for number in range(count):
        tick = {
            "symbol": symbols[number % len(symbols)],
            "event_time_ns": START_NS + number,
            "bid": float(number),
            "ask": float(number + 1),
        }
        cluster.append(INPUT, msgspec.json.encode(tick), key=b"k")


@pytest.fixture
def line() -> Iterator[Line]:
    cluster = MemoryCluster()
    _write(cluster, 40)
    line = Line(config_with(), MemoryClient(cluster, [INPUT]), _engine())
    yield line
    line.close()


def _sent(line: Line) -> list[records.Forecast]:
    return [records.decode(value) for topic, value, _, _ in line.client.sent if topic == "forecasts" and value]


def test_the_tape_holds_what_was_sent(line: Line) -> None:
    line.turn(3)
    entries = TapeReader(line.tape.fd).read(Place()).entries
    sent = _sent(line)
    assert len(sent) > 20
    assert [(e.symbol, e.event_time_ns, e.mid, e.path) for e in entries] == [
        (f.symbol, f.event_time_ns, f.reference_mid, f.path) for f in sent
    ]
    np.testing.assert_allclose([e.forecast for e in entries], [f.forecast for f in sent], rtol=1e-6)
    assert [e.received_ns for e in entries] == [f.received_time_ns for f in sent]


def test_a_mid_beyond_all_numbers_is_none() -> None:
    cluster = MemoryCluster()
    _write(cluster, 8, "A")
    huge = {"symbol": "A", "event_time_ns": START_NS + 8, "bid": 1.7e308, "ask": 1.7e308}
    cluster.append(INPUT, msgspec.json.encode(huge), key=b"k")
    line = Line(config_with(), MemoryClient(cluster, [INPUT]), _engine())
    with np.errstate(all="ignore"):  # the toy's own arithmetic
        line.turn(3)
    assert TapeReader(line.tape.fd).read(Place()).entries[-1].mid is None
    line.close()


def test_positions_of_a_symbol_follow_each_other(line: Line) -> None:
    line.turn(3)
    entries = TapeReader(line.tape.fd).read(Place()).entries
    positions = [entry.position for entry in entries if entry.symbol == "A"]
    assert positions == list(range(positions[0], positions[0] + len(positions)))


def test_every_forecast_whose_tick_has_come_is_scored(line: Line) -> None:
    line.turn(3)
    sent = _sent(line)
    mids = {symbol: [f.reference_mid for f in sent if f.symbol == symbol] for symbol in "AB"}
    made = {symbol: [f.forecast for f in sent if f.symbol == symbol] for symbol in "AB"}
    for column, horizon in enumerate((1, 2)):
        changes = [
            (then, mid, forecast[column])
            for symbol in "AB"
            for then, mid, forecast in zip(mids[symbol], mids[symbol][horizon:], made[symbol], strict=False)
        ]
        assert line.value("tickcast_forecasts_scored_total", str(horizon)) == len(changes)
        scale = line.assembly.models.manifests[0].target_scale
        squared = sum(((mid - then - forecast) / scale) ** 2 for then, mid, forecast in changes)
        assert line.value("tickcast_forecast_squared_error_total", str(horizon)) == pytest.approx(squared, rel=1e-5)


def test_ticks_that_are_not_answered_still_tell_what_happened() -> None:
    cluster = MemoryCluster()
    _write(cluster, 40, "A")
    line = Line(
        config_with(lag={"on_lag": "latest"}, kafka={"poll_records_max": 8}), MemoryClient(cluster, [INPUT]), _engine()
    )
    line.turn(12)
    entries = TapeReader(line.tape.fd).read(Place()).entries
    sent = _sent(line)
    line.close()
    assert len(sent) < 10
    assert len([entry for entry in entries if entry.forecast]) == len(sent)
    assert [entry.mid for entry in entries] == [number + 0.5 for number in range(4, 40)]  # the fifth fills a window


def test_another_model_begins_a_tape_of_its_own(line: Line) -> None:
    line.turn(3)
    before = len(_sent(line))
    other = _engine(WindowRules(window=5))
    line.assembly.swap(models_of(line.config, other))
    reader = TapeReader(line.tape.fd)
    assert reader.model()["window"] == 5
    assert reader.read(Place()).entries == []
    _write(line.client.cluster, 20)
    line.turn(4)
    assert len(reader.read(Place()).entries) == len(_sent(line)) - before == 20


def _drift(line: Line) -> dict[str, float]:
    """Column -> its index, and `ticks`; nothing where there is none."""
    samples = [each for each in BoardReader(line.board.fd).samples() if "feature_drift" in each.metric.name]
    return {(*each.labels, "ticks")[1]: each.values[0] for each in samples if not math.isnan(each.values[0])}


@pytest.fixture
def watched() -> Iterator[Line]:
    """Bids as they were in training, asks from elsewhere."""
    cluster = MemoryCluster()
    _write(cluster, 600)
    engine = _engine()
    quantiles = {"bid": tuple(range(0, 601, 30)), "ask": tuple(range(900, 1_501, 30))}
    manifest = engine.bundle.manifest.model_copy(update={"reference_quantiles": quantiles})
    engine.bundle = replace(engine.bundle, manifest=manifest)
    line = Line(config_with(), MemoryClient(cluster, [INPUT]), engine)
    line.turn(12)
    yield line
    line.close()


def test_what_was_answered_is_held_against_the_training(watched: Line) -> None:
    found = _drift(watched)
    assert found["bid"] < 0.1
    assert found["ask"] > 1
    assert 0 < found["ticks"] <= len(_sent(watched))


def test_a_partition_that_is_lost_is_held_against_nothing_any_more(watched: Line) -> None:
    watched.ownership.lost([INPUT])
    assert _drift(watched) == {}


def test_a_bundle_that_is_swapped_for_another_shows_no_drift_any_more(watched: Line) -> None:
    watched.assembly.swap(models_of(watched.config, _engine(WindowRules(window=5))))
    assert _drift(watched) == {}
