"""Execution providers: which there are, and which one a session really got. No silent fallback.

onnxruntime drops to the CPU without an error when a provider cannot load; so a session is asked afterwards what it
runs on, and the answer counts. A new provider is one entry in `PROVIDERS`.
"""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import onnxruntime

from tickcast.config import InferenceConfig
from tickcast.errors import ProviderError

Options = Mapping[str, str]


class Provider(NamedTuple):
    """One execution provider: onnxruntime's name, what hinders it here (None: nothing), and its options."""

    ort_name: str
    hindrance: Callable[[], str | None]
    options: Callable[[InferenceConfig], Options]


def _cuda_hindrance() -> str | None:
    """Why CUDA cannot run here. Asks the driver itself, so that no half-loaded library is left behind."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without CUDA; install onnxruntime-gpu"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1) on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    return None


def _cuda_options(config: InferenceConfig) -> Options:
    # TF32 rounds products to 10 bits: outside the tolerance bundles are certified with.
    return {"device_id": str(config.device_id), "use_tf32": "0"}


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", lambda: None, lambda config: {}),
    "cuda": Provider("CUDAExecutionProvider", _cuda_hindrance, _cuda_options),
}
# What `auto` tries, best first.
AUTO_ORDER = ("cuda", "cpu")


class Choice(NamedTuple):
    """The provider to use, and why `auto` took no better one (empty where it took the best, or was not asked)."""

    name: str
    reason: str


def choose(wanted: str) -> Choice:
    """The provider for `inference.provider`. Raises ProviderError where the one asked for cannot be had."""
    names = AUTO_ORDER if wanted == "auto" else (wanted,)
    hindrances: list[str] = []
    for name in names:
        hindrance = PROVIDERS[name].hindrance()
        if hindrance is None:
            return Choice(name, "; ".join(hindrances))
        hindrances.append(f"{name}: {hindrance}")
    raise ProviderError(f"provider {wanted} cannot be had: {'; '.join(hindrances)}")


def session(graph: bytes, name: str, config: InferenceConfig) -> Any:
    """An onnxruntime session over `graph` on provider `name`. Raises ProviderError where it fell back to another."""
    provider = PROVIDERS[name]
    if name != "cpu":
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    # The broker and the clients' threads share the cores: a spinning pool takes their time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made = onnxruntime.InferenceSession(graph, options, providers=[(provider.ort_name, dict(provider.options(config)))])
    got = made.get_providers()[0]
    if got != provider.ort_name:
        raise ProviderError(f"provider {name} cannot be had: onnxruntime fell back to {got}")
    return made
