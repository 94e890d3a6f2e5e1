"""How long Keras takes for one window: `python -m tickcast_export.bench_keras MODEL`, asked by `tickcast bench engine`.

Beside the way of a tick: the way of those who call `predict` on each one.
"""

import sys
import time
from itertools import cycle
from pathlib import Path

import tensorflow as tf
from tickcast.bench_child import answer

from tickcast_export import families, model_card
from tickcast_export.conversion import hide_gpu

PREDICTIONS = 5
WARM_PREDICTIONS = 3


def main(path: Path) -> None:
    """Load, warm up, answer."""
    hide_gpu()
    model, card, sample_ticks = model_card.load(path)
    assert card.family in families.FAMILIES  # whose import lets Keras find the layers in the file
    windows = cycle([tf.constant(sample_ticks[at : at + 1]) for at in range(len(sample_ticks))])

    def times(predictions: int = PREDICTIONS) -> list[float]:
        spent = []
        for _ in range(predictions):
            window = next(windows)
            begun_s = time.perf_counter()
            model.predict(window, verbose=0)
            spent.append(time.perf_counter() - begun_s)
        return spent

    times(WARM_PREDICTIONS)
    answer(times)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
