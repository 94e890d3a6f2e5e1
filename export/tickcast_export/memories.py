"""How long each unit of an LSTM remembers before anything is learnt.

Before the way of a tick. Keras starts every unit's forget gate alike, with a memory of some four rows; what a window
can teach beyond those it must first learn to keep. Attention learns slowest then: its scores see hidden states only,
and which row is the newest they can tell only by units that still remember the window's beginning. So the gates start
spread: from units that remember a row or two to units that remember the whole window (after Tallec and Ollivier, "Can
recurrent neural networks warp time?", 2018, who spread them too, but start the input gates nearly closed).
"""

import keras
import numpy as np

ROWS_MIN = 1.5
BIAS_MIN = 0.5  # of a forget gate: where it starts lower, gradients fade within a row


def spread(core: keras.Model, window: int, seed: int) -> None:
    """Give the units of each LSTM in `core` memories of 1.5 to `window` rows, evenly in logarithm, in random order."""
    random = np.random.default_rng(seed)
    for layer in core.layers:
        if isinstance(layer, keras.layers.LSTM):
            rows = np.geomspace(ROWS_MIN, window, layer.units)
            kernel, recurrent, bias = layer.get_weights()
            # Keras's gates are i, f, c, o. A gate of sigmoid(log n) keeps n / (n + 1): a memory of n + 1 rows.
            bias[layer.units : 2 * layer.units] = np.maximum(np.log(random.permutation(rows)), BIAS_MIN)
            layer.set_weights([kernel, recurrent, bias])
