"""Execution providers: which there are, and which one a session really got. No silent fallback.

onnxruntime drops to the CPU without an error when a provider cannot load, and runs single nodes there that a provider
has no kernel for; so a session is asked afterwards what each of its nodes runs on, and the answer counts. A new
provider is one entry in `PROVIDERS`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from tickcast import cuda_driver
from tickcast.config import InferenceConfig
from tickcast.errors import ProviderError

# What a session throws when it cannot be made or run: onnxruntime's errors have no base class of their own.
RUN_ERRORS = (
    RuntimeError,
    ValueError,
    runtime.EPFail,
    runtime.EngineError,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
# The run option that names the CUDA graph to capture or to replay, and its value for neither.
GRAPH_ID_KEY = "gpu_graph_id"
NO_GRAPH_ID = -1
MEBIBYTE = 1 << 20
# Sessions that a daemon may open, among which the memory limit is divided: onnxruntime's is one session's.
SESSIONS_MAX = 8

Options = Mapping[str, str]


class Provider(NamedTuple):
    """One execution provider: onnxruntime's name, whose memory it works on, what hinders it here, and its options."""

    ort_name: str
    memory: Literal["host", "cuda"]
    hindrance: Callable[[], str | None]  # None: nothing
    options: Callable[[InferenceConfig], Options]


def _cuda_hindrance() -> str | None:
    """Why CUDA cannot run here."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without CUDA; install onnxruntime-gpu"
    return cuda_driver.hindrance()


def _cuda_options(config: InferenceConfig) -> Options:
    options = {
        "device_id": str(config.device_id),
        # TF32 rounds products to 10 bits: outside the tolerance bundles are certified with.
        "use_tf32": "0",
        # Doubling, the default, takes up to twice what is needed, of memory that daemons share.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if config.gpu_memory_limit_mb:
        options["gpu_mem_limit"] = str(config.gpu_memory_limit_mb * MEBIBYTE // SESSIONS_MAX)
    return options


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "host", lambda: None, lambda config: {}),
    "cuda": Provider("CUDAExecutionProvider", "cuda", _cuda_hindrance, _cuda_options),
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


def session(graph: bytes, name: str, config: InferenceConfig, captures: bool = False) -> Any:
    """An onnxruntime session over `graph`, every node on provider `name`; with `captures`, one for CUDA graphs.

    Raises ProviderError where it, or a node of it, would run elsewhere.
    """
    provider = PROVIDERS[name]
    if name != "cpu":
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    # More threads make none of these graphs faster; several runs at once do.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    chosen = {**provider.options(config), **({"enable_cuda_graph": "1"} if captures else {})}
    try:
        made = onnxruntime.InferenceSession(graph, options, [(provider.ort_name, chosen)], enable_fallback=0)
    except RUN_ERRORS as error:
        raise ProviderError(f"provider {name} cannot be had: {error}") from error
    strays = [f"{node} on {where}" for node, where in nodes(made) if where != provider.ort_name]
    if strays or made.get_providers()[0] != provider.ort_name:
        got = ", ".join(strays) or made.get_providers()[0]
        raise ProviderError(f"provider {name} cannot be had: onnxruntime fell back: {got}")
    return made


def nodes(session: Any) -> list[tuple[str, str]]:
    """Each node of a session that `session` made, as operator and name, and the provider it was given to."""
    return [
        (f"{node.op_type} {node.name}", part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def run_options(graph_id: int | None) -> Any:
    """Options of a run that captures, then replays, the CUDA graph of this number; None: neither."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(GRAPH_ID_KEY, str(NO_GRAPH_ID if graph_id is None else graph_id))
    return options
