"""Where bundles lie, by their sha256: for whoever answers as one did that is not in force any more.

Beside the way of a tick.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tickcast import bundle, manifest
from tickcast.bundle import Bundle
from tickcast.config import Config
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import MANIFEST_NAME


def find(config: Config, folders: Sequence[Path]) -> dict[str, Path]:
    """sha256 -> folder, of the bundles that `config` names, shadows too, and of those in `folders`.

    Each of `folders` is a bundle, or holds bundles. Raises UsageError for one with none, BundleError for a bundle in
    them that cannot be read; one that `config` names may be away, for it may never have answered.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        held = list(_bundles_in(folder))
        if not held:
            raise UsageError(f"--bundles {folder}: no bundle, and no folder of bundles")
        found |= {manifest.read(each)[1]: each for each in held}
    for entry in config.models:
        for named in (entry.bundle, entry.shadow):
            if named is not None:
                try:
                    found.setdefault(manifest.read(named)[1], named)
                except BundleError:
                    continue
    return found


def load(at_hand: Mapping[str, Path], sha256: str) -> Bundle:
    """The bundle of that name, one of those `at_hand`. Raises BundleError, also where another one lies there now."""
    folder = at_hand[sha256]
    loaded = bundle.load(folder)
    if loaded.sha256 != sha256:
        raise BundleError(f"{folder}: holds {loaded.sha256} now, and held {sha256}")
    return loaded


def _bundles_in(folder: Path) -> Iterator[Path]:
    if (folder / MANIFEST_NAME).is_file():
        yield folder
        return
    try:
        inner = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"--bundles {folder}: cannot be read: {error.strerror}") from error
    yield from (each for each in inner if (each / MANIFEST_NAME).is_file())
