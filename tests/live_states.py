"""Daemons over one in-memory Kafka that keep live state: what they publish, and what they know in the end."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from band_feeds import bands_of
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with
from tickcast import records
from tickcast.clients import Partition
from tickcast.config import Config
from tickcast.manifest import WindowRules
from tickcast.records import Forecast
from tickcast.state_kept import Changed
from tickcast.state_topic import StateTopic
from toy_engine import ToyEngine

INPUTS = Partition("ticks", 0), Partition("ticks", 1)
TOPIC = StateTopic("forecasts-state", 2)
SYMBOLS = "ABCDE"
COLUMNS = ("bid", "ask")
HORIZONS = (1, 3)
BANDS = bands_of(np.abs(np.random.default_rng(1).normal(size=(4_000, 2))))
QUANTILES = tuple(np.linspace(90.0, 110.0, 21).tolist())

Source = tuple[Partition, int]


class Engine(ToyEngine):
    """Its forecasts are near what happens, so that some bands hold; and the same to the last bit on every path."""

    def __init__(self, rules: WindowRules, sha256: str = "", **changes: Any) -> None:
        super().__init__(rules, COLUMNS)
        told = {
            "reference_columns": COLUMNS,
            "horizons": HORIZONS,
            "bands": BANDS,
            "reference_quantiles": {"bid": QUANTILES, "ask": QUANTILES},
            **changes,
        }
        manifest = self.bundle.manifest.model_copy(update=told)
        self.bundle = dataclasses.replace(self.bundle, manifest=manifest, sha256=sha256 or self.bundle.sha256)

    def _answer(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        return super()._answer(np.sin(values))


def ticks(
    count: int, seed: int, symbols: str = SYMBOLS, silence_share: float = 0.03, one_sided_share: float = 0.0
) -> MemoryCluster:
    """Quotes on a grid, so that sums of them are exact; some symbols come seldom, some after a silence."""
    cluster, random = MemoryCluster(), np.random.default_rng(seed)
    mids, now_ns = dict.fromkeys(symbols, 400.0), 0
    shares = np.array([0.5**at for at in range(len(symbols))])
    for _ in range(count):
        symbol = str(random.choice(list(symbols), p=shares / shares.sum()))
        now_ns += 10_000_000_000 if random.random() < silence_share else 1_000_000
        mids[symbol] += float(random.integers(-6, 7))
        bid = mids[symbol] / 4
        is_one_sided = one_sided_share > 0 and random.random() < one_sided_share
        body = {"symbol": symbol, "event_time_ns": now_ns, "bid": None if is_one_sided else bid, "ask": bid + 0.25}
        cluster.append(INPUTS[symbols.index(symbol) % 2], msgspec.json.encode(body), key=symbol.encode())
    return cluster


def configured(exactly_once: bool = False, **sections: Any) -> Config:
    kafka = {"delivery": "exactly_once"} if exactly_once else {}
    kafka |= sections.pop("kafka", {})
    return config_with(kafka=kafka, **sections)


class Member:
    """One daemon of the group."""

    def __init__(
        self,
        cluster: MemoryCluster,
        config: Config,
        engine: ToyEngine,
        owned: Sequence[Partition] = INPUTS,
        topic: StateTopic | None = TOPIC,
    ) -> None:
        self.client = MemoryClient(cluster, owned)
        self.line = Line(config, self.client, engine, state_topic=topic)
        self._exactly_once = config.kafka.delivery == "exactly_once"

    def turn(self, turns: int = 1) -> None:
        self.line.turn(turns)

    def finish(self) -> None:
        """Answer and commit all there is."""
        cluster, states = self.client.cluster, self.line.ownership.states
        for _ in range(2_000):
            self.turn()
            is_settled = states and not self.line.ownership.pending and not len(self.line.ownership.rebuilds)
            if is_settled and all(cluster.committed[p].offset >= cluster.end(p) for p in states):
                return
        raise AssertionError("not done")

    def forecasts(self) -> list[tuple[Source, Forecast]]:
        """What its readers see."""
        seen = self.client.visible if self._exactly_once else self.client.sent
        return [
            (records.source_of(headers)[0:2], records.decode(value))
            for topic, value, _, headers in seen
            if topic == "forecasts" and value is not None
        ]

    def knows(self) -> dict[Any, bytes]:
        """What is kept of each symbol and partition, as it would be saved now."""
        (kept,) = self.line.assembly._keeper.kept
        assert kept is not None
        kept._recorder.flush()
        kept._bands.flush()
        known: dict[Any, bytes] = {}
        for partition, state in self.line.ownership.states.items():
            known[partition] = kept.drift.save(partition)
            (windows,) = state.windows.by_model
            for symbol in SYMBOLS:
                if (window := windows.window(symbol)) is not None and window.slot >= 0:
                    known[partition, symbol] = bytes(kept.save([Changed(symbol, window, 0)]))
        return known

    def close(self) -> None:
        """Gone, without a word to anybody."""
        self.line.close()


def told(forecast: Forecast) -> tuple[Any, ...]:
    """What two runs must have alike."""
    bands = None if forecast.bands is None else tuple(forecast.bands.half_widths)
    return tuple(forecast.forecast), bands


def undisturbed(
    cluster: MemoryCluster, config: Config, engine: ToyEngine
) -> tuple[dict[Source, Any], dict[Any, bytes]]:
    """What one member publishes of it, and knows in the end."""
    fresh = MemoryCluster()
    for partition, log in cluster.topics.items():
        if partition in INPUTS:
            fresh.topics[partition] = list(log)
    member = Member(fresh, config, engine)
    member.finish()
    found, known = {source: told(each) for source, each in member.forecasts()}, member.knows()
    member.close()
    return found, known
