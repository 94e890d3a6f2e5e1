"""One GPU through the driver's own library: what it is, buffers in its memory, copies to and from them.

onnxruntime's Python side offers no pinned memory and no copy of a part of a buffer; the driver (libcuda, which comes
with the kernel module) offers both in a few calls: https://docs.nvidia.com/cuda/cuda-driver-api/. It shares the
device's primary context with onnxruntime, so that addresses mean the same to both.
"""

import ctypes
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tickcast.errors import ProviderError

LIBRARY = "libcuda.so.1"
# cuMemHostRegister's CU_MEMHOSTREGISTER_PORTABLE: pinned for every thread's context.
PORTABLE = 1
NAME_BYTES = 100
BUS_ID_BYTES = 20

Array = NDArray[Any]


class MemoryUse(NamedTuple):
    """Bytes of the device's memory, of all its processes."""

    free_bytes: int
    total_bytes: int


def hindrance() -> str | None:
    """Why there is no GPU to use; None where there is one. Nothing half-loaded is left behind."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return f"no NVIDIA driver ({LIBRARY}) on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    return None


class CudaDevice:
    """A GPU. Raises ProviderError, with the driver's own words, where a call fails. Buffers live as long as it does."""

    kind = "cuda"  # onnxruntime's name for such memory

    def __init__(self, index: int) -> None:
        self.index = index
        self._driver = ctypes.CDLL(LIBRARY)
        self._device = ctypes.c_int()
        self._context = ctypes.c_void_p()
        self._pinned: list[Array] = []
        self._allocated: list[int] = []
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), index)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        weakref.finalize(self, _release, self._driver, self._device, self._context, self._pinned, self._allocated)

    @property
    def name(self) -> str:
        """The product's name."""
        return self._text("cuDeviceGetName", NAME_BYTES)

    @property
    def bus_id(self) -> str:
        """Where it sits, as sysfs writes it: 0000:3b:00.0."""
        return self._text("cuDeviceGetPCIBusId", BUS_ID_BYTES).lower()

    def memory(self) -> MemoryUse:
        """What is free now, and what there is."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._enter()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return MemoryUse(free.value, total.value)

    def allocate(self, length_bytes: int) -> int:
        """The address of so many bytes of the device's memory, all zero."""
        address = ctypes.c_uint64()
        self._enter()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(length_bytes))
        self._allocated.append(address.value)
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(length_bytes))
        return address.value

    def pin(self, array: Array) -> None:
        """Keep a host array where it is, so that copies of it need no detour."""
        self._enter()
        self._call("cuMemHostRegister_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes), PORTABLE)
        self._pinned.append(array)

    def to_device(self, address: int, array: Array) -> None:
        """Copy a contiguous host array to the device; it is there when this returns."""
        self._enter()
        source = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), source, ctypes.c_size_t(array.nbytes))

    def to_host(self, array: Array, address: int) -> None:
        """Fill a contiguous host array from the device."""
        self._enter()
        target = ctypes.c_void_p(array.ctypes.data)
        self._call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))

    def _enter(self) -> None:
        """A context is current per thread, and any thread may ask."""
        self._call("cuCtxSetCurrent", self._context)

    def _text(self, function: str, length: int) -> str:
        buffer = ctypes.create_string_buffer(length)
        self._call(function, buffer, length, self._device)
        return buffer.value.decode()

    def _call(self, function: str, *arguments: object) -> None:
        call: Callable[..., int] = getattr(self._driver, function)
        status = call(*arguments)
        if status != 0:
            words = ctypes.c_char_p()
            self._driver.cuGetErrorString(status, ctypes.byref(words))
            raise ProviderError(
                f"GPU {self.index}: {function}: {(words.value or b'unknown error').decode()} ({status})"
            )


def _release(
    driver: Any, device: ctypes.c_int, context: ctypes.c_void_p, pinned: list[Array], allocated: list[int]
) -> None:
    """Give everything back. Whatever the driver says to it, there is nobody left to tell."""
    driver.cuCtxSetCurrent(context)
    for array in pinned:
        driver.cuMemHostUnregister(ctypes.c_void_p(array.ctypes.data))
    for address in allocated:
        driver.cuMemFree_v2(ctypes.c_uint64(address))
    driver.cuDevicePrimaryCtxRelease_v2(device)
