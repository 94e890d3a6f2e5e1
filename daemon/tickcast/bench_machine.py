"""What a bench's figures were taken on: without it they mean little.

Beside the way of a tick: what the benches say about it.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from tickcast import __version__

CPU_FACTS = Path("/proc/cpuinfo")
# Runnable processes for each core, before a bench adds its own, from which on its figures are about the others too.
LOAD_PER_CORE_MAX = 0.5
GPU_TIMEOUT_S = 30.0  # a driver that nobody uses takes seconds to wake up


def facts() -> dict[str, Any]:
    """The machine and the software, for a report."""
    return {
        "cores": cores(),
        "cpu": cpu_model(),
        "gpus": gpus(),
        "load_1m": round(load(), 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tickcast": __version__,
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def load() -> float:
    """Processes that ran or wanted to, on average over the last minute."""
    return os.getloadavg()[0]


def cpu_model() -> str:
    """The processor's name, as the kernel tells it."""
    try:
        lines = CPU_FACTS.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def gpus() -> list[str]:
    """Name and driver of each GPU, as NVIDIA's own tool tells them; none where it is not installed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=GPU_TIMEOUT_S)
    return told.stdout.splitlines() if told.returncode == 0 else []


def busy_warning() -> str:
    """A line for people where others use the machine too; empty where it is quiet."""
    now = load()
    if now <= LOAD_PER_CORE_MAX * cores():
        return ""
    return f"warning: the load is {now:.1f} on {cores()} cores: these times are as much about the others' work"
