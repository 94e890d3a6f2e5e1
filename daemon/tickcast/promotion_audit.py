"""The audit file: who promoted what, when, and on what grounds. Lines are only ever added, refusals too.

Beside the way of a tick, written by `tickcast promote`. A line is on the disk before the decision takes effect.
"""

import os
from pathlib import Path

from tickcast import promotion_record
from tickcast.errors import ConfigurationError
from tickcast.promotion_record import Decision

MODE = 0o640


def append(path: Path, decision: Decision) -> None:
    """Add `decision`'s line and wait until it is on the disk. Raises ConfigurationError where it cannot be written."""
    line = promotion_record.encode_line(decision)
    try:
        existed = path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            _write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not existed:
            _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path}: the audit file cannot be written: {error.strerror}") from error


def read(path: Path) -> list[Decision]:
    """Every decision in the file, oldest first. Raises ConfigurationError naming the first line that is none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    decisions = []
    for number, line in enumerate(lines, 1):
        if line:
            try:
                decisions.append(promotion_record.decode_line(line))
            except ValueError as error:
                raise ConfigurationError(f"{path}: line {number}: no decision: {error}") from error
    return decisions


def _write(descriptor: int, line: bytes) -> None:
    """In one call, so that two processes' lines do not mix; after a line that was cut off, on one of its own."""
    length = os.fstat(descriptor).st_size
    whole = line if not length or os.pread(descriptor, 1, length - 1) == b"\n" else b"\n" + line
    written = os.write(descriptor, whole)
    if written < len(whole):
        raise OSError(0, f"only {written} of {len(whole)} bytes were written")


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
