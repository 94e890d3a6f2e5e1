"""Secrets, read from files at the moment they are needed and kept nowhere else.

Before every stage of the way of a tick. Who may read such a file is held to what ssh asks of a private key, and a file
that everybody may read is refused whoever owns it. No message repeats what is in the file.
"""

import os
import stat

from tickcast.errors import ConfigurationError

# Longer than any password or key; a file that is longer was not meant.
SECRET_BYTES_MAX = 65_536


def read(setting: str, path: str) -> str:
    """The secret in `path`, that `setting` names, without the newline that editors leave.

    Raises ConfigurationError where it cannot be read, is empty, or others may read it too.
    """
    try:
        # A FIFO would otherwise be waited for until somebody writes into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check(setting, path, os.fstat(file.fileno()))
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path}: cannot be read: {error.strerror}") from error
    if len(content) > SECRET_BYTES_MAX:
        raise ConfigurationError(f"{setting}: {path}: longer than {SECRET_BYTES_MAX} bytes")
    secret = _text(content)
    if not secret or "\0" in secret:
        reason = "not UTF-8" if secret is None else "holds a zero byte" if secret else "empty"
        raise ConfigurationError(f"{setting}: {path}: {reason}")
    return secret


def _text(content: bytes) -> str | None:
    """None where it is none: the decoder's own error would quote the bytes wherever it is shown."""
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None


def _check(setting: str, path: str, found: os.stat_result) -> None:
    """Raise ConfigurationError where it is no file, or not for us alone."""
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{setting}: {path}: no regular file")
    # A group is what root gives a file of its own to a daemon by; of a file of ours it lets others in.
    others = stat.S_IRWXG | stat.S_IRWXO if found.st_uid == os.geteuid() else stat.S_IRWXO
    if found.st_mode & others:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigurationError(f"{setting}: {path}: others may read it (mode {mode:04o}); chmod {mode & ~others:04o}")
