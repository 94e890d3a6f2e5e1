"""The journal's own way to take entries: fields instead of lines, https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.

Beside every stage of the way of a tick; `log.py` decides what is said. An entry is one datagram, or, where it is too
long for one, a memory file whose descriptor is sent. Nothing here waits longer than `SEND_TIMEOUT_S`.
"""

import array
import errno
import fcntl
import json
import os
import re
import socket
from collections.abc import Mapping
from typing import Self, TextIO

ADDRESS = "/run/systemd/journal/socket"
# A journal that is behind must not hold up the loop.
SEND_TIMEOUT_S = 0.1
# The journal takes a memory file only if nobody can change or shorten it any more.
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
# What the kernel says of an entry that fits no datagram.
TOO_LONG = (errno.EMSGSIZE, errno.ENOBUFS)
# Of a field's name; longer ones the journal leaves out.
NAME_LENGTH_MAX = 64


class Journal:
    """A line to the journal of this host. Safe to be used by several threads: an entry is sent in one call."""

    def __init__(self, address: str = ADDRESS) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SEND_TIMEOUT_S)

    @classmethod
    def behind(cls, stream: TextIO, environment: Mapping[str, str], address: str = ADDRESS) -> Self | None:
        """The journal, where it is what `stream` leads to: its supervisor says so in JOURNAL_STREAM (systemd.exec(5)).

        The variable alone says nothing: it is inherited by processes whose output goes elsewhere.
        """
        named = environment.get("JOURNAL_STREAM", "")
        if not named or named != _device_and_inode(stream):
            return None
        return cls(address)

    def send(self, fields: Mapping[str, object]) -> None:
        """One entry. Raises OSError where the journal does not take it."""
        entry = encode(fields)
        try:
            self._socket.sendto(entry, self._address)
        except OSError as error:
            if error.errno not in TOO_LONG:
                raise
            self._send_file(entry)

    def close(self) -> None:
        """Nothing more is sent."""
        self._socket.close()

    def _send_file(self, entry: bytes) -> None:
        with os.fdopen(os.memfd_create("tickcast-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
            self._socket.sendmsg([b""], [rights], 0, self._address)


def encode(fields: Mapping[str, object]) -> bytes:
    """An entry as it goes over the wire. Values that are no text are written as JSON."""
    return b"".join(_encoded(_name(name), _text(value)) for name, value in fields.items())


def _encoded(name: bytes, value: bytes) -> bytes:
    """`NAME=value`, or with the value's length where it has more than one line."""
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def _name(name: str) -> bytes:
    """Capitals, digits and underscores, a letter first: the journal leaves out what is called otherwise."""
    legal = re.sub("[^A-Z0-9_]", "_", name.upper())
    return legal.lstrip("_0123456789")[:NAME_LENGTH_MAX].encode() or b"FIELD"


def _text(value: object) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def _device_and_inode(stream: TextIO) -> str:
    try:
        found = os.fstat(stream.fileno())
    except OSError:  # no file behind it, as in tests and notebooks
        return ""
    return f"{found.st_dev}:{found.st_ino}"
