"""Memory that processes share: it has no name and goes with its last holder, however that ends."""

import fcntl
import os


def create(name: str, size: int) -> int:
    """A descriptor of `size` zeroed bytes, sealed in size: no holder can make another one's access fault."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd
