"""Whether a bundle's folder holds another bundle by now, told from its files without reading them.

Beside the way of a tick; asked on the thread that would load the bundle: a file system may be slow.
"""

from pathlib import Path
from typing import NamedTuple

from tickcast.manifest import MANIFEST_NAME


class FileMark(NamedTuple):
    """What changes when a file does, or another takes its place."""

    name: str
    modified_ns: int
    inode: int
    length_bytes: int


Marks = frozenset[FileMark]


class BundleWatch:
    """One folder. A bundle is replaced by renaming, but one that is being copied in is waited for, too."""

    def __init__(self, folder: Path) -> None:
        self.follow(folder)

    def follow(self, folder: Path) -> None:
        """What lies in `folder` now is about to be loaded."""
        self._folder = folder
        self._loaded = self._seen = marks(folder)

    def changed(self) -> bool:
        """Whether there is another bundle than at the last call that said so, and nothing moved since the last call.

        A folder without a manifest is on its way out or in, and never another bundle.
        """
        found = marks(self._folder)
        at_rest, self._seen = found == self._seen, found
        if not found or not at_rest or found == self._loaded:
            return False
        self._loaded = found
        return True


def marks(folder: Path) -> Marks:
    """The files of `folder`, links followed; none where it is no bundle's folder at this moment."""
    try:
        found = {path.name: path.stat() for path in folder.iterdir()}
    except OSError:  # it is being replaced, or cannot be read: a load asked for by SIGHUP says what is wrong
        return frozenset()
    if MANIFEST_NAME not in found:
        return frozenset()
    return frozenset(FileMark(name, at.st_mtime_ns, at.st_ino, at.st_size) for name, at in found.items())
