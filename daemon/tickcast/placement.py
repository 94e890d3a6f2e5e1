"""Where the graphs of a bundle run, and so how: on the host over its own memory, or on a GPU over buffers there.

Behind the engines; the one place that knows there is more than one kind of memory.
"""

import os
from collections.abc import Sequence
from typing import Any

from tickcast import numa, providers
from tickcast.bindings import Graph, HostGraph, PlainGraph, Slot, grows, slot
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.cuda_driver import CudaDevice
from tickcast.device_graphs import Device, DeviceGraph
from tickcast.manifest import GraphRole
from tickcast.providers import MEBIBYTE, PROVIDERS

# A tensor's buffer on a device is no larger: carries of long windows are hundreds of KB a row.
DEVICE_BUFFER_BYTES_MAX = 256 * MEBIBYTE


class Placement:
    """The provider chosen, and the graphs made on it. Raises ProviderError where the one asked for cannot be had."""

    def __init__(self, bundle: Bundle, config: InferenceConfig) -> None:
        choice = providers.choose(config.provider)
        self.provider = choice.name
        self.provider_reason = choice.reason  # why `auto` took no better one
        self._bundle = bundle
        self._config = config
        self._gpu = CudaDevice(config.device_id) if PROVIDERS[choice.name].memory == "cuda" else None
        self._sessions: dict[GraphRole, Any] = {}
        self._on_device: list[tuple[GraphRole, DeviceGraph]] = []

    def bound(self, role: GraphRole, outputs: Sequence[str], rows_max: int) -> Graph:
        """The graph of `role` for these outputs; for one thread, small tensors and quick runs."""
        if self._gpu is not None:
            return self._device_graph(role, outputs, rows_max, self._gpu)
        tensors = self._bundle.manifest.graphs[role].inputs
        inputs = [each for each in (slot(tensor) for tensor in tensors if not grows(tensor)) if not each.is_large]
        return HostGraph(self._session(role), inputs, self._slots(role, outputs), rows_max)

    def plain(self, role: GraphRole, outputs: Sequence[str], rows_max: int) -> Graph:
        """The same for several threads at once, rows of changing shape, or large outputs."""
        if self._gpu is not None:
            return self._device_graph(role, outputs, rows_max, self._gpu)
        return PlainGraph(self._session(role), outputs, rows_max)

    def warm(self) -> None:
        """Run everything that will be run once, in every size that it will have."""
        for _, graph in self._on_device:
            graph.warm()

    @property
    def keep_warm_interval_ms(self) -> int:
        """How long it may idle before it is slow to wake; 0: it does not matter here."""
        return 0 if self._gpu is None else self._config.keep_warm_interval_ms

    @property
    def uncaptured(self) -> list[str]:
        """Graphs on a GPU that run without CUDA graphs, and why; complete once it is warm."""
        return [f"{role}: {graph.uncaptured}" for role, graph in self._on_device if graph.uncaptured]

    @property
    def remark(self) -> str:
        """What whoever set this machine up should know of it; empty: nothing."""
        return numa.distance(self._gpu.bus_id, os.sched_getaffinity(0)) if self._gpu is not None else ""

    def _session(self, role: GraphRole) -> Any:
        """On the host one session serves every set of outputs."""
        if role not in self._sessions:
            self._sessions[role] = providers.session(self._bundle.graphs[role], self.provider, self._config)
        return self._sessions[role]

    def _device_graph(self, role: GraphRole, outputs: Sequence[str], rows_max: int, device: Device) -> DeviceGraph:
        def open_session(captures: bool) -> Any:
            return providers.session(self._bundle.graphs[role], self.provider, self._config, captures)

        inputs = self._slots(role, [tensor.name for tensor in self._bundle.manifest.graphs[role].inputs])
        wanted = self._slots(role, outputs)
        longest = max(each.row_bytes for each in (*inputs, *wanted))
        rows_max = max(1, min(rows_max, DEVICE_BUFFER_BYTES_MAX // longest))
        graph = DeviceGraph(open_session, inputs, wanted, rows_max, device, self._config.cuda_graphs)
        self._on_device.append((role, graph))
        return graph

    def _slots(self, role: GraphRole, names: Sequence[str]) -> list[Slot]:
        """Tensors that grow with the rows before them at their usual length: all of a window but the newest row."""
        graph, window = self._bundle.manifest.graphs[role], self._bundle.manifest.rules.window
        tensors = {tensor.name: tensor for tensor in (*graph.inputs, *graph.outputs)}
        return [slot(tensors[name], {"rows": window - 1, "next_rows": window}) for name in names]
