"""A second bundle on the same windows: right where it answers, behind everybody else, and nobody's trouble."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pipelines
import pytest
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with
from tickcast import records, shadow
from tickcast.board_reader import BoardReader
from tickcast.clients import Partition
from tickcast.manifest import WindowRules
from tickcast.model import Model
from tickcast.records import Forecast
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
RULES = WindowRules(window=3)
COLUMNS = ("bid", "ask")
START_NS = 1_700_000_000_000_000_000
SHADOW_SHA256 = "5" * 64
PATIENCE = 2_000


class Other(ToyEngine):
    """Another bundle: other weights, other features, other horizons."""

    def __init__(self) -> None:
        super().__init__(RULES, COLUMNS, splits=False)
        self.fails = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        manifest = self.bundle.manifest.model_copy(
            update={"name": "other", "horizons": (1, 2), "reference_columns": COLUMNS}
        )
        self.bundle = replace(self.bundle, manifest=manifest, sha256=SHADOW_SHA256)
        self._weights = self._weights**2

    def features(self, pairs: NDArray[np.float64]) -> NDArray[np.float32]:
        assert self.may_go_on.wait(10)
        if self.fails:
            raise MemoryError("no room")
        return (3 * pairs[:, 1]).astype(np.float32)


def answering() -> ToyEngine:
    """The bundle in force."""
    engine = ToyEngine(RULES, COLUMNS)
    manifest = engine.bundle.manifest.model_copy(update={"reference_columns": COLUMNS})
    engine.bundle = replace(engine.bundle, manifest=manifest)
    return engine


def write(cluster: MemoryCluster, count: int, symbols: str = "ABA") -> None:
    """Ticks, each at a price of its own."""
    begin = cluster.end(INPUT)
    for number in range(begin, begin + count):
        book = {"bid": float(number), "ask": float(number + 1)}
        tick = {"symbol": symbols[number % len(symbols)], "event_time_ns": START_NS + number, **book}
        cluster.append(INPUT, msgspec.json.encode(tick), key=b"k")


class Shadowed(Line):
    """A pipeline with a shadow, whose thread is waited for where a test says so."""

    def __init__(self, cluster: MemoryCluster, **sections: object) -> None:
        client = MemoryClient(cluster, [INPUT])
        models = [{"bundle": "bundle", "shadow": "other"}]
        super().__init__(config_with(models=models, **sections), client, answering())

    def settle(self) -> None:
        """Until the shadow has nothing left to do."""
        for _ in range(PATIENCE):
            self.clock.advance(0.1)
            self.turn(1)
            watcher = self.watcher
            if watcher._working is not None:
                watcher._working.exception(timeout=10)
            elif not watcher._outgoing and not watcher._waiting:
                return
        pytest.fail("the shadow goes on and on")

    @property
    def watcher(self) -> shadow.Shadow:
        _, watcher = self.assembly._answerings.each[0].watchers
        assert isinstance(watcher, shadow.Shadow)
        return watcher

    def sent(self, topic: str) -> list[Forecast]:
        return [records.decode(value) for name, value, _, _ in self.client.sent if name == topic and value]

    def total(self, metric: str) -> float:
        return sum(each.values[0] for each in BoardReader(self.board.fd).samples() if each.metric.name == metric)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Other:
    """The shadow's engine, beside every model that a line is made of."""
    engine = Other()
    monkeypatch.setattr(pipelines, "model_of", lambda made, carried=None: Model(made, carried, (), engine))
    return engine


@pytest.fixture
def make(other: Other) -> Iterator[Callable[..., Shadowed]]:
    lines: list[Shadowed] = []

    def made(cluster: MemoryCluster, **sections: object) -> Shadowed:
        lines.append(Shadowed(cluster, **sections))
        return lines[-1]

    yield made
    for line in lines:
        line.close()


def by_hand(cluster: MemoryCluster, offset: int) -> list[float]:
    """What `Other` says of the tick there."""
    ticks = [msgspec.json.decode(record.value or b"") for record in cluster.topics[INPUT][: offset + 1]]
    own = [tick for tick in ticks if tick["symbol"] == ticks[offset]["symbol"]][-RULES.window :]
    value = sum(3 * (tick["bid"] + tick["ask"]) * age**2 for age, tick in enumerate(own, 1))
    return [value, -value]


def test_it_answers_what_was_answered_on_the_same_windows_to_its_own_topic(make: Callable[..., Shadowed]) -> None:
    cluster = MemoryCluster()
    write(cluster, 400)
    line = make(cluster)
    line.settle()
    answered, shadowed = line.sent("forecasts"), line.sent("forecasts-shadow")
    assert [each.offset for each in shadowed] == [each.offset for each in answered]
    for ours, theirs in zip(shadowed, answered, strict=True):
        assert ours.forecast == pytest.approx(by_hand(cluster, ours.offset), rel=1e-6)
        assert (ours.symbol, ours.reference_mid, ours.event_time_ns) == (
            theirs.symbol,
            theirs.reference_mid,
            theirs.event_time_ns,
        )
        assert ours.bundle.sha256 == SHADOW_SHA256 != theirs.bundle.sha256
    sources = [records.source_of(headers) for topic, _, _, headers in line.client.sent if topic == "forecasts-shadow"]
    assert sources == [(INPUT, each.offset) for each in answered]
    assert line.total("tickcast_shadow_forecasts_total") == len(shadowed)
    assert line.total("tickcast_shadow_dropped_ticks_total") == 0


def test_it_is_scored_beside_the_other(make: Callable[..., Shadowed]) -> None:
    cluster = MemoryCluster()
    write(cluster, 300)
    line = make(cluster)
    line.settle()
    assert line.total("tickcast_shadow_forecasts_scored_total") == line.total("tickcast_forecasts_scored_total") > 0
    of_persistence = line.total("tickcast_persistence_squared_error_total")
    assert line.total("tickcast_shadow_persistence_squared_error_total") == of_persistence
    assert line.total("tickcast_shadow_squared_error_total") > line.total("tickcast_forecast_squared_error_total") > 0


def test_what_it_does_not_keep_up_with_is_dropped_and_its_windows_fill_anew(
    make: Callable[..., Shadowed], other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "WAITING_MAX", 40)
    cluster = MemoryCluster()
    line = make(cluster, kafka={"poll_records_max": 30})
    write(cluster, 30)
    line.settle()
    other.may_go_on.clear()
    write(cluster, 120)
    line.turn(
        5
    )  # the first poll is worked off for long; of those behind it only one finds room, between two that do not
    other.may_go_on.set()
    line.settle()
    for _ in range(2):
        write(cluster, 30)
        line.settle()
    answered, shadowed = line.sent("forecasts"), line.sent("forecasts-shadow")
    dropped = line.total("tickcast_shadow_dropped_ticks_total")
    assert dropped > 0
    for each in shadowed:
        assert each.forecast == pytest.approx(by_hand(cluster, each.offset), rel=1e-6)
    refilling = len(answered) - len(shadowed) - dropped
    assert 0 < refilling <= 2 * len("AB") * (RULES.window - 1)
    assert [each.offset for each in shadowed[-20:]] == [each.offset for each in answered[-20:]]


def test_a_producer_that_others_need_is_left_to_them(make: Callable[..., Shadowed]) -> None:
    cluster = MemoryCluster()
    line = make(cluster, kafka={"outstanding_max": 100})
    line.client._acknowledges = False
    write(cluster, 60)
    for _ in range(20):
        line.turn(1)
        if line.watcher._working is not None:
            line.watcher._working.exception(timeout=10)
    assert len(line.sent("forecasts")) > 50
    assert line.sent("forecasts-shadow") == []
    line.client.acknowledge()
    line.client._acknowledges = True
    line.settle()
    assert len(line.sent("forecasts-shadow")) == len(line.sent("forecasts"))
    assert line.total("tickcast_shadow_dropped_ticks_total") == 0


def test_a_shadow_that_fails_is_no_more_and_the_other_answers_on(make: Callable[..., Shadowed], other: Other) -> None:
    cluster = MemoryCluster()
    write(cluster, 60)
    line = make(cluster)
    other.fails = True
    line.settle()
    write(cluster, 60)
    line.settle()
    assert line.sent("forecasts-shadow") == []
    assert len(line.sent("forecasts")) > 100
    assert line.total("tickcast_shadow_info") == 0


def test_forecasts_that_are_not_finite_are_no_dead_letters(make: Callable[..., Shadowed], other: Other) -> None:
    cluster = MemoryCluster()
    write(cluster, 60)
    line = make(cluster)
    other._weights = other._weights * np.inf
    line.settle()
    assert {topic for topic, _, _, _ in line.client.sent} == {"forecasts"}


def test_a_symbol_that_it_was_not_trained_for_is_not_answered(make: Callable[..., Shadowed], other: Other) -> None:
    manifest = other.bundle.manifest.model_copy(update={"symbols": ("B",)})
    other.bundle = replace(other.bundle, manifest=manifest)
    cluster = MemoryCluster()
    write(cluster, 60)
    line = make(cluster)
    line.settle()
    assert {each.symbol for each in line.sent("forecasts-shadow")} == {"B"}


def test_with_transactions_its_forecasts_are_in_them(make: Callable[..., Shadowed]) -> None:
    cluster = MemoryCluster()
    write(cluster, 100)
    line = make(cluster, kafka={"delivery": "exactly_once"})
    line.settle()
    line.clock.advance(1)
    line.turn(3)
    topics = [topic for topic, _, _, _ in line.client.visible]
    assert topics.count("forecasts-shadow") == topics.count("forecasts") > 50
