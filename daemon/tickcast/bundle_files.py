"""The files of a bundle as bytes and arrays, none longer than it may be and none from outside of the folder.

Before every stage of the way of a tick: nothing read here is believed yet, so every length has a limit.
"""

import errno
import io
import math
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickcast.errors import BundleError

MIB = 1_048_576
# The quantiles of a thousand columns are below 1 MiB; the weights of a model of 100 million parameters below 400 MiB.
MANIFEST_BYTES_MAX = 8 * MIB
GRAPH_BYTES_MAX = 512 * MIB
# Golden windows packed, and all arrays of a file unpacked: a few hundred windows are below 1 MiB.
ARRAYS_BYTES_MAX = 128 * MIB
UNPACKED_BYTES_MAX = 512 * MIB

ARRAY_SUFFIX = ".npy"
# An array as `numpy.save` writes it (numpy.org, "numpy.lib.format", version 1.0), of the kinds that a bundle has. Not
# read by numpy: it evaluates what stands there, and believes the shape before it has seen the data.
ARRAY_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|<f8|<U[1-9][0-9]{0,3})', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9]{1,9}(?:, ?[0-9]{1,9}){0,7}),?\), \} *\n",
    re.DOTALL,
)

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the standard library says of bytes that are no zip file.
UNREADABLE = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read(path: Path, bytes_max: int) -> bytes:
    """What is in `path`. Raises BundleError where that is a link, no file at all, or longer than `bytes_max`."""
    try:
        # A FIFO would otherwise be waited for until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BundleError(f"{path.name}: no regular file")
            content = file.read(bytes_max + 1)
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise BundleError(f"{path.name}: cannot be read: {reason}") from error
    if len(content) > bytes_max:
        raise BundleError(f"{path.name}: longer than {bytes_max} bytes")
    return content


def arrays(content: bytes, names: Sequence[str]) -> dict[str, Any]:
    """The arrays of an npz file, which must be those of `names`. Raises BundleError where they are not."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            found = sorted(member.filename.removesuffix(ARRAY_SUFFIX) for member in members)
            if found != sorted(names):
                raise BundleError(f"holds {found}, must hold {sorted(names)}")
            if not all(member.compress_type in COMPRESSIONS for member in members):
                raise BundleError("not arrays: packed in another way than numpy does it")
            if sum(member.file_size for member in members) > UNPACKED_BYTES_MAX:
                raise BundleError(f"longer than {UNPACKED_BYTES_MAX} bytes when unpacked")
            # No member gives more bytes than the `file_size` that was counted.
            contents = {member.filename.removesuffix(ARRAY_SUFFIX): archive.read(member) for member in members}
    except UNREADABLE as error:
        raise BundleError(f"not arrays: {error}") from error
    return {name: _array(name, contents[name]) for name in names}


def _array(name: str, content: bytes) -> NDArray[Any]:
    head = ARRAY_HEAD.match(content)
    if head is None:
        raise BundleError(f"not arrays: {name} has no header that says so")
    shape = tuple(map(int, head[3].split(b",")))
    dtype = np.dtype(head[1].decode())
    if math.prod(shape) * dtype.itemsize != len(content) - head.end():
        raise BundleError(f"not arrays: {name} is not as long as its header says")
    array = np.frombuffer(content, dtype, offset=head.end())
    if dtype.kind == "U" and (array.view(np.uint32) > sys.maxunicode).any():  # which numpy fails on, later
        raise BundleError(f"not arrays: {name} holds what is no text")
    return array.reshape(shape, order="F" if head[2] == b"True" else "C")
