"""Files that appear when they are complete: written under another name and renamed, chosen by how their name ends.

Beside the way of a tick, for commands that write ticks or forecasts. Under the final name there is never half a file.
"""

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tickcast.errors import MissingExtraError, UsageError

PARQUET = ".parquet"

Kind = TypeVar("Kind")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name to write under: what lies there becomes `path` when the block ends, and is gone where it raises.

    Raises UsageError where it cannot be renamed.
    """
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        with writing(path):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes: UsageError that names `path`, where the disk takes no more."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def chosen(path: Path, kinds: Mapping[str, Kind], what: str) -> Kind:
    """Of `kinds` (how a name ends -> what writes it) the one for `path`, which is to be `what`.

    Raises UsageError for another ending, MissingExtraError without the library for its kind.
    """
    for suffix, kind in kinds.items():
        if path.name.endswith(suffix):
            if suffix == PARQUET:
                arrow("pyarrow.parquet")
            return kind
    raise UsageError(f"{path}: not {what} by its name: {', '.join(kinds)}")


def check_place(path: Path) -> None:
    """Raises UsageError for a `path` that cannot be written, before anything is read for it."""
    folder = path.absolute().parent
    if path.is_dir():
        problem = "a folder"
    elif not folder.is_dir():
        problem = "there is no such folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"{folder} takes no new files"
    else:
        return
    raise UsageError(f"{path}: cannot be written: {problem}")


def arrow(module: str) -> Any:
    """pyarrow, or a module of it. Raises MissingExtraError without it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'tickcast[export]'; or write CSV") from error
