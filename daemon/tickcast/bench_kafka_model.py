"""CPU time of the model by itself, by which `tickcast bench kafka` tells the daemon's own share from onnxruntime's.

Beside stage `engine.run` of the way of a tick: the graphs of the window path, alone, at the batch of a full topic.
"""

import time
from pathlib import Path

import numpy as np

from tickcast import bundle, providers
from tickcast.bundle import Bundle
from tickcast.config import InferenceConfig
from tickcast.manifest import GraphRole

ROLES: tuple[GraphRole, ...] = ("features", "window")
# The least of a few: whatever else the machine does only adds.
REPEATS = 7
RUNS = 8


def cpu_us_per_tick(folder: Path, config: InferenceConfig) -> float:
    """Microseconds of this process a tick, on the CPU. Raises BundleError."""
    loaded = bundle.load(folder)
    cpu = config.model_copy(update={"provider": "cpu"})
    return sum(_cpu_us(loaded, role, cpu) for role in ROLES if role in loaded.graphs)


def _cpu_us(loaded: Bundle, role: GraphRole, config: InferenceConfig) -> float:
    session = providers.session(loaded.graphs[role], "cpu", config)
    random, batch = np.random.default_rng(1), config.batch_max
    inputs = {
        tensor.name: random.normal(
            size=[batch if isinstance(length, str) else length for length in tensor.shape]
        ).astype(tensor.dtype)
        for tensor in loaded.manifest.graphs[role].inputs
    }
    outputs = [loaded.manifest.graphs[role].outputs[0].name]
    session.run(outputs, inputs)
    times_s = []
    for _ in range(REPEATS):
        begun_s = time.process_time()
        for _ in range(RUNS):
            session.run(outputs, inputs)
        times_s.append(time.process_time() - begun_s)
    return min(times_s) / RUNS / batch * 1e6
