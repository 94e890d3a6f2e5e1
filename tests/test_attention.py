"""What forecasts lean on, in the records: of the symbols that are asked about, over the rows they were made of."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from factories import manifest_with
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with
from thorough import examples
from tickcast import attention, config, model, records, toml_text
from tickcast.attention import Attention
from tickcast.clients import Partition
from tickcast.commands.check_config import check_config
from tickcast.errors import ConfigurationError
from tickcast.manifest import WindowRules
from tickcast.records import Forecast
from toy_carried import ToyCarried, certificate
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
WINDOW = 3
START_NS = 1_700_000_000_000_000_000
Rows = NDArray[np.float32]


class AttentiveEngine(ToyEngine):
    """The toy, with attention; it notes how many windows it was asked about."""

    def __init__(self, splits: bool = True, **changes: Any) -> None:
        super().__init__(WindowRules(window=WINDOW), ("value",), splits, attention=True)
        manifest = self.bundle.manifest.model_copy(update=changes)
        self.bundle = replace(self.bundle, manifest=manifest)
        self.attended_windows: list[int] = []

    def attended(self, rows: Rows) -> tuple[Rows, Rows]:
        self.attended_windows.append(len(rows))
        return super().attended(rows)


class Scene:
    """Ticks of symbols named by letters, and what a pipeline published of them."""

    def __init__(self, patterns: Sequence[str], engine: ToyEngine | None = None, mode: str = "windowed") -> None:
        self.cluster = MemoryCluster()
        self.engine = engine or AttentiveEngine()
        carried = ToyCarried(self.engine, folds=False) if mode == "carried" else None
        self.client = MemoryClient(self.cluster, [INPUT])
        settings = config_with(output={"attention": tuple(patterns)}, inference={"mode": mode, "threads": 1})
        self.line = Line(settings, self.client, self.engine, carried)
        self._ticks = 0

    def tick(self, symbols: str) -> list[Forecast]:
        """What is published of a poll with a tick of each of `symbols`; then carries are prepared."""
        for symbol in symbols:
            self._ticks += 1
            book = {"symbol": symbol, "event_time_ns": START_NS + self._ticks, "value": float(self._ticks % 7 + 1)}
            self.cluster.append(INPUT, msgspec.json.encode(book), key=b"k")
        before = len(self.client.sent)
        self.line.turn(5)
        return [records.decode(value or b"") for _, value, _, _ in self.client.sent[before:]]

    def weights(self, symbol: str, offset: int) -> list[float]:
        """As the toy has them, by nothing but the ticks."""
        ticks = [msgspec.json.decode(record.value or b"") for record in self.cluster.topics[INPUT][: offset + 1]]
        values = [tick["value"] for tick in ticks if tick["symbol"] == symbol][-WINDOW - 1 :]
        rows = [value + 0.5 * before for before, value in pairwise(values)]
        return [row / sum(rows) for row in rows]


polls = st.lists(st.text("ABC", min_size=1, max_size=9), min_size=1, max_size=7)


@pytest.mark.parametrize("mode", ["windowed", "carried"])
@tries(max_examples=examples(75))
@given(polls=polls)
def test_whatever_path_answers_the_weights_are_those_of_the_rows_that_the_forecast_is_of(mode, polls):
    engine = AttentiveEngine(carried=certificate(50))
    scene = Scene(["A", "B*"], engine, mode)
    for symbols in polls:
        for forecast in scene.tick(symbols):
            if forecast.symbol == "C":
                assert forecast.attention is None
            else:
                assert forecast.attention == pytest.approx(scene.weights(forecast.symbol, forecast.offset), abs=1e-6)
                assert sum(forecast.attention or ()) == pytest.approx(1)
    scene.line.close()


def test_all_that_are_asked_about_in_a_turn_share_a_run_and_the_others_go_before_them():
    scene = Scene(["B", "C"])
    scene.tick("ABC" * (WINDOW + 2))
    scene.engine.attended_windows.clear()
    forecasts = scene.tick("BAC")
    assert [forecast.symbol for forecast in forecasts] == ["A", "B", "C"]
    assert {forecast.path for forecast in forecasts} == {"finish"}
    assert scene.engine.attended_windows == [2]
    scene.line.close()


def test_a_window_that_is_run_anyway_is_not_run_again():
    scene = Scene(["B"], AttentiveEngine(splits=False))
    scene.tick("AB" * (WINDOW + 1))
    ran: list[int] = []
    run, scene.engine.window = scene.engine.window, lambda rows: ran.append(len(rows)) or run(rows)
    forecasts = scene.tick("BA")
    assert [bool(forecast.attention) for forecast in forecasts] == [True, False]
    assert ran == [2]
    scene.line.close()


@pytest.mark.parametrize("patterns", [[], ["Z*"]])
def test_where_nobody_asks_nothing_is_run_and_nothing_is_said(patterns):
    scene = Scene(patterns)
    assert scene.tick("A" * 9)
    scene.tick("A")
    assert scene.engine.attended_windows == []
    assert b"attention" not in b"".join(value or b"" for _, value, _, _ in scene.client.sent)
    scene.line.close()


def test_weights_that_are_no_numbers_are_left_out():
    engine = AttentiveEngine()
    engine.attended = lambda rows: (engine.window(rows), np.full((len(rows), WINDOW), np.nan, np.float32))
    leaning = Attention(engine, ["*"])
    assert leaning.over(np.ones((2, WINDOW, 1), np.float32)) == [None, None]


def test_a_restart_tells_the_same():
    whole, cut = Scene(["A"]), Scene(["A"])
    wanted = [forecast.attention for symbols in ("A" * 9, "AA", "A") for forecast in whole.tick(symbols)]
    found = [forecast.attention for forecast in cut.tick("A" * 9)]
    again = Scene(["A"])
    again.cluster, again._ticks = cut.cluster, cut._ticks
    again.client = MemoryClient(cut.cluster, [INPUT])
    again.line = Line(cut.line.config, again.client, AttentiveEngine())
    found += [forecast.attention for symbols in ("AA", "A") for forecast in again.tick(symbols)]
    assert found == wanted
    for scene in (whole, cut, again):
        scene.line.close()


# -- what can be asked

WITH, WITHOUT = manifest_with(attention=True, name="additive"), manifest_with(name="stacked")
ENTRIES = [{"bundle": "a", "symbols": ["ES*", "NQ"]}, {"bundle": "b"}]


def asking(*patterns: str) -> Any:
    return config_with(models=ENTRIES, output={"attention": patterns})


@pytest.mark.parametrize("patterns", [[], ["ES*"], ["*"], ["NQ"], ["?Q", "ESZ5"]])
def test_what_a_model_with_attention_answers_can_be_asked_about(patterns):
    attention.check(asking(*patterns), [WITH, WITHOUT])


def test_a_pattern_that_only_models_without_attention_answer_is_refused():
    with pytest.raises(ConfigurationError) as caught:
        attention.check(asking("ES*", "NQ", "*"), [WITHOUT, WITHOUT])
    said = str(caught.value).splitlines()
    assert said[0] == (
        "output.attention: 'ES*' fits only symbols of bundles without attention "
        "(models.0: stacked 1, models.1: stacked 1)"
    )
    assert len(said) == 3


def test_a_pattern_that_no_bundle_answers_is_refused():
    only = config_with(models=ENTRIES[:1], output={"attention": ["ES*", "BTC"]})
    with pytest.raises(ConfigurationError, match="'BTC' fits no symbol that a bundle answers"):
        attention.check(only, [WITH])
    trained = manifest_with(attention=True, symbols=("ESZ5", "N*"))
    attention.check(asking("ESZ?"), [trained, WITHOUT])
    with pytest.raises(ConfigurationError, match="'ESH6' fits only symbols of bundles without"):
        attention.check(asking("ESH6"), [trained, WITHOUT])


def test_what_a_shadow_could_tell_may_be_asked_for():
    attention.check(asking("ES*"), [WITHOUT, WITHOUT], [WITH, None])


def test_whose_forecasts_carry_none_all_the_same_is_said():
    assert list(attention.remarks(asking("ES*", "*"), [WITH, WITHOUT])) == [
        "output.attention: 'ES*' also fits symbols of models.1, whose bundle stacked 1 has no attention: their "
        "forecasts carry none"
    ]
    assert list(attention.remarks(asking(), [WITH, WITHOUT])) == []


def test_nobody_is_asked_for_whom_no_pattern_reaches():
    asked, engine = asking("BTC"), AttentiveEngine()
    assert attention.of(asked, 0, engine) is None
    assert attention.of(asked, 1, engine) is not None
    assert attention.of(asked, 1, AttentiveEngine(attention=False)) is None


@pytest.mark.parametrize("shadow", [None, "additive"])
def test_check_config_names_the_pattern_unless_a_shadow_could_tell(shadow, exported, tmp_path, capsys):
    bundle = str(exported("stacked").bundle)
    entry = {"bundle": bundle, **({"shadow": str(exported(shadow).bundle)} if shadow else {})}
    kafka = {"bootstrap_servers": "127.0.0.1:1", "group_id": "g", "input_topics": ["t"], "output_topic": "f"}
    file = tmp_path / "desk.toml"
    tables = {"kafka": kafka | {"dead_letter_topic": "d"}, "output": {"attention": ["SIM-*"]}}
    file.write_text(toml_text.document(tables, {"models": [entry]}))
    settings = config.load(file, {})
    if shadow:
        check_config(file)
        assert "also fits symbols of models.0, whose bundle stacked 1 has no attention" in capsys.readouterr().out
        return
    for refuses in (lambda: check_config(file), lambda: model.load(settings)):
        with pytest.raises(ConfigurationError, match=r"'SIM-\*' fits only symbols of bundles without attention"):
            refuses()
