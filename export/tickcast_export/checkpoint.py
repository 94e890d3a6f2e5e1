"""What an interrupted training goes on from: a file beside the model that is being made, replaced after every epoch.

Before the way of a tick. An interrupted and resumed training ends with the very weights of one that was not.
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tickcast.errors import UsageError

FACTS_ENTRY = "facts.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two epochs."""

    made_by: str  # digest of settings and data: it continues that training only
    facts: dict[str, Any]  # what JSON can say: counts, epochs so far, the random generators
    arrays: Mapping[str, Sequence[NDArray[Any]]]  # weights and their like


class Checkpoints:
    """The one file of a training; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file, whole or not at all."""
        if self._path is None:
            return
        unfinished = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with zipfile.ZipFile(unfinished, "w") as archive:
                archive.writestr(FACTS_ENTRY, json.dumps({"made_by": checkpoint.made_by, **checkpoint.facts}))
                for name, arrays in checkpoint.arrays.items():
                    archive.writestr(f"{name}.npz", _packed(arrays))
            unfinished.replace(self._path)
        finally:
            unfinished.unlink(missing_ok=True)

    def read(self, made_by: str) -> Checkpoint:
        """Raises UsageError where there is none, or it is of a training with other settings or ticks."""
        if self._path is None or not self._path.exists():
            raise UsageError(f"{self._path}: nothing to resume")
        try:
            with zipfile.ZipFile(self._path) as archive:
                facts = json.loads(archive.read(FACTS_ENTRY))
                names = [name for name in archive.namelist() if name != FACTS_ENTRY]
                arrays = {name.removesuffix(".npz"): _unpacked(archive.read(name)) for name in names}
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UsageError(f"{self._path}: no checkpoint of a training") from error
        if facts.pop("made_by") != made_by:
            raise UsageError(f"{self._path}: of a training with other settings or other ticks")
        return Checkpoint(made_by, facts, arrays)

    def remove(self) -> None:
        """The training is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _packed(arrays: Sequence[NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    return buffer.getvalue()


def _unpacked(content: bytes) -> list[NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return [arrays[f"arr_{place}"] for place in range(len(arrays.files))]
