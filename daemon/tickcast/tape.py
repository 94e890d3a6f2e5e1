"""The tape: the newest ticks and their forecasts, where the process that serves the page can read them.

Behind the way of a tick: written from time to time, many entries at once, and by whom the loop does not wait for.
Layout and reader: `tape_reader.py`. As the board, the memory has no name and goes with its last holder.
"""

import json
import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tickcast import memfd
from tickcast import tape_reader as layout
from tickcast.records import AnswerPath
from tickcast.shared_blob import BlobWriter

PATH_NUMBERS: dict[AnswerPath, int] = {"finish": 1, "window": 2, "carried": 3}


class Ticks(NamedTuple):
    """Ticks that filled their symbols' windows, in the order they came."""

    symbols: list[str]
    paths: NDArray[np.uint32]  # [n], `PATH_NUMBERS`; 0: no forecast
    positions: NDArray[np.int64]  # [n], see `tape_reader.Entry`
    event_times_ns: NDArray[np.int64]  # [n]
    received_ns: NDArray[np.int64]  # [n], wall clock
    mids: NDArray[np.float64]  # [n], NaN where there is none
    forecasts: NDArray[np.float32]  # [n, horizons]


class Track:
    """One bundle's part of a tape."""

    def __init__(self, tape: "Tape", place: int) -> None:
        """`place`: of its bundle among those that the tape was begun with."""
        self._tape = tape
        self._place = place

    def append(self, ticks: Ticks) -> None:
        """See `Tape`."""
        self._tape.append(ticks, self._place)


class Tape:
    """The writer's side. One thread writes. `fd` is what the reading process inherits."""

    def __init__(self, fd: int) -> None:
        """Lay out the zeroed memory behind `fd`; see `create`."""
        self.fd = fd
        memory = memoryview(mmap.mmap(fd, 0))
        self._words = memory[: layout.HEADER_BYTES].cast("Q")
        self._model = BlobWriter(self._words, layout.WORD_MODEL, memory[layout.MODEL_OFFSET : layout.ATTENTION_OFFSET])
        attention = memory[layout.ATTENTION_OFFSET : layout.NAMES_OFFSET]
        self._attention = BlobWriter(self._words, layout.WORD_ATTENTION, attention)
        self._names = memory[layout.NAMES_OFFSET : layout.RING_OFFSET]
        self._memory = memory[layout.RING_OFFSET :]
        self._numbers: dict[str, int] = {}
        self._names_bytes = 0
        self._words[layout.WORD_MAGIC] = layout.MAGIC

    @classmethod
    def create(cls) -> Self:
        """A new tape without a model."""
        return cls(memfd.create("tickcast-tape", layout.TAPE_BYTES))

    def begin(self, horizons: int, model: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = ()) -> None:
        """From now on entries have at most so many horizons and are of `model`, or of `others` that answer beside it.

        What is there is dropped.
        """
        words = self._words
        words[layout.WORD_WRITTEN] = words[layout.WORD_BEGUN] = 0
        words[layout.WORD_HORIZONS] = horizons
        self._entry = np.dtype(
            [
                ("symbol", "<u4"),
                ("path", "<u4"),
                ("position", "<i8"),
                ("event_time_ns", "<i8"),
                ("received_ns", "<i8"),
                ("mid", "<f8"),
                ("forecast", "<f4", (horizons,)),
            ]
        )
        self._capacity = len(self._memory) // self._entry.itemsize
        self._ring = np.frombuffer(self._memory, self._entry, self._capacity)
        self._model.write(json.dumps({**model, "others": [*others]} if others else model).encode())
        self._attention.write(b"")
        words[layout.WORD_TAPE] += 1

    def append(self, ticks: Ticks, place: int = 0) -> None:
        """Write `ticks`, over the oldest entries; those of symbols for whose names there is no room are left out.

        `place`: 0 of the model, from 1 on of the others.
        """
        symbols = np.array([self._number(symbol) for symbol in ticks.symbols], np.int64)
        named = symbols >= 0
        count = int(np.count_nonzero(named))
        entries = np.empty(count, self._entry)
        entries["symbol"] = symbols[named]
        entries["path"] = ticks.paths[named] | place << layout.PLACE_SHIFT
        entries["position"] = ticks.positions[named]
        entries["event_time_ns"] = ticks.event_times_ns[named]
        entries["received_ns"] = ticks.received_ns[named]
        entries["mid"] = ticks.mids[named]
        given = ticks.forecasts.shape[1]
        entries["forecast"][:, :given] = ticks.forecasts[named]
        entries["forecast"][:, given:] = np.nan
        words = self._words
        begin = words[layout.WORD_WRITTEN]
        words[layout.WORD_BEGUN] = begin + count
        self._ring[np.arange(begin, begin + count) % self._capacity] = entries
        words[layout.WORD_WRITTEN] = begin + count

    def set_attention(self, told: Mapping[str, Any]) -> None:
        """What the newest forecast of a symbol leaned on. Raises ValueError where it is too long."""
        self._attention.write(json.dumps(told).encode())

    def close(self) -> None:
        """Let go of `fd`. What was handed out may still be written to; the memory goes with it."""
        os.close(self.fd)

    def _number(self, symbol: str) -> int:
        """Which of the names `symbol` is; -1 where there is no room for it."""
        number = self._numbers.get(symbol)
        if number is not None:
            return number
        line = json.dumps(symbol).encode() + b"\n"
        end = self._names_bytes + len(line)
        if end > len(self._names):
            return -1
        self._names[self._names_bytes : end] = line
        self._words[layout.WORD_NAMES] = self._names_bytes = end
        return self._numbers.setdefault(symbol, len(self._numbers))
