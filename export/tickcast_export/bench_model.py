"""A model of a family with random weights, and its bundle: what a bench needs where nothing is trained.

`python -m tickcast_export.bench_model FAMILY WINDOW SEED FOLDER`, started by the benches of `tickcast`. What a forecast
costs does not depend on what it is worth.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from tickcast.manifest import WindowRules

from tickcast_export import bundle_writer, dataset, families, model_card
from tickcast_export.commands.export import draft_trained
from tickcast_export.conversion import hide_gpu
from tickcast_export.family import FamilySettings
from tickcast_export.features import TickFeatures
from tickcast_export.model_card import ModelCard
from tickcast_export.simulator import simulate

HORIZONS = tuple(range(1, 11))
SYMBOLS = 4
WINDOWS = 200  # simulated, of which the golden ones are taken


def make(family: str, window: int, seed: int, folder: Path) -> None:
    """`model.keras` and `bundle` in `folder`, of the family's own sizes."""
    hide_gpu()
    rows = dataset.cut(simulate(SYMBOLS * (window + max(HORIZONS)) + SYMBOLS * WINDOWS, SYMBOLS, seed), _rules(window))
    ends = rows.ends(window, max(HORIZONS))
    keras.utils.set_random_seed(seed)
    features = TickFeatures().adapt(rows.pairs(np.arange(len(rows))))
    scale = np.sqrt(np.arange(1.0, len(HORIZONS) + 1))  # as of a random walk
    model = families.build(family, window, features, len(HORIZONS), scale, FamilySettings())
    card = ModelCard(
        name=f"random-{family}",
        version="1",
        family=family,
        settings=FamilySettings(),
        rules=_rules(window),
        horizons=HORIZONS,
        target_scale=float(np.sqrt(np.square(scale).mean())),
    )
    model_card.save(model, card, rows.windows(ends[:: len(ends) // WINDOWS], window), folder / "model.keras")
    bundle_writer.write(draft_trained(folder / "model.keras"), folder / "bundle")


def _rules(window: int) -> WindowRules:
    return WindowRules(window=window)


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
