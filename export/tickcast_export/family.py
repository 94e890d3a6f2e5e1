"""What a model family is: a Keras core, and the same function cut in two at the newest row.

A new family is one module `family_NAME.py` that fulfils `Family`, and one line in `families.FAMILIES`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tickcast.manifest import Tensor


class FamilySettings(BaseModel):
    """Widths and choices; the defaults are the sizes that the families are named for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: int = Field(default=64, ge=1, description="width of the (first, or encoder and decoder) LSTM")
    second_units: int = Field(default=32, ge=1, description="`stacked`: width of the second LSTM")
    attention_units: int = Field(default=64, ge=1, description="`additive`, `seq2seq`: width of the attention's score")
    decoder_start: Literal["encoder", "zero"] = Field(default="encoder", description="`seq2seq`: decoder's state")
    decoder_input: Literal["newest", "zeros"] = Field(default="newest", description="`seq2seq`: the decoder's one row")


@dataclass(frozen=True)
class Cut:
    """A trained core as functions of tensors, weights folded into constants: what the graphs are traced from.

    Rows are [batch, any number of rows, features] float32. For any split of a window's rows,
    `finish(last row, *prefix(rows before))` is `window(rows)`, and its carry is `prefix(rows)`.
    """

    carry: tuple[Tensor, ...]  # in order; batch is `batch`, as many as there are rows is `rows`
    lstm_layers: int  # run whole over rows by `window` and by `prefix`
    window: Callable[[tf.Tensor], tuple[tf.Tensor, ...]]  # rows -> forecast [batch, horizons](, weights [batch, rows])
    prefix: Callable[[tf.Tensor], tuple[tf.Tensor, ...]]  # rows -> carry
    finish: Callable[..., tuple[tf.Tensor, ...]]  # newest row [batch, features], *carry -> forecast, *next carry


@dataclass(frozen=True)
class Carried:
    """A trained core whose recurrent state goes on from row to row, its attention over the last `window` hidden states.

    Another function than the window's: what is before the window still shows in the state. `anchor` starts it from an
    exact window; then one `step` per row. Hidden states lie in a ring with an item per row. Step n (from 0) after an
    anchor replaces item n mod window, that of the row which leaves the window. It reads all others; or, where there is
    `fold`, that one only: it holds the sum over what stays, and `fold` is due after every `window` steps.
    """

    state: int  # width of the packed state
    item: int  # width of a ring's item; 0: no ring
    stays: int  # items that a step reads: 1, window - 1, or 0 without a ring
    anchor: Callable[..., tuple[tf.Tensor, ...]]  # rows [batch, window, features] -> forecast, state(, ring)
    step: Callable[..., tuple[tf.Tensor, ...]]  # row, state(, items [batch, stays, item]) -> forecast, state(, item)
    fold: Callable[..., tuple[tf.Tensor, ...]] | None = None  # state, ring -> state, ring


class Family(Protocol):
    """A module that makes one kind of core."""

    TAUGHT_EVERY: int  # rows from one forecast that training learns from to the next; 1 where they cost next to nothing
    ATTENTION: bool  # whether the core has a layer `attention` whose second output is the weights [batch, window]

    def core(self, window: int, features: int, horizons: int, settings: FamilySettings) -> keras.Model:
        """Rows [batch, window, features] float32 -> standardised forecast [batch, horizons]."""

    def cut(self, core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Cut:
        """The same function in two parts; forecast value h comes times `scale[h]`, folded into the last layer."""

    def carried(self, core: keras.Model, scale: NDArray[np.float32], settings: FamilySettings) -> Carried:
        """The core with its state carried from row to row; `scale` as in `cut`."""

    def every_row(
        self, core: keras.Model, rows: tf.Tensor, positions: Sequence[int], settings: FamilySettings
    ) -> tf.Tensor:
        """What the core answers to each window cut off after one of `positions`, in one run over the whole: rows
        [batch, window, features] -> standardised forecasts [batch, positions, horizons]; differentiable."""

    def stepwise(self, core: keras.Model, rows: tf.Tensor, settings: FamilySettings) -> tf.Tensor:
        """What `carried` must compute, by Keras's own layers: rows [batch, window + n, features], anchored at the first
        full window -> standardised forecasts [batch, n + 1, horizons]."""


def carry(name: str, *shape: int | str) -> Tensor:
    """A carry tensor of this name, float32 [batch, *shape]."""
    return Tensor(name=f"carry_{name}", dtype="float32", shape=("batch", *shape))
