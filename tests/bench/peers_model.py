"""The one model of the comparison, in every shape that a system takes it in. Run as `peers_model FOLDER`.

    plain/window.onnx   the network as tf2onnx gives it: what the frameworks and the sketch run
    core.keras          the same for Keras' `predict`: the seed's way
    certified           the same network behind tickcast's own features, as `tickcast export` bundles it
    same-features       plain/window.onnx behind the frameworks' features, bundled as a foreign model

One set of weights, drawn from a seed: what is compared is speed and arithmetic, and training changes neither.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from bench import peers_ticks
from bench.peers_files import CERTIFIED, CORE, FEATURES, HORIZONS, PLAIN, PLAIN_GRAPH, SAME_FEATURES, WINDOW
from tickcast.bundle import Bundle
from tickcast.manifest import WindowRules
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast.tick_files import Ticks
from tickcast_export import bundle_writer, dataset, families, model_card
from tickcast_export.commands.export import ForeignOptions, draft_foreign, draft_trained
from tickcast_export.conversion import hide_gpu
from tickcast_export.dataset import Rows
from tickcast_export.family import FamilySettings
from tickcast_export.features import TickFeatures
from tickcast_export.model_card import ModelCard

RAW_COLUMNS = ("bid", "ask", "bid_size", "ask_size", "last", "last_size")
OPSET = 17  # the sketch's
SEED = 0
SAMPLE_TICKS = 20_000  # features are normalised with, and the bundle is certified on windows of, so many


def main(folder: Path) -> None:
    """Write all four into `folder`."""
    hide_gpu()
    keras.utils.set_random_seed(SEED)
    rows = dataset.cut(_sample(), WindowRules(window=WINDOW))
    features = TickFeatures().adapt(rows.pairs(np.arange(len(rows))))
    model = families.build("additive", WINDOW, features, HORIZONS, np.ones(HORIZONS), FamilySettings())
    core = families.core_of(model)
    core.save(folder / CORE)
    (folder / PLAIN).mkdir()
    _save(lambda x: core(x), FEATURES, folder / PLAIN_GRAPH)
    _certify(model, rows, folder)
    _save(lambda raw: core(derived(raw)), len(RAW_COLUMNS), folder / "raw.onnx")
    _bundle_foreign(folder)


def derived(raw: tf.Tensor) -> tf.Tensor:
    """Raw columns [batch, window, 6] -> the frameworks' features [batch, window, 8]: two more, mid and imbalance."""
    bid, ask, bid_size, ask_size, _, _ = tf.split(raw, len(RAW_COLUMNS), axis=-1)
    imbalance = tf.math.divide_no_nan(bid_size - ask_size, bid_size + ask_size)
    return tf.concat([raw, (bid + ask) / 2, imbalance], axis=-1)


def _sample() -> Ticks:
    books = list(peers_ticks.ticks(SAMPLE_TICKS))
    return Ticks(
        columns=BOOK_COLUMNS,
        symbols=tuple(peers_ticks.name_of(at) for at in range(peers_ticks.SYMBOLS)),
        symbol_ids=np.arange(SAMPLE_TICKS, dtype=np.int32) % peers_ticks.SYMBOLS,
        event_time_ns=np.array([book.event_time_ns for book in books], np.int64),
        values=np.array([[getattr(book, column) for column in BOOK_COLUMNS] for book in books], np.float64),
        sequence=np.zeros(SAMPLE_TICKS, np.int64),
    )


def _certify(model: keras.Model, rows: Rows, folder: Path) -> Bundle:
    """The bundle that `tickcast export` makes of the whole model, raw ticks in."""
    card = ModelCard(
        name="peers",
        version="1",
        family="additive",
        rules=WindowRules(window=WINDOW),
        horizons=tuple(range(1, HORIZONS + 1)),
        target_scale=1.0,
    )
    ends = rows.ends(WINDOW, HORIZONS)
    model_card.save(model, card, rows.windows(ends[::100], WINDOW), folder / "model.keras")
    return bundle_writer.write(draft_trained(folder / "model.keras"), folder / CERTIFIED)


def _bundle_foreign(folder: Path) -> Bundle:
    options = ForeignOptions(",".join(RAW_COLUMNS), WINDOW, "", "price", 1.0)
    return bundle_writer.write(
        draft_foreign(folder / "raw.onnx", "same-features", "1", options), folder / SAME_FEATURES
    )


def _save(function: object, width: int, path: Path) -> None:
    """Trace and convert as the sketch does: no folding, no fusing but tf2onnx's own."""
    signature = [tf.TensorSpec((None, WINDOW, width), tf.float32, "x")]
    traced = tf.function(function, input_signature=signature)
    onnx.save(tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)[0], path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
