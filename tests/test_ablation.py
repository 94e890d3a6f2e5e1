"""The ablation: every network at the same budget, each cell once, and what it says at the end."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from manual_clock import ManualClock
from rich.console import Console
from tickcast.manifest import WindowRules

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
import tensorflow as tf
from tickcast.errors import UsageError
from tickcast_export import ablation, ablation_report, dataset, simulator
from tickcast_export.ablation import NETWORKS, Plan
from tickcast_export.dataset import Rows, Split
from tickcast_export.family import FamilySettings

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

WINDOW, FARTHEST = 8, max(ablation.HORIZONS)
SMALL = FamilySettings(units=6, second_units=4, attention_units=5)


@pytest.fixture(scope="module")
def market() -> tuple[Rows, Split]:
    rows = dataset.cut(simulator.simulate(1_500, symbols=1, seed=3), WindowRules(window=WINDOW))
    return rows, dataset.split_by_share(rows, WINDOW, FARTHEST)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_learns_at_its_last_row_is_what_it_answers(name: str) -> None:
    core, positions, answers = NETWORKS[name](WINDOW, 3, SMALL)
    rows = tf.random.normal((5, WINDOW, 3), seed=1)
    assert positions[-1] == WINDOW - 1
    np.testing.assert_allclose(answers(rows)[:, -1], core(rows), atol=2e-6)


def test_an_interrupted_run_trains_only_what_is_missing_and_one_seed_is_whole_before_the_next(
    market: tuple[Rows, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def cell(name: str, window: int, seed: int, *_: object) -> dict[str, object]:
        trained.append((name, window, seed))
        if len(trained) == 3:
            raise KeyboardInterrupt
        return {"below_persistence": [0.1] * 10, "kappa": 0.3, "weights": 1, "seconds": 1.0}

    monkeypatch.setattr(ablation, "cell", cell)
    plan = Plan(("linear", "stacked"), (4, 8), (1, 2), steps=8)
    with pytest.raises(KeyboardInterrupt):
        ablation.run(plan, *market, tmp_path, Console(quiet=True), ManualClock())
    ablation.run(plan, *market, tmp_path, Console(quiet=True), ManualClock())
    assert trained[:3] == [("linear", 4, 1), ("stacked", 4, 1), ("linear", 8, 1)]
    assert sorted(trained[:2] + trained[3:]) == sorted(plan.cells())
    assert len(json.loads((tmp_path / "ablation.json").read_text())["cells"]) == 8
    with pytest.raises(UsageError, match="other steps"):
        ablation.run(replace(plan, steps=9), *market, tmp_path, Console(quiet=True), ManualClock())


def test_a_cell_is_trained_and_scored(market: tuple[Rows, Split], tmp_path: Path) -> None:
    plan = Plan(("linear",), (4, 8), (1,), steps=8)
    ablation.run(plan, *market, tmp_path, Console(quiet=True), ManualClock())
    cells = json.loads((tmp_path / "ablation.json").read_text())["cells"]
    assert {key: cell["weights"] for key, cell in cells.items()} == {"linear/4/1": 330, "linear/8/1": 650}
    assert all(len(cell["below_persistence"]) == 10 and -1 <= cell["kappa"] <= 1 for cell in cells.values())


def test_the_table_and_the_picture_show_means_and_intervals() -> None:
    mean, half = ablation_report.interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.30 / math.sqrt(3)))
    cells = {
        f"{name}/{window}/{seed}": {"below_persistence": [0.1 + seed / 100, 0.05], "kappa": 0.3}
        for name in ("linear", "additive")
        for window in (16, 64)
        for seed in (1, 2, 3)
    }
    documents = ablation_report.documents(cells, (1, 10))
    assert "| linear | 16 | 12.0 ± 2.5 | 5.0 ± 0.0 | 0.300 ± 0.000 |" in documents["md"].splitlines()
    words = [element.text for element in ElementTree.fromstring(documents["svg"]).iter() if element.text]
    assert {"linear", "additive", "16", "64", "1 ahead: below persistence, by rows in a window"} <= set(words)
