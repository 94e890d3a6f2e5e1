"""A bundle comes to be the shadow: the folders that a configuration names are made to hold what is in force, and it.

Before the way of a tick; what `tickcast shadow` does on each host, between two runs of training. The folder `bundle`
comes to hold the bundle in force, also where that was the shadow until it was promoted; the folder `shadow` the new
one. Only whole folders are renamed, so that a daemon that starts at any moment finds a bundle or none, never a part:
copies are made, and what makes way is deleted, under names of their own.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from tickcast import bundle, manifest, shadow_fit
from tickcast.config import ModelConfig
from tickcast.errors import BundleError, UsageError

# What answered before, one folder further: for whoever has to go back farther than `tickcast promote --back` does.
PREVIOUS = ".previous"
# Copies that are not whole yet, and what is being deleted: hidden, so that nobody keeps a bundle under such a name.
NEW, OLD = ".new", ".old"


class Placed(NamedTuple):
    """Which bundles the two folders hold, by sha256, and whether any folder had to change for it."""

    in_force: str
    shadow: str
    changed: bool


def put(candidate: Path, written: ModelConfig, applied: ModelConfig, mode: str) -> Placed:
    """Make `candidate`, which stays where it is, the shadow of the entry `written` of the configuration.

    `applied` is that entry as the control topic wants it. Raises BundleError where the candidate does not hold, may not
    be a shadow there or changes while it is copied, UsageError where it is in force or a folder cannot be written.
    """
    if written.shadow is None:
        raise UsageError("models: this entry has no shadow: set models.shadow to the folder for it")
    loaded = bundle.load(candidate)
    answering, in_force = manifest.read(applied.bundle)
    if loaded.sha256 == in_force:
        raise UsageError(f"{candidate}: this bundle is in force already")
    shadow_fit.check(answering, loaded.manifest, mode)
    is_promoted = applied.bundle != written.bundle
    if not is_promoted and _sha256(written.shadow) == loaded.sha256:
        return Placed(in_force, loaded.sha256, False)
    try:
        new = _copied(candidate, written.shadow, loaded.sha256)
        _move(new, written.bundle, written.shadow, is_promoted)
    except OSError as error:
        folder = error.filename or written.shadow
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return Placed(in_force, loaded.sha256, True)


def _copied(candidate: Path, shadow: Path, sha256: str) -> Path:
    """A whole copy beside `shadow`, still without effect."""
    new = _beside(shadow, NEW)
    _delete(new)  # of a run that was broken off
    shadow.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(candidate, new)
    copied = bundle.load(new).sha256
    if copied != sha256:
        raise BundleError(f"{candidate}: another bundle was written there while it was copied: nothing moved")
    return new


def _move(new: Path, answers: Path, shadow: Path, is_promoted: bool) -> None:
    """Each step leaves the bundle in force in one of the two folders; a daemon finds it in either."""
    previous = answers.with_name(answers.name + PREVIOUS)
    gone = _beside(previous if is_promoted else shadow, OLD)
    _delete(gone)  # of a run that was broken off
    if is_promoted:
        if answers.exists():
            _rename(previous, gone)
            answers.rename(previous)
        try:
            shadow.rename(answers)
        except OSError:  # another file system, say
            _rename(previous, answers)
            raise
    else:
        _rename(shadow, gone)
    new.rename(shadow)
    _delete(gone)


def _rename(folder: Path, name: Path) -> None:
    """Where there is one, or a link to one."""
    if folder.exists() or folder.is_symlink():
        folder.rename(name)


def _delete(folder: Path) -> None:
    """Where there is one; a link goes, not what it leads to."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}{suffix}")


def _sha256(folder: Path) -> str | None:
    """Of the bundle in `folder`, None where there is none that holds: it is about to be replaced."""
    try:
        return manifest.read(folder)[1]
    except BundleError:
        return None
