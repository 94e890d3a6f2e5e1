"""A device whose memory is the host's: what is written for a GPU, run and checked without one."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray


class HostDevice:
    """Fulfils `tickcast.device_graphs.Device`, and counts the copies."""

    kind = "cpu"
    index = 0

    def __init__(self) -> None:
        self.rows_copied: list[int] = []
        self.pinned: list[NDArray[Any]] = []
        self._memory: list[NDArray[np.uint8]] = []

    def allocate(self, length_bytes: int) -> int:
        self._memory.append(np.zeros(length_bytes, np.uint8))
        return int(self._memory[-1].ctypes.data)

    def pin(self, array: NDArray[Any]) -> None:
        self.pinned.append(array)

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        self.rows_copied.append(len(array))
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def to_host(self, array: NDArray[Any], address: int) -> None:
        self.rows_copied.append(len(array))
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
