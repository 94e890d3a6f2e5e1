"""The driver's calls, to a driver that is not there: what is asked of it, and what becomes of its refusals."""

import ctypes
import gc

import numpy as np
import pytest
from tickcast import cuda_driver
from tickcast.cuda_driver import CudaDevice
from tickcast.errors import ProviderError

OUT_OF_MEMORY = 2
FREE_BYTES, TOTAL_BYTES = 3_000, 8_000


class FakeDriver:
    """libcuda of a machine with `gpus` GPUs, whose device memory is the host's; `refused` names calls that fail."""

    def __init__(self, gpus=1, refused=()):
        self.gpus = gpus
        self.refused = refused
        self.calls = []
        self._memory = {}

    def __getattr__(self, function):
        def call(*arguments):
            self.calls.append(function)
            if function in self.refused:
                return OUT_OF_MEMORY
            act = getattr(type(self), f"on_{function}", None)
            if act is not None:
                act(self, *arguments)
            return 0

        return call

    def on_cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = self.gpus

    def on_cuDeviceGetName(self, buffer, length, device):  # noqa: N802
        buffer.value = b"Imagined H100"

    def on_cuDeviceGetPCIBusId(self, buffer, length, device):  # noqa: N802
        buffer.value = b"0000:3B:00.0"

    def on_cuMemGetInfo_v2(self, free, total):  # noqa: N802
        free._obj.value, total._obj.value = FREE_BYTES, TOTAL_BYTES

    def on_cuMemAlloc_v2(self, address, length):  # noqa: N802
        memory = ctypes.create_string_buffer(b"\xff" * length.value, length.value)
        address._obj.value = ctypes.addressof(memory)
        self._memory[address._obj.value] = memory

    def on_cuMemsetD8_v2(self, address, value, length):  # noqa: N802
        ctypes.memset(address.value, value.value, length.value)

    def on_cuMemcpyHtoD_v2(self, address, source, length):  # noqa: N802
        ctypes.memmove(address.value, source.value, length.value)

    def on_cuMemcpyDtoH_v2(self, target, address, length):  # noqa: N802
        ctypes.memmove(target.value, address.value, length.value)

    def on_cuGetErrorString(self, status, words):  # noqa: N802
        words._obj.value = b"out of memory"


@pytest.fixture
def driver(monkeypatch):
    """`driver(...)` makes it the machine's."""

    def make(**settings):
        made = FakeDriver(**settings)
        monkeypatch.setattr(cuda_driver.ctypes, "CDLL", lambda name: made)
        return made

    return make


def test_a_machine_without_the_driver_says_so(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", absent)
    assert cuda_driver.hindrance() == "no NVIDIA driver (libcuda.so.1) on this machine"


@pytest.mark.parametrize("settings", [{"gpus": 0}, {"refused": ("cuInit",)}])
def test_a_driver_without_a_gpu_says_so(driver, settings):
    driver(**settings)
    assert cuda_driver.hindrance() == "the NVIDIA driver finds no GPU"


def test_nothing_hinders_a_machine_with_a_gpu(driver):
    driver()
    assert cuda_driver.hindrance() is None


def test_a_device_says_what_and_where_it_is(driver):
    driver()
    device = CudaDevice(0)
    assert (device.name, device.bus_id) == ("Imagined H100", "0000:3b:00.0")
    assert device.memory() == (FREE_BYTES, TOTAL_BYTES)


def test_what_goes_to_the_device_comes_back(driver):
    driver()
    device = CudaDevice(0)
    sent, back = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    address = device.allocate(sent.nbytes)
    device.to_host(back, address)
    assert not back.any()
    device.to_device(address, sent)
    device.to_host(back[:1], address)
    assert back.tolist() == [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]


def test_every_copy_enters_the_device_s_context(driver):
    """Another thread than the one that made the device may be the one that copies."""
    asked = driver()
    device = CudaDevice(0)
    array = np.zeros(4)
    address = device.allocate(array.nbytes)
    asked.calls.clear()
    device.to_device(address, array)
    device.to_host(array, address)
    assert asked.calls == ["cuCtxSetCurrent", "cuMemcpyHtoD_v2", "cuCtxSetCurrent", "cuMemcpyDtoH_v2"]


def test_a_refusal_names_the_gpu_the_call_and_the_driver_s_reason(driver):
    driver(refused=("cuMemAlloc_v2",))
    device = CudaDevice(3)
    with pytest.raises(ProviderError, match=r"GPU 3: cuMemAlloc_v2: out of memory \(2\)"):
        device.allocate(1 << 40)


def test_everything_is_given_back_with_the_device(driver):
    asked = driver()
    device = CudaDevice(0)
    device.pin(np.zeros(8))
    device.allocate(64)
    device.allocate(64)
    asked.calls.clear()
    del device
    gc.collect()
    assert asked.calls == [
        "cuCtxSetCurrent",
        "cuMemHostUnregister",
        "cuMemFree_v2",
        "cuMemFree_v2",
        "cuDevicePrimaryCtxRelease_v2",
    ]
