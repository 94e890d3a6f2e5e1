"""A small model of each family, exported as `tickcast export` does it: file, graphs, certificate, bundle."""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import feeds
import keras
import numpy as np
from tickcast.manifest import SECONDS_SINCE_PREVIOUS, WindowRules
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast.tick_files import Ticks
from tickcast_export import bundle_writer, dataset, families, model_card, validation_runs
from tickcast_export.commands.export import draft_trained
from tickcast_export.dataset import Rows
from tickcast_export.family import FamilySettings
from tickcast_export.features import TickFeatures
from tickcast_export.model_card import ModelCard

HORIZONS = (1, 2, 5)
SCALE = np.array([0.01, 0.015, 0.03])
SMALL = FamilySettings(units=12, second_units=8, attention_units=10)
RULES = WindowRules(window=16, max_gap_s=30.0)
TICKS = 3_000
SEED = 1  # of the first weights, and the version


class Exported(NamedTuple):
    """A model as `tickcast train` saves it, and its bundle."""

    trained: Path
    bundle: Path


def export(family: str, folder: Path, rules: WindowRules = RULES, seed: int = SEED) -> Exported:
    """The model of `family` in `folder`, with its first weights: what is compared is the arithmetic, not its worth."""
    rows = _rows(rules)
    keras.utils.set_random_seed(seed)
    pairs = rows.pairs(np.arange(len(rows)))
    features = TickFeatures().adapt(pairs)
    quantiles = np.quantile(pairs[:, 1], np.linspace(0, 1, 21), axis=0).T.tolist()
    model = families.build(family, rules.window, features, len(HORIZONS), SCALE, SMALL)
    card = ModelCard(
        name=family,
        version=str(seed),
        family=family,
        settings=SMALL,
        rules=rules,
        horizons=HORIZONS,
        target_scale=float(np.sqrt(np.square(SCALE).mean())),
        reference_quantiles=dict(zip(rows.columns, map(tuple, quantiles), strict=True)),
    )
    ends = rows.ends(rules.window, max(HORIZONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras converting its variables for numpy 2
        runs = validation_runs.chosen(rows, ends, rules.window)
        trained = folder / f"{family}.keras"
        model_card.save(model, card, rows.windows(ends[::20], rules.window), trained, runs)
        written = bundle_writer.write(draft_trained(trained), folder / family)
    return Exported(trained, written.folder)


def _rows(rules: WindowRules) -> Rows:
    """Rows of a market like the one that tests feed."""
    books = [json.loads(message.value or b"") for message in feeds.ticks(TICKS, seed=99)]
    symbols = sorted({book["symbol"] for book in books})
    ticks = Ticks(
        columns=BOOK_COLUMNS,
        symbols=tuple(symbols),
        symbol_ids=np.array([symbols.index(book["symbol"]) for book in books], np.int32),
        event_time_ns=np.array([book["event_time_ns"] for book in books], np.int64),
        values=np.array([[book[column] for column in BOOK_COLUMNS] for book in books], np.float64),
        sequence=np.zeros(len(books), np.int64),
    )
    rows = dataset.cut(ticks, rules)
    assert rows.columns == (*BOOK_COLUMNS, SECONDS_SINCE_PREVIOUS)
    return rows
