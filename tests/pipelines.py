"""A whole pipeline over the in-memory Kafka and the toy engine."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from manual_clock import ManualClock
from memory_client import MemoryClient, MemoryReader
from tickcast import model
from tickcast.assembly import Assembly
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.config import Config
from tickcast.manifest import WindowRules
from tickcast.model import Model, Models
from tickcast.state_topic import StateTopic
from tickcast.takeovers import FenceOwner
from tickcast.tape import Tape
from toy_carried import ToyCarried
from toy_engine import ToyEngine


def window_rules(gap_s: float) -> st.SearchStrategy[WindowRules]:
    """Every kind of sampling and order over the column `value`; where there is a longest gap, it is `gap_s`."""
    return st.builds(
        WindowRules,
        window=st.integers(2, 4),
        sampling=st.sampled_from(["all", "on_change", "grid_ms"]),
        change_columns=st.just(("value",)),
        grid_ms=st.just(3),
        max_gap_s=st.sampled_from([None, gap_s]),
        order=st.sampled_from(["accept", "skip", "reset"]),
    )


def model_of(engine: ToyEngine, carried: ToyCarried | None = None) -> Model:
    """What a reload would have loaded for one entry of the configuration."""
    return Model(engine, carried, ())  # type: ignore[arg-type]


def models_of(config: Config, engine: ToyEngine, carried: ToyCarried | None = None) -> Models:
    """What a reload would have loaded where there is one entry."""
    return model.together(config, [model_of(engine, carried)])


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
        self,
        config: Config,
        client: MemoryClient,
        engine: ToyEngine | Sequence[Model],
        carried: ToyCarried | None = None,
        fence: FenceOwner | None = None,
        state_topic: StateTopic | None = None,
    ) -> None:
        """`engine` is of the configuration's one entry, or there is a model for each of several.

        Without `fence`, former owners are fenced at once, and noted in `fenced`.
        """
        self.clock = ManualClock()
        self.config = config
        self.client = client
        self.board = Board.create(self.clock)
        self.tape = Tape.create()
        self.fenced: list[str] = []
        self.readers: list[MemoryReader] = []
        self._read_at_once = config.kafka.poll_records_max  # whatever the machine: tests choose it
        models = [model_of(engine, carried)] if isinstance(engine, ToyEngine) else engine
        self.assembly = Assembly(
            config,
            model.together(config, models),
            client,
            self.board,
            self.tape,
            self.clock,
            lambda: None,
            fence=fence or self.fenced.append,
            open_reader=self._open_reader,
            state_topic=state_topic,
        )
        self.pipeline, self.ownership = self.assembly.pipeline, self.assembly.ownership
        self.commits, self.deliveries = self.assembly.commits, self.assembly.deliveries
        self._taken_up = False

    def _open_reader(self) -> MemoryReader:
        self.readers.append(MemoryReader(self.client.cluster, self._read_at_once))
        return self.readers[-1]

    def turn(self, turns: int = 1) -> None:
        """So many turns of the loop, a second apart; before the first of all, one that takes the partitions up."""
        if not self._taken_up:
            self._taken_up = True
            self.pipeline.turn()
            self.clock.advance(1.0)
        for _ in range(turns):
            self.pipeline.turn()
            self.clock.advance(1.0)

    def value(self, metric: str, *labels: str) -> float:
        """The value of one counter or gauge as a scrape would see it."""
        samples = BoardReader(self.board.fd).samples()
        return next(s.values[0] for s in samples if (s.metric.name, s.labels) == (metric, labels))

    def close(self) -> None:
        """Let go of the shared memory."""
        self.board.close()
        self.tape.close()
