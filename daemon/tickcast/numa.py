"""Whether a GPU hangs at another memory node than the processors this process may run on: each copy then crosses over.

The kernel says where both are: https://docs.kernel.org/admin-guide/abi-stable.html (`numa_node`, `cpulist`).
"""

from collections.abc import Collection
from pathlib import Path

SYSFS = Path("/sys")


def distance(bus_id: str, processors: Collection[int], sysfs: Path = SYSFS) -> str:
    """What to say where the device at `bus_id` is at a node none of `processors` is at; else, or unknown, empty."""
    device = sysfs / "bus/pci/devices" / bus_id / "numa_node"
    if not device.is_file() or (node := int(device.read_text())) < 0:  # -1: the firmware does not say
        return ""
    nodes = {int(path.parent.name.removeprefix("node")) for path in _lists(sysfs) if _numbers(path) & set(processors)}
    if not nodes or node in nodes:
        return ""
    ours = ", ".join(map(str, sorted(nodes)))
    return f"the GPU {bus_id} is at memory node {node}, this process at {ours}: bind it to node {node}'s processors"


def _lists(sysfs: Path) -> list[Path]:
    return sorted((sysfs / "devices/system/node").glob("node[0-9]*/cpulist"))


def _numbers(path: Path) -> set[int]:
    """`0-3,8` as numbers."""
    found: set[int] = set()
    for part in filter(None, path.read_text().strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
