"""Forecasts of rows that were answered together.

Stage `engine.run` of the way of a tick: what comes of it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.attention import Weights
from tickcast.records import AnswerPath


class Answers(NamedTuple):
    """Forecasts [answered, horizons] of the rows at `indices` of those asked about, all by one path."""

    indices: Sequence[int]
    forecasts: NDArray[np.float32]
    path: AnswerPath
    attention: Sequence[Weights] | None = None  # [answered]; None: nobody asks what any of them leans on


def asked_of(answers: Answers, due: Sequence[bool]) -> Iterator[Answers]:
    """Of `answers` those to rows that are `due`: the others were a step on the way."""
    if all(due):
        yield answers
    elif asked := [at for at, index in enumerate(answers.indices) if due[index]]:
        yield part_of(answers, asked)


def part_of(answers: Answers, places: Sequence[int]) -> Answers:
    """Those at `places` of `answers`."""
    attention = None if answers.attention is None else [answers.attention[at] for at in places]
    return Answers([answers.indices[at] for at in places], answers.forecasts[places], answers.path, attention)
