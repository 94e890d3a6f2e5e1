"""What a bench is about: bundles, and the ticks they are asked about.

Beside the way of a tick. Bundles of a family are made for the occasion, with random weights, by the exporter in a
process of its own: TensorFlow's threads and memory stay out of what is measured.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tickcast import bundle, tick_files
from tickcast.bench_child import Asked
from tickcast.bench_load import Feed, FileFeed, SimulatedFeed
from tickcast.bundle import Bundle
from tickcast.errors import MissingExtraError, TickcastError, UsageError
from tickcast.tick_columns import TickColumns

# What the exporter and the Keras bench need beside tickcast itself.
EXPORT_LIBRARIES = ("tensorflow", "tf2onnx", "onnx")
QUIET_TENSORFLOW = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Subject:
    """One bundle and how many symbols it answers; `feed` gives the same ticks each time."""

    bundle: Bundle
    model: Path | None  # what Keras is asked with
    symbols: int
    feed: Callable[[], Feed]
    simulated: bool
    sequence: bool  # the ticks carry sequence numbers

    @property
    def name(self) -> str:
        """For people: what tells it from others."""
        manifest = self.bundle.manifest
        symbols = f"{self.symbols:,} symbol{'s' if self.symbols > 1 else ''}"
        return f"{manifest.family}, window {manifest.rules.window}, {symbols}"


def of_family(family: str, windows: Sequence[int], seed: int, folder: Path) -> list[tuple[Bundle, Path | None]]:
    """A bundle of `family`, made in `folder`, for each window, and its model. Raises MissingExtraError, TickcastError.

    A window given twice is measured once.
    """
    need_export(f"--family {family}")
    made: list[tuple[Bundle, Path | None]] = []
    for window in dict.fromkeys(windows):
        place = folder / f"{family}-{window}"
        place.mkdir()
        _export(family, window, seed, place)
        made.append((bundle.load(place / "bundle"), place / "model.keras"))
    return made


def simulated(of: Bundle, model: Path | None, symbols: int, seed: int) -> Subject:
    """`of`, asked about simulated ticks."""
    columns = of.manifest.record_columns
    return Subject(of, model, symbols, lambda: SimulatedFeed(columns, symbols, seed), True, False)


def recorded(of: Bundle, model: Path | None, path: Path, mapping: TickColumns) -> Subject:
    """`of`, asked about the ticks of a file. Raises TickFileError, UsageError."""
    absent = sorted(set(of.manifest.record_columns) - set(mapping.names))
    if absent:
        raise UsageError(f"{path}: the bundle needs columns {', '.join(absent)}; name them with --map")
    ticks = tick_files.read_all([path], mapping)
    sequence = bool(mapping.sequence)
    return Subject(of, model, len(ticks.symbols), lambda: FileFeed(ticks, sequence), False, sequence)


def keras_child(model: Path) -> Asked:
    """A process that predicts with `model` when asked. Raises MissingExtraError."""
    need_export("--model")
    return Asked(["tickcast_export.bench_keras", str(model)], QUIET_TENSORFLOW)


def need_export(option: str) -> None:
    """Raise MissingExtraError where the libraries of the extra `export` are not installed."""
    for library in EXPORT_LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError(f"`tickcast bench engine {option}` needs {library}: pip install 'tickcast[export]'")


def _export(family: str, window: int, seed: int, folder: Path) -> None:
    command = [sys.executable, "-m", "tickcast_export.bench_model", family, str(window), str(seed), str(folder)]
    done = subprocess.run(command, env={**os.environ, **QUIET_TENSORFLOW}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise TickcastError(f"a bundle of {family} with window {window} could not be made:\n{last}")
