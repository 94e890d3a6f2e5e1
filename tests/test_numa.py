"""Memory nodes as the kernel writes them."""

import pytest
from tickcast import numa

BUS_ID = "0000:3b:00.0"


@pytest.fixture
def sysfs(tmp_path):
    """Two nodes of four processors; `sysfs(node)` puts the GPU at one."""

    def make(node):
        device = tmp_path / "bus/pci/devices" / BUS_ID
        device.mkdir(parents=True)
        (device / "numa_node").write_text(f"{node}\n")
        for number, processors in enumerate(("0-1,4-5", "2-3,6-7")):
            folder = tmp_path / f"devices/system/node/node{number}"
            folder.mkdir(parents=True)
            (folder / "cpulist").write_text(f"{processors}\n")
        return tmp_path

    return make


def test_a_gpu_at_another_node_is_said_with_both(sysfs):
    said = numa.distance(BUS_ID, {0, 5}, sysfs(1))
    assert said == f"the GPU {BUS_ID} is at memory node 1, this process at 0: bind it to node 1's processors"


@pytest.mark.parametrize("processors", [{2}, {0, 7}])
def test_a_gpu_at_a_node_of_the_process_is_nothing_to_say(sysfs, processors):
    assert numa.distance(BUS_ID, processors, sysfs(1)) == ""


def test_a_node_that_the_firmware_does_not_know_is_nothing_to_say(sysfs):
    assert numa.distance(BUS_ID, {0}, sysfs(-1)) == ""


def test_a_device_or_machine_without_nodes_is_nothing_to_say(sysfs, tmp_path):
    assert numa.distance(BUS_ID, {0}, tmp_path) == ""
    assert numa.distance("0000:99:00.0", {0}, sysfs(1)) == ""
