"""A trained model's file: Keras's own `.keras` archive, and in it what the model is and real ticks to check it by."""

import io
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import Name, WindowRules

from tickcast_export import validation_runs
from tickcast_export.family import FamilySettings
from tickcast_export.features import COLUMNS, FEATURE_NAMES
from tickcast_export.validation_runs import Runs

CARD_ENTRY = "tickcast.json"
SAMPLE_ENTRY = "tickcast-sample.npz"
RUNS_ENTRY = "tickcast-runs.npz"


class ModelCard(BaseModel):
    """What the exporter must know of a model beyond its layers; most of it becomes the bundle's manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    version: Name
    family: str
    settings: FamilySettings = FamilySettings()
    columns: tuple[str, ...] = COLUMNS
    reference_columns: tuple[str, ...] = ("bid", "ask")
    rules: WindowRules
    horizons: tuple[int, ...] = Field(min_length=1)
    target: str = "mid_change"
    unit: str = "price"
    target_scale: float = Field(gt=0, description="pooled standard deviation of the targets")
    feature_names: tuple[str, ...] = FEATURE_NAMES
    training: dict[str, object] = Field(default_factory=dict)
    reference_quantiles: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    symbols: tuple[str, ...] = ()


def save(model: keras.Model, card: ModelCard, sample_ticks: NDArray[np.float64], path: Path, runs: Runs = ()) -> None:
    """Write the archive, whole or not at all.

    `sample_ticks` [n, window + 1, columns] are real windows of raw ticks; `runs` are longer stretches of them.
    """
    if sample_ticks.dtype != np.float64 or sample_ticks.shape[1:] != model.input_shape[1:]:
        raise ValueError(f"sample ticks are {sample_ticks.dtype} {sample_ticks.shape}, the model's {model.input_shape}")
    if path.suffix != ".keras":
        raise UsageError(f"{path}: a model file is named *.keras")
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(unfinished)
        with zipfile.ZipFile(unfinished, "a") as archive:
            archive.writestr(CARD_ENTRY, card.model_dump_json(indent=2))
            archive.writestr(SAMPLE_ENTRY, _packed(sample_ticks))
            if runs:
                archive.writestr(RUNS_ENTRY, validation_runs.packed(runs))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: Path) -> tuple[keras.Model, ModelCard, NDArray[np.float64]]:
    """Model, card and sample ticks. Raises UsageError for a file that is not such an archive, BundleError for a card
    that does not hold."""
    card, sample_ticks = _entries(path)
    model = keras.models.load_model(path, compile=False)
    expected = (None, card.rules.window + 1, len(card.columns))
    if model.input_shape != expected or model.output_shape != (None, len(card.horizons)):
        raise BundleError(f"{path}: takes {model.input_shape} and gives {model.output_shape}; its card says {expected}")
    if sample_ticks.dtype != np.float64 or sample_ticks.shape[1:] != expected[1:]:
        raise BundleError(f"{path}: {SAMPLE_ENTRY}: {sample_ticks.dtype} {sample_ticks.shape}, not {expected}")
    return model, card, sample_ticks


def load_runs(path: Path, card: ModelCard) -> Runs:
    """The runs in an archive that `load` has read; none in one that was made without. Raises BundleError."""
    with zipfile.ZipFile(path) as archive:
        if RUNS_ENTRY not in archive.namelist():
            return []
        try:
            runs = validation_runs.unpacked(archive.read(RUNS_ENTRY))
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path}: {RUNS_ENTRY}: not arrays: {error}") from error
    for run in runs:
        if run.dtype != np.float64 or run.shape[1:] != (len(card.columns),) or len(run) < card.rules.window + 2:
            raise BundleError(f"{path}: {RUNS_ENTRY}: a run is {run.dtype} {run.shape}")
    return runs


def has_card(path: Path) -> bool:
    """Whether `path` is a model file of `tickcast train`; any other Keras archive is a foreign model."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return CARD_ENTRY in archive.namelist()


def _packed(sample_ticks: NDArray[np.float64]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ticks=sample_ticks)
    return buffer.getvalue()


def _entries(path: Path) -> tuple[ModelCard, NDArray[np.float64]]:
    try:
        with zipfile.ZipFile(path) as archive:
            card = ModelCard.model_validate_json(archive.read(CARD_ENTRY))
            with np.load(io.BytesIO(archive.read(SAMPLE_ENTRY)), allow_pickle=False) as sample:
                return card, sample["ticks"]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise UsageError(f"{path}: not a Keras archive (.keras)") from error
    except KeyError as error:
        raise UsageError(f"{path}: no model of `tickcast train`: {error.args[0]}") from error
    except ValidationError as error:
        problems = (f"{path}: {CARD_ENTRY}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise BundleError("\n".join(problems)) from error
