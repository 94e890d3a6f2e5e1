"""A whole pipeline over the in-memory Kafka and the toy engine."""

from typing import Any

from manual_clock import ManualClock
from memory_client import MemoryClient
from tickcast import codec
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.carried_inference import CarriedInference
from tickcast.carries import Carries
from tickcast.config import Config
from tickcast.deliveries import Deliveries
from tickcast.inference import Inference
from tickcast.instruments import Instruments
from tickcast.ownership import Ownership
from tickcast.pipeline import Pipeline
from tickcast.publisher import Publisher
from tickcast.row_pool import RowPool
from toy_carried import ToyCarried
from toy_engine import ToyEngine


def config_with(**sections: Any) -> Config:
    """A configuration that holds; `sections` are merged into it."""
    tree: dict[str, Any] = {
        "name": "test",
        "kafka": {
            "bootstrap_servers": "127.0.0.1:1",
            "group_id": "group",
            "input_topics": ("ticks",),
            "output_topic": "forecasts",
            "dead_letter_topic": "dead-letters",
            "start": "earliest",
            "commit_interval_ms": 1,
        },
        "models": [{"bundle": "bundle"}],
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    return Config.model_validate(tree)


class Line:
    """The parts of a daemon that a test looks at."""

    def __init__(
        self, config: Config, client: MemoryClient, engine: ToyEngine, carried: ToyCarried | None = None
    ) -> None:
        self.clock = ManualClock()
        self.client = client
        manifest = engine.bundle.manifest
        self.board = Board.create(self.clock)
        instruments = Instruments(self.board, self.clock, config.kafka.input_topics, manifest.horizons)
        self.deliveries = Deliveries(self.clock)
        rows = RowPool(manifest.rules.window, manifest.features)
        carries = Carries(engine, rows, config.inference.carries_bytes_max)  # type: ignore[arg-type]
        self.ownership = Ownership(
            config, manifest, client, self.deliveries, instruments, self.clock, lambda: None, carries.clear
        )
        inference: Inference | CarriedInference
        if carried is None:
            inference = Inference(engine, rows, carries, instruments.stages, config.inference.threads)  # type: ignore[arg-type]
        else:
            inference = CarriedInference(engine, carried, rows, instruments.stages)  # type: ignore[arg-type]
        self.pipeline = Pipeline(
            config,
            client,
            codec.decoder(config.input, manifest.record_columns),
            inference,
            Publisher(config, engine.bundle, client, instruments, self.clock),
            self.ownership,
            self.deliveries,
            instruments,
            self.clock,
        )
        client.subscribe(config.kafka.input_topics, self.ownership)

    def turn(self, turns: int = 1) -> None:
        """So many turns of the loop, a second apart."""
        for _ in range(turns):
            self.pipeline.turn()
            self.clock.advance(1.0)

    def value(self, metric: str, *labels: str) -> float:
        """The value of one counter or gauge as a scrape would see it."""
        samples = BoardReader(self.board.fd).samples()
        return next(s.values[0] for s in samples if (s.metric.name, s.labels) == (metric, labels))

    def close(self) -> None:
        """Let go of the board."""
        self.board.close()
