"""Training: learns what is there, stops early with the best weights, and says honestly how good it is."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from manual_clock import ManualClock
from tickcast import cli, tick_files
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
import tensorflow as tf
from tickcast_export import dataset, families, fitting, memories, model_card, scores, simulator, training
from tickcast_export.checkpoint import Checkpoints
from tickcast_export.dataset import Rows, Split
from tickcast_export.family import FamilySettings
from tickcast_export.features import Mirror
from tickcast_export.fitting import Draw, Examples
from tickcast_export.progress import Epoch
from tickcast_export.training import Trained
from tickcast_export.training_settings import TrainingSettings

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

WINDOW = 8
RULES = WindowRules(window=WINDOW, max_gap_s=60, order="reset")
SMALL = FamilySettings(units=8, second_units=4, attention_units=8)
HORIZONS = (1, 5, 10)


class Heard:
    """A `Progress` that remembers, and may let time pass with each step."""

    def __init__(self, clock: ManualClock, seconds_per_step: float = 0.0) -> None:
        self.epochs: list[Epoch] = []
        self.shares: list[float] = []
        self._clock = clock
        self._seconds_per_step = seconds_per_step

    def started(self, epochs: int, steps: int) -> None:
        self.planned = epochs * steps

    def stepped(self, share: float) -> None:
        self.shares.append(share)
        self._clock.advance(self._seconds_per_step)

    def epoch_ended(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def finished(self) -> None:
        self.is_finished = True


@pytest.fixture(scope="module")
def market() -> tuple[Rows, Split]:
    rows = dataset.cut(simulator.simulate(10_000, symbols=2, seed=3), RULES)
    return rows, dataset.split_by_share(rows, WINDOW, max(HORIZONS))


def trained(
    market: tuple[Rows, Split],
    heard: Heard | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    **changes: object,
) -> Trained:
    heard = heard or Heard(ManualClock())
    settings = TrainingSettings.model_validate({"network": SMALL, "horizons": HORIZONS, "batch": 64, **changes})
    return training.train(
        *market, RULES, settings, heard, heard._clock, "small", checkpoints=checkpoints, resume=resume
    )


def errors_of_whole_model(model: Trained, rows: Rows, ends: np.ndarray) -> tuple[scores.Score, ...]:
    """Scored from raw ticks through the whole model, another way than training's own."""
    return scores.against_persistence(
        lambda some: np.asarray(model.model(tf.constant(rows.windows(some, WINDOW))), np.float64),
        lambda some: dataset.changes(rows.mid(("bid", "ask")), some, HORIZONS),
        ends,
        HORIZONS,
        batch=4096,
    )


@pytest.mark.parametrize("family", ["stacked", "additive", "seq2seq"])
def test_every_family_beats_persistence_on_the_simulated_market(market: tuple[Rows, Split], family: str) -> None:
    model = trained(market, family=family, epochs=4, steps_per_epoch=100, batch=16, learning_rate=1e-2)
    assert [score.horizon for score in model.test_scores] == [1, 5, 10]
    assert scores.mean_ratio(model.test_scores) < 0.95, model.test_scores
    again = errors_of_whole_model(model, market[0], market[1].test)
    for score, other in zip(model.test_scores, again, strict=True):
        assert other.squared_error == pytest.approx(score.squared_error, rel=1e-4)


@pytest.fixture(scope="module")
def brief(market: tuple[Rows, Split]) -> Trained:
    return trained(market, epochs=1, steps_per_epoch=5)


def test_same_seed_same_weights(market: tuple[Rows, Split], brief: Trained) -> None:
    again = trained(market, epochs=1, steps_per_epoch=5)
    for weight, same in zip(brief.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)


def test_training_stops_early_and_keeps_the_weights_of_the_best_epoch(market: tuple[Rows, Split]) -> None:
    clock = ManualClock()
    heard = Heard(clock)
    # Far too fast: validation soon gets worse instead of better.
    model = trained(market, heard, epochs=30, steps_per_epoch=4, learning_rate=10.0, patience=2)
    errors = [epoch.validation_error for epoch in heard.epochs]
    best = int(np.argmin(errors))
    assert len(errors) == best + 1 + 2 < 30
    assert [epoch.is_best for epoch in heard.epochs[best:]] == [True, False, False]
    assert heard.is_finished
    kept = scores.mean_ratio(errors_of_whole_model(model, market[0], market[1].validation))
    assert kept == pytest.approx(errors[best], rel=1e-4)
    assert model.card.training["validation_error"] == errors[best]


def test_the_time_budget_ends_training_within_an_epoch(market: tuple[Rows, Split]) -> None:
    heard = Heard(ManualClock(), seconds_per_step=3.0)
    trained(market, heard, epochs=10, steps_per_epoch=50, time_budget_s=10.0)
    assert len(heard.shares) == 4  # at 0, 3, 6 and 9 s
    assert heard.shares == sorted(heard.shares)
    assert [epoch.windows_seen for epoch in heard.epochs] == [4 * 64]


def test_windows_are_drawn_without_repeat_until_all_were_seen() -> None:
    batches = fitting.Batches(np.arange(10), 3, seed=1)
    drawn = np.concatenate([batches.next().ends for _ in range(3)])
    assert len(set(drawn.tolist())) == 9
    assert len(batches.next().ends) == 3


def test_every_row_of_a_window_but_its_first_quarter_is_taught() -> None:
    assert fitting.taught(8, 1) == (2, 3, 4, 5, 6, 7)
    assert fitting.taught(8, 4) == (3, 7)
    assert fitting.taught(2, 1) == (0, 1)


def test_a_lesson_s_targets_are_what_happened_after_each_of_its_rows() -> None:
    examples = Examples(
        features=np.arange(160, dtype=np.float32).reshape(20, 8),
        mid=np.arange(20.0) ** 2,
        spread=np.ones(20),
        window=4,
        horizons=(1, 3),
        scale=np.array([2.0, 10.0]),
        mirror=Mirror(np.arange(8)[::-1], np.full(8, -1, np.float32), np.zeros(8, np.float32)),
    )
    draw = Draw(np.array([5, 9]), np.array([False, True]), np.array([0.5, 0.0], np.float32))
    rows, targets = examples.lesson(draw, (1, 3))
    shift = np.array([0, 0, 0.5, 0.5, 0, 0, 0, 0])
    np.testing.assert_array_equal(rows[0], examples.features[2:6] + shift)
    np.testing.assert_array_equal(rows[1], -examples.features[6:10, ::-1])
    np.testing.assert_allclose(targets[0], [[(16 - 9) / 2, (36 - 9) / 10], [(36 - 25) / 2, (64 - 25) / 10]])
    np.testing.assert_allclose(targets[1, 1], [-(100 - 81) / 2, -(144 - 81) / 10])


class WantedElsewhereError(Exception):
    """The machine is needed for something else."""


class Interrupting(Heard):
    """Ends it all within the third epoch."""

    def stepped(self, share: float) -> None:
        super().stepped(share)
        if len(self.epochs) == 2:
            raise WantedElsewhereError


def test_an_interrupted_and_resumed_training_ends_with_the_weights_of_one_that_was_not(
    market: tuple[Rows, Split], tmp_path: Path
) -> None:
    kept = Checkpoints(tmp_path / "model.partial")
    options = {"epochs": 4, "steps_per_epoch": 3, "batch": 8, "validation_windows_max": 500}
    whole = trained(market, **options)
    with pytest.raises(WantedElsewhereError):
        trained(market, Interrupting(ManualClock()), kept, **options)
    heard = Heard(ManualClock())
    resumed = trained(market, heard, kept, resume=True, **options)
    assert [epoch.number for epoch in heard.epochs] == [3, 4]
    assert resumed.epochs == whole.epochs
    for weight, same in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_training_is_refused(market: tuple[Rows, Split], tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "model.partial")
    options = {"epochs": 4, "steps_per_epoch": 1, "batch": 8, "validation_windows_max": 500}
    with pytest.raises(UsageError, match="nothing to resume"):
        trained(market, checkpoints=kept, resume=True, **options)
    with pytest.raises(WantedElsewhereError):
        trained(market, Interrupting(ManualClock()), kept, **options)
    with pytest.raises(UsageError, match="other settings or other ticks"):
        trained(market, checkpoints=kept, resume=True, **options, seed=2)
    (tmp_path / "model.partial").write_bytes(b"PK")
    with pytest.raises(UsageError, match="no checkpoint"):
        trained(market, checkpoints=kept, resume=True, **options)


def test_units_start_with_memories_from_a_row_to_the_whole_window() -> None:
    core = families.FAMILIES["stacked"].core(50, 3, 2, SMALL)
    memories.spread(core, 50, seed=1)
    forget = core.get_layer("first").get_weights()[2][8:16]
    assert sorted(np.exp(forget))[-1] == pytest.approx(50)
    assert np.unique(forget).size == 8
    assert min(forget) == 0.5
    assert (core.get_layer("second").get_weights()[2][:4] == 0).all()


def test_the_direction_s_thresholds_are_in_the_card_with_what_they_tell(brief: Trained) -> None:
    told = brief.card.training["direction"]
    assert isinstance(told, dict)
    assert told["horizon"] == 1
    assert told["low"] is None or told["low"] < 0
    assert told["high"] is None or told["high"] > 0
    assert told["factor"] >= 1
    assert told["wide"] is None or told["wide"] > 0
    assert -1 <= told["test_kappa"] <= 1


def test_the_card_says_what_the_model_was_trained_on(
    market: tuple[Rows, Split], brief: Trained, tmp_path: Path
) -> None:
    rows, split = market
    model, card = brief, brief.card
    assert (card.name, card.family, card.rules, card.horizons) == ("small", "additive", RULES, HORIZONS)
    assert card.symbols == ("SIM-A", "SIM-B")
    targets = dataset.changes(rows.mid(("bid", "ask")), split.train, HORIZONS)
    assert card.target_scale == pytest.approx(np.sqrt((targets.std(axis=0) ** 2).mean()))
    bids = rows.ticks.values[rows.current[: len(rows)], 0]
    assert card.reference_quantiles.keys() == set(rows.columns)
    assert min(bids) <= card.reference_quantiles["bid"][0] <= card.reference_quantiles["bid"][-1] <= max(bids)
    assert len(card.reference_quantiles["bid"]) == 21
    spans = card.training["spans_ns"]
    assert isinstance(spans, dict)
    assert spans["train"][1] < spans["validation"][0] < spans["validation"][1] < spans["test"][0]
    validation = rows.windows(split.validation, WINDOW)
    assert model.sample_ticks.shape == (256, WINDOW + 1, 5)
    assert (model.sample_ticks[0] == validation[0]).all()
    assert (model.sample_ticks[-1] == validation[-1]).all()
    model_card.save(model.model, card, model.sample_ticks, tmp_path / "small.keras")
    loaded, card_again, sample_again = model_card.load(tmp_path / "small.keras")
    assert card_again == card
    np.testing.assert_array_equal(sample_again, model.sample_ticks)
    np.testing.assert_array_equal(loaded(tf.constant(sample_again)), model.model(tf.constant(sample_again)))


def test_a_market_that_never_moves_is_refused() -> None:
    ticks = simulator.simulate(400, symbols=1)
    ticks.values[:, :2] = (100.0, 100.01)
    rows = dataset.cut(ticks, RULES)
    with pytest.raises(UsageError, match="never moves in the training ticks"):
        trained((rows, dataset.split_by_share(rows, WINDOW, max(HORIZONS))), epochs=1)


def test_scores_compare_with_no_change_per_horizon() -> None:
    happened = np.array([[1.0, 2.0], [-1.0, 0.0], [0.0, 2.0]])
    said = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 4.0]])
    near, far = scores.against_persistence(
        lambda ends: said[ends], lambda ends: happened[ends], np.arange(3), (1, 10), batch=2
    )
    assert (near.horizon, near.squared_error, near.below_persistence) == (1, pytest.approx(1 / 3), pytest.approx(0.5))
    assert (far.horizon, far.squared_error, far.below_persistence) == (10, pytest.approx(8 / 3), pytest.approx(0.0))
    assert scores.mean_ratio((near, far)) == pytest.approx(0.75)


def test_the_command_writes_model_scores_and_curves_from_a_mapped_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "1.csv", tmp_path / "2.csv"]
    ticks = simulator.simulate(1_200, symbols=2)
    for path, part in zip(paths, (ticks.slice(0, 600), ticks.slice(600, 1_200)), strict=True):
        tick_files.write_csv(path, part)
    for path in paths:
        path.write_text(path.read_text().replace("event_time_ns", "receive_time_ns", 1))
    out = tmp_path / "model.keras"
    model = ("--window", "8", "--units", "4", "--attention-units", "4", "--horizons", "3")
    fitting = ("--epochs", "1", "--steps-per-epoch", "2")
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *model, *fitting, "--out", str(out), "--ticks", *map(str, paths)])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "event_time=receive_time_ns (ns)" in printed
    assert "below persistence" in printed
    _, card, _ = model_card.load(out)
    assert (card.horizons, card.rules.window, card.settings.units) == ((1, 2, 3), 8, 4)
    saved = json.loads((tmp_path / "model.scores.json").read_text())
    assert saved == json.loads(json.dumps(card.training))
    assert saved["ticks"] == 1_200
    assert (tmp_path / "model.curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_refuses_files_of_unlike_columns_and_impossible_rules(tmp_path: Path) -> None:
    tick_files.write_csv(tmp_path / "1.csv", simulator.simulate(50))
    (tmp_path / "2.csv").write_text("at,symbol,bid,ask,bid_size,ask_size\n")
    given = ["train", "--ticks", str(tmp_path / "1.csv"), "--out", str(tmp_path / "m.keras")]
    with pytest.raises(SystemExit) as ended:
        cli.main([*given, str(tmp_path / "2.csv")])
    assert ended.value.code == 78
    with pytest.raises(SystemExit) as ended:
        cli.main([*given, "--sampling", "grid_ms"])
    assert ended.value.code == 78
    assert not (tmp_path / "m.keras").exists()


def test_training_needs_the_extra_only_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.startswith("tickcast_export")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--help"])
    assert ended.value.code == 78
    assert "pip install 'tickcast[export]'" in capsys.readouterr().err
