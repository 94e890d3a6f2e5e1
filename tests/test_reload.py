"""A reload from the signal to the swap: what is loaded, what is refused, and who hears of it."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from memory_client import MemoryClient
from pipelines import Line, config_with, model_of
from test_pipeline import COLUMNS, INPUT, _forecasts, _ticks
from test_swap import NEW_SHA256, OLD_SHA256, RULES, NewEngine, _tick
from tickcast import model, reload
from tickcast.board_reader import BoardReader
from tickcast.bundle_watch import BundleWatch
from tickcast.config import Config, ModelConfig
from tickcast.errors import BrokerError, BundleError, ConfigurationError
from tickcast.model import Model, Models
from tickcast.reload import Reloads
from toy_engine import ToyEngine


class Supervisor:
    """Hears what a `Notifier` would tell."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def reloading(self) -> None:
        self.heard.append("reloading")

    def ready(self, status: str) -> None:
        self.heard.append(status)


class Desk:
    """A daemon's reloads over bundles that need no loading: what is wrong with the next one, a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, watch_interval_ms: int = 0) -> None:
        folder.mkdir()
        (folder / "manifest.json").write_text("old")
        models = [{"bundle": str(folder), "watch_interval_ms": watch_interval_ms}]
        self.folder = folder
        self.config = self.written = config_with(models=models)
        self.found = _ticks(5)
        self.line = Line(self.config, MemoryClient(self.found, [INPUT]), ToyEngine(RULES, COLUMNS))
        self.line.turn(2)
        self.supervisor = Supervisor()
        self.sha256 = NEW_SHA256
        self.wrong: Exception | None = None
        self.loaded: list[Config] = []
        self.gate = threading.Event()
        self.gate.set()
        monkeypatch.setattr(reload, "load_bundle", lambda folder: SimpleNamespace(sha256=self.sha256))
        monkeypatch.setattr(reload.model, "load_one", self._load)
        self.reloads = Reloads(
            self.config,
            self.line.assembly,
            lambda: self.written,
            self.line.board,
            self.supervisor,  # type: ignore[arg-type]
            self.line.clock,
        )

    def _load(self, config: Config, entry: ModelConfig) -> Model:
        assert self.gate.wait(60)
        self.loaded.append(config)
        if self.wrong is not None:
            raise self.wrong
        return model_of(NewEngine(RULES) if self.sha256 == NEW_SHA256 else ToyEngine(RULES, COLUMNS))

    def turn(self) -> None:
        """One between two of the loop's, when whatever is done beside it is done."""
        self.reloads.turn()
        self.reloads._thread.submit(lambda: None).result()

    def reload(self) -> None:
        """As on SIGHUP, to the end."""
        self.reloads.ask()
        self.turn()
        self.turn()

    def results(self) -> dict[str, float]:
        samples = BoardReader(self.line.board.fd).samples()
        return {s.labels[0]: s.values[0] for s in samples if s.metric.name == "tickcast_reloads_total"}

    @property
    def answering(self) -> str:
        return self.line.assembly.models.each[0].sha256


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(monkeypatch, tmp_path / "bundle")
    yield made
    made.reloads.close()
    made.line.close()


def test_the_supervisor_hears_of_a_reload_and_what_came_of_it(desk: Desk):
    desk.reload()
    assert desk.supervisor.heard == ["reloading", "reload: new 1 answers"]
    assert (desk.answering, desk.results()) == (NEW_SHA256, {"swapped": 1, "refused": 0, "unchanged": 0})
    at = desk.line.value("tickcast_last_reload_timestamp_seconds")
    assert at == desk.line.clock.wall_ns() / 1e9


@pytest.mark.parametrize("wrong", [BundleError("window.onnx: sha256 is"), RuntimeError("out of memory"), MemoryError()])
def test_whatever_is_wrong_with_a_bundle_the_old_one_answers_on(desk: Desk, wrong: Exception):
    desk.wrong = wrong
    desk.reload()
    assert (desk.answering, desk.results()["refused"]) == (OLD_SHA256, 1)
    assert desk.supervisor.heard == ["reloading", f"reload refused: {wrong}"]
    desk.wrong = None
    desk.reload()
    assert (desk.answering, desk.results()["swapped"]) == (NEW_SHA256, 1)


def test_a_configuration_that_does_not_hold_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def read() -> Config:
        raise ConfigurationError("desk.toml: kafka.group_id: required and not given")

    monkeypatch.setattr(desk.reloads, "_read", read)
    desk.reload()
    assert desk.supervisor.heard[-1] == "reload refused: desk.toml: kafka.group_id: required and not given"
    assert not desk.loaded


def test_a_bundle_that_answers_already_is_not_loaded_again(desk: Desk):
    desk.sha256 = OLD_SHA256
    desk.reload()
    assert not desk.loaded
    assert desk.results() == {"swapped": 0, "refused": 0, "unchanged": 1}


def test_of_the_configuration_only_the_bundle_changes_under_way(desk: Desk, tmp_path: Path, capsys):
    models = [{"bundle": str(tmp_path / "other"), "symbols": ["A*"]}]
    desk.written = config_with(models=models, kafka={"group_id": "other"}, input={"columns": {"value": "x"}})
    desk.reload()
    (loaded,) = desk.loaded
    assert loaded.models[0].bundle == tmp_path / "other"
    assert (loaded.models[0].symbols, loaded.kafka, loaded.input) == (("*",), desk.config.kafka, desk.config.input)
    said = capsys.readouterr().out
    keys = {"input.columns.value", "kafka.group_id", "models.0.symbols"}
    assert {line.rpartition("setting=")[2].strip() for line in said.splitlines() if "next start" in line} == keys


def test_a_bundle_is_loaded_on_the_provider_that_answers(desk: Desk):
    assert desk.config.inference.provider == "auto"
    desk.reload()
    assert desk.loaded[0].inference.provider == "cpu"


def test_the_loop_goes_on_while_a_bundle_is_loaded_and_another_signal_starts_another_reload(desk: Desk):
    desk.gate.clear()
    desk.reloads.ask()
    interval_s = sys.getswitchinterval()
    for _ in range(3):
        desk.reloads.turn()
    desk.reloads.ask()
    desk.reloads.ask()
    _tick(desk.found, 10)
    desk.line.turn()
    assert _forecasts(desk.line.client)[5].bundle.sha256 == OLD_SHA256
    assert sys.getswitchinterval() < interval_s
    desk.gate.set()
    for _ in range(4):
        desk.turn()
    assert desk.results() == {"swapped": 1, "refused": 0, "unchanged": 1}
    assert sys.getswitchinterval() == interval_s
    assert desk.supervisor.heard.count("reloading") == 2


def test_a_swap_that_the_cluster_does_not_answer_for_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def refuses(retriable: bool) -> Callable[[Models], None]:
        def swap(models: Models) -> None:
            error = BrokerError("no answer in time")
            error.retriable = retriable
            raise error

        return swap

    with monkeypatch.context() as patched:
        patched.setattr(desk.line.assembly, "swap", refuses(retriable=True))
        desk.reload()
        desk.line.clock.advance(1.0)
        desk.turn()
        assert desk.supervisor.heard == ["reloading"]
    desk.turn()
    assert desk.answering == OLD_SHA256  # a second has not passed
    desk.line.clock.advance(1.0)
    desk.turn()
    assert (desk.answering, len(desk.loaded)) == (NEW_SHA256, 1)
    monkeypatch.setattr(desk.line.assembly, "swap", refuses(retriable=False))
    desk.sha256 = OLD_SHA256
    with pytest.raises(BrokerError):
        desk.reload()


def test_a_watched_folder_is_reloaded_when_it_has_another_bundle(monkeypatch, tmp_path: Path):
    desk = Desk(monkeypatch, tmp_path / "bundle", watch_interval_ms=1_000)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "manifest.json").write_text("new")
    for _ in range(4):
        desk.turn()
        desk.line.clock.advance(1.0)
    assert not desk.supervisor.heard
    desk.folder.rename(tmp_path / "gone")
    (tmp_path / "new").rename(desk.folder)
    for _ in range(6):
        desk.turn()
        desk.turn()
        desk.line.clock.advance(1.0)
    assert desk.supervisor.heard == ["reloading", "reload: new 1 answers"]
    desk.reloads.close()
    desk.line.close()


def test_without_watching_only_the_signal_counts(desk: Desk):
    (desk.folder / "manifest.json").write_text("new, and longer")
    for _ in range(6):
        desk.turn()
        desk.line.clock.advance(3_600.0)
    assert not desk.supervisor.heard


class Shelf:
    """Two entries of a configuration, and what lies in their folders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.entries = [{"bundle": str(tmp_path / name), "symbols": [f"{name.upper()}*"]} for name in "ab"]
        self.config = config_with(models=self.entries)
        self.lying = {tmp_path / name: name * 64 for name in "abc"}
        self.asked: list[str] = []
        monkeypatch.setattr(reload, "load_bundle", lambda folder: SimpleNamespace(sha256=self.lying[folder]))
        monkeypatch.setattr(reload.model, "load_one", self._load)
        self.running = model.together(self.config, [self._load(self.config, entry) for entry in self.config.models])
        self.asked.clear()

    def _load(self, config: Config, entry: ModelConfig) -> Model:
        sha256 = self.lying[entry.bundle]
        if sha256 == "bad":
            raise BundleError("window.onnx: sha256 is")
        self.asked.append(sha256[0])
        engine = ToyEngine(RULES, COLUMNS)
        engine.bundle = replace(engine.bundle, sha256=sha256)
        return model_of(engine)

    def reload(self, *entries: dict[str, object]) -> reload.Loaded:
        """As the configuration says `entries` now."""
        watches = [BundleWatch(entry.bundle) for entry in self.config.models]
        return reload.load(self.config, lambda: config_with(models=list(entries)), self.running, watches)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shelf:
    return Shelf(monkeypatch, tmp_path)


def test_of_several_bundles_those_that_changed_are_loaded_and_the_others_go_on(shelf: Shelf, tmp_path: Path):
    shelf.lying[tmp_path / "b"] = "x" * 64
    models = shelf.reload(*shelf.entries).models
    assert models is not None
    assert shelf.asked == ["x"]
    assert models.each[0] is shelf.running.each[0]
    assert models.each[1].sha256 == "x" * 64
    assert shelf.reload(shelf.entries[0], {**shelf.entries[1], "bundle": str(tmp_path / "c")}).models is not None
    assert shelf.asked == ["x", "c"]


def test_where_nothing_changed_nothing_is_loaded(shelf: Shelf):
    assert shelf.reload(*shelf.entries).models is None
    assert not shelf.asked


def test_one_bad_bundle_keeps_all_others_out(shelf: Shelf, tmp_path: Path):
    shelf.lying |= {tmp_path / "a": "x" * 64, tmp_path / "b": "bad"}
    with pytest.raises(BundleError):
        shelf.reload(*shelf.entries)


@pytest.mark.parametrize("places", [(1, 0), (0,), (0, 1, 2)])
def test_entries_that_were_moved_added_or_taken_away_wait_for_a_restart(shelf: Shelf, tmp_path: Path, places):
    """A bundle never answers the symbols of another entry."""
    entries = [*shelf.entries, {"bundle": str(tmp_path / "c"), "symbols": ["C"]}]
    loaded = shelf.reload(*(entries[place] for place in places))
    assert loaded.models is None
    assert loaded.config.models == shelf.config.models
    assert any(key.startswith("models.") for key in loaded.ignored)
