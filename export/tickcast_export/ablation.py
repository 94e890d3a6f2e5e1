"""What do a second LSTM layer and attention add? Every kind of network on the same ticks, with the same budget.

`python -m tickcast_export.ablation TICKS... --out FOLDER` trains each network with each window and each seed, scores
all on the same rows of the newest ticks, and writes `ablation.json`, a table `ablation.md` and a picture
`ablation.svg`. The budget is so many steps of so many rows each, whatever the network and its window. What is in
`ablation.json` already is not trained again: an interrupted run goes on where it was.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import keras
import tensorflow as tf
import typer
from rich.console import Console
from tickcast import tick_files, tick_options
from tickcast.clock import Clock, SystemClock
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules
from tickcast.windows import NANOSECONDS

from tickcast_export import ablation_report, dataset, every_row, memories, progress
from tickcast_export.checkpoint import Checkpoints
from tickcast_export.dataset import Rows, Split, evenly
from tickcast_export.families import FAMILIES
from tickcast_export.family import FamilySettings
from tickcast_export.features import BOOK
from tickcast_export.fitting import Examples, Fit, Lessons, taught
from tickcast_export.scores import of_forecasts
from tickcast_export.training import agreement, examples_of, thresholds_by
from tickcast_export.training_settings import TrainingSettings

ROWS_PER_STEP = 1_024
EPOCHS = 4  # so many times is the error validated, and the best average kept
HORIZONS = tuple(range(1, 11))
# Evenly spaced ones, the same for every network: a long window costs as much to score as to train.
VALIDATION_WINDOWS_MAX = 4_096
SCORED_WINDOWS_MAX = 20_000

Answers = Callable[[tf.Tensor], tf.Tensor]  # rows [batch, window, features] -> forecasts [batch, positions, horizons]
Network = tuple[keras.Model, tuple[int, ...], Answers]  # core, positions that it learns from, its forecasts there


@dataclass(frozen=True)
class Plan:
    """The cells of the table, and what each may cost."""

    networks: tuple[str, ...]
    windows: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int

    def cells(self) -> list[tuple[str, int, int]]:
        """Network, window and seed; one seed after the other, so that an unfinished table is a whole one of fewer."""
        return [
            (name, window, seed) for seed, window, name in itertools.product(self.seeds, self.windows, self.networks)
        ]


def linear(window: int, features: int, settings: FamilySettings) -> Network:
    """A line through all rows of the window."""
    rows = keras.Input((window, features))
    core = keras.Model(rows, keras.layers.Dense(len(HORIZONS))(keras.layers.Flatten()(rows)))
    return core, (window - 1,), lambda rows: core(rows)[:, None]


def one_lstm(window: int, features: int, settings: FamilySettings) -> Network:
    """One LSTM layer."""
    rows = keras.Input((window, features))
    lstm, output = keras.layers.LSTM(settings.units), keras.layers.Dense(len(HORIZONS))
    core = keras.Model(rows, output(lstm(rows)))
    positions = taught(window, 1)
    return core, positions, lambda rows: output(tf.gather(every_row.hidden_states(lstm, rows), positions, axis=1))


def of_family(name: str) -> Callable[[int, int, FamilySettings], Network]:
    """A family's own network."""

    def network(window: int, features: int, settings: FamilySettings) -> Network:
        family = FAMILIES[name]
        core, positions = family.core(window, features, len(HORIZONS), settings), taught(window, family.TAUGHT_EVERY)
        return core, positions, lambda rows: family.every_row(core, rows, positions, settings)

    return network


NETWORKS: dict[str, Callable[[int, int, FamilySettings], Network]] = {
    "linear": linear,
    "one LSTM": one_lstm,
    **{name: of_family(name) for name in FAMILIES},
}


def run(plan: Plan, rows: Rows, split: Split, folder: Path, console: Console, clock: Clock) -> None:
    """Train what is missing; after each cell all three files are as new.

    Raises UsageError where `folder` has what was found of other ticks or with other steps.
    """
    path = folder / "ablation.json"
    examples, _ = examples_of(rows, split, max(plan.windows), HORIZONS)
    asked: dict[str, Any] = {"learnt_from": examples.digest(split), "steps": plan.steps}
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {**asked, "cells": {}}
    if any(found[name] != value for name, value in asked.items()):
        raise UsageError(f"{path}: of other ticks, or with other steps: give another --out")
    cells = found["cells"]
    for name, window, seed in plan.cells():
        key = f"{name}/{window}/{seed}"
        if key not in cells:
            cells[key] = cell(name, window, seed, plan.steps, examples, split, clock)
            console.print(f"{key}: {cells[key]['below_persistence'][0]:.1%}, {cells[key]['seconds']:.0f} s")
            _replace(path, json.dumps(found, indent=1))
    for ending, content in ablation_report.documents(cells, HORIZONS).items():
        _replace(folder / f"ablation.{ending}", content)


def cell(
    name: str, window: int, seed: int, steps: int, examples: Examples, split: Split, clock: Clock
) -> dict[str, object]:
    """Train one network and score it: below persistence per horizon, kappa of the nearest one's direction, seconds."""
    started_ns = clock.monotonic_ns()
    keras.utils.set_random_seed(seed)
    examples = examples.with_window(window)
    core, positions, forecasts = NETWORKS[name](window, examples.features.shape[1], FamilySettings())
    memories.spread(core, window, seed)
    settings = TrainingSettings(
        epochs=EPOCHS,
        patience=EPOCHS,
        steps_per_epoch=max(1, steps // EPOCHS),
        batch=max(1, ROWS_PER_STEP // window),
        validation_windows_max=VALIDATION_WINDOWS_MAX,
        seed=seed,
    )
    lessons, silent = Lessons(positions, forecasts), progress.Silent()
    Fit(core, lessons, examples, split, settings, silent, clock, Checkpoints(None)).run()
    validation, test = (
        (examples.forecasts(core, ends), examples.targets(ends), examples.spread[ends]) for ends in _scored(split)
    )
    return {
        "below_persistence": [score.below_persistence for score in of_forecasts(*test[:2], HORIZONS)],
        "kappa": agreement(thresholds_by(*validation), *test),
        "weights": core.count_params(),
        "seconds": (clock.monotonic_ns() - started_ns) / NANOSECONDS,
    }


def _scored(split: Split) -> list[dataset.Indices]:
    return [evenly(ends, SCORED_WINDOWS_MAX) for ends in (split.validation, split.test)]


def _replace(path: Path, content: str) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(path)


def main(
    ticks: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Tick files, oldest first.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for what is found.")],
    windows: Annotated[str, typer.Option(help="Rows in a window, several with commas.")] = "16,32,64,128,256",
    seeds: Annotated[str, typer.Option(help="Several with commas.")] = "1,2,3",
    networks: Annotated[str, typer.Option(help="Several with commas.")] = ",".join(NETWORKS),
    steps: Annotated[int, typer.Option(min=1, help=f"Steps of {ROWS_PER_STEP} rows in each training.")] = 2_000,
    max_gap_s: Annotated[float, typer.Option(min=0, help="A longer silence starts a fresh run.")] = 60.0,
    day_starts_at: Annotated[datetime | None, typer.Option(formats=["%H:%M"], help="UTC; splits by day.")] = None,
) -> None:
    """Compare all networks."""
    plan = Plan(tuple(networks.split(",")), _numbers(windows), _numbers(seeds), steps)
    mapping = tick_options.mapping(
        ticks[0], event_time="", event_time_unit=None, symbol="", symbol_name="", sequence="", pairs=None
    )
    longest, farthest = max(plan.windows), max(HORIZONS)
    rules = WindowRules(window=longest, sampling="on_change", change_columns=BOOK, max_gap_s=max_gap_s)
    rows = dataset.cut(tick_files.read_all(ticks, mapping), rules)
    if day_starts_at is None:
        split = dataset.split_by_share(rows, longest, farthest)
    else:
        split = dataset.split_by_day(rows, longest, farthest, day_starts_at.time())
    out.mkdir(parents=True, exist_ok=True)
    run(plan, rows, split, out, Console(), SystemClock())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    typer.run(main)
