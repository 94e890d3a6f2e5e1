"""The attention of the symbol that somebody looks at."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with
from tickcast import spotlight
from tickcast.clients import Partition
from tickcast.costs import Costs
from tickcast.manifest import WindowRules
from tickcast.spotlight import INTERVAL_NS, ROWS_MAX, RUN_S_MAX, Spotlight
from tickcast.tape import Tape
from tickcast.tape_reader import TapeReader
from tickcast.wish import Wish
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
WINDOW = 3
START_NS = 1_700_000_000_000_000_000


class AttentiveEngine(ToyEngine):
    """Leans on each row by its value."""

    def __init__(self, attention: bool = True) -> None:
        super().__init__(WindowRules(window=WINDOW), ("value",))
        manifest = self.bundle.manifest.model_copy(update={"attention": attention})
        self.bundle = replace(self.bundle, manifest=manifest)
        self.asked = 0

    def attention(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked += 1
        return rows[:, :, 0] / rows[:, :, 0].sum(axis=1, keepdims=True)


class Scene:
    """A line that has answered ten ticks of A and one of B, a wish, and the spotlight between them."""

    def __init__(self, engine: AttentiveEngine, symbols: Sequence[str] = ("*",)) -> None:
        cluster = MemoryCluster()
        for number, symbol in enumerate("AAAAAAAAAAB"):
            tick = {"symbol": symbol, "event_time_ns": START_NS + number, "value": float(number + 1)}
            cluster.append(INPUT, msgspec.json.encode(tick), key=b"k")
        self.engine = engine
        self.line = Line(
            config_with(models=[{"bundle": "bundle", "symbols": symbols}]), MemoryClient(cluster, [INPUT]), engine
        )
        self.line.turn(3)
        self.wish = Wish.create()
        self.spotlight = Spotlight(self.wish, self.line.tape, self.line.clock)

    def look(self, symbol: str) -> dict[str, object]:
        """Ask for `symbol`, turn, read."""
        self.wish.ask(symbol, self.line.clock.monotonic_ns())
        self.line.assembly.explain(self.spotlight)
        return TapeReader(self.line.tape.fd).attention()

    def close(self) -> None:
        self.wish.close()
        self.line.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene(AttentiveEngine())
    yield scene
    scene.close()


def test_the_symbol_s_window_is_explained(scene: Scene) -> None:
    told = scene.look("A")
    rows = [value + 0.5 * (value - 1) for value in (8.0, 9.0, 10.0)]  # as the toy makes them
    assert told["symbol"] == "A"
    assert told["weights"] == pytest.approx([row / sum(rows) for row in rows], abs=1e-6)
    assert told["event_time_ns"] == START_NS + 9
    assert told["position"] == 7  # the third tick made row 0


def test_nothing_is_run_while_nobody_looks(scene: Scene) -> None:
    scene.line.assembly.explain(scene.spotlight)
    assert scene.engine.asked == 0
    assert TapeReader(scene.line.tape.fd).attention() == {}


def test_it_is_explained_once_a_second_however_often_it_is_asked(scene: Scene) -> None:
    for _ in range(5):
        scene.look("A")
    assert scene.engine.asked == 1
    scene.line.clock.advance(INTERVAL_NS / 1e9)
    scene.look("A")
    assert scene.engine.asked == 2


def test_a_symbol_that_no_model_answers_is_said() -> None:
    scene = Scene(AttentiveEngine(), symbols=["B"])
    assert scene.look("A") == {"symbol": "A", "reason": "no model answers it"}
    scene.close()


@pytest.mark.parametrize("symbol", ["B", "never seen"])
def test_a_window_that_is_not_full_is_said(scene: Scene, symbol: str) -> None:
    assert scene.look(symbol) == {"symbol": symbol, "reason": "its window is not full"}


def test_a_model_without_attention_is_said() -> None:
    scene = Scene(AttentiveEngine(attention=False))
    assert scene.look("A") == {"symbol": "A", "reason": "the model has no attention"}
    assert scene.engine.asked == 0
    scene.close()


def test_a_window_too_long_for_the_tape_is_said_and_the_loop_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spotlight, "ROWS_MAX", WINDOW - 1)
    assert scene.look("A") == {"symbol": "A", "reason": "a window of 3 rows is too long to be shown"}
    assert scene.engine.asked == 0


def test_the_longest_window_shown_has_room_on_the_tape() -> None:
    tape = Tape.create()
    tape.set_attention({"symbol": "\N{ROCKET}" * 250, "weights": [0.123456] * ROWS_MAX, "position": 2**63})
    assert len(TapeReader(tape.fd).attention()["weights"]) == ROWS_MAX
    tape.close()


def test_a_run_that_would_hold_up_ticks_is_not_made_for_who_looks(scene: Scene) -> None:
    scene.engine.costs = Costs({"window": {1: 2 * RUN_S_MAX, 2: 4 * RUN_S_MAX}}, 2)
    assert scene.look("A") == {"symbol": "A", "reason": "it would hold up ticks for 0.1 s"}
    assert scene.engine.asked == 0


def test_weights_that_are_no_numbers_are_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.engine, "attention", lambda rows: np.full((1, WINDOW), np.nan, np.float32))
    assert scene.look("A") == {"symbol": "A", "reason": "its weights are not finite"}


def test_what_carried_forecasts_lean_on_is_not_told_of_a_window(scene: Scene) -> None:
    assembly = scene.line.assembly
    carried = assembly.models.each[0]._replace(carried=object())  # type: ignore[arg-type]
    assembly.models = assembly.models._replace(each=(carried,))
    assert scene.look("A") == {"symbol": "A", "reason": "carried forecasts lean on more than a window"}
    assert scene.engine.asked == 0
