"""`tickcast train`: tick files in, a trained model with its card, scores and learning curves out."""

import enum
import json
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from tickcast import tick_files, tick_options
from tickcast.clock import SystemClock
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules

from tickcast_export import curves, dataset, model_card, progress, scores, training
from tickcast_export.families import FAMILIES
from tickcast_export.family import FamilySettings
from tickcast_export.training import Trained, TrainingSettings

Family = enum.StrEnum("Family", {name: name for name in FAMILIES})  # type: ignore[misc]
