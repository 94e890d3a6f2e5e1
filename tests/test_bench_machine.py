"""What the benches say of the machine they ran on."""

import json

import pytest
from tickcast import bench_machine


def test_the_facts_name_machine_and_software_and_can_be_written_down():
    facts = bench_machine.facts()
    assert facts["cores"] >= 1
    assert facts["cpu"]
    software = {"system", "python", "numpy", "tickcast"}
    assert set(json.loads(json.dumps(facts))) == {"cores", "cpu", "gpus", "load_1m"} | software


def test_gpus_are_named_by_nvidia_s_tool(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Some GPU, 580.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bench_machine.gpus() == ["Some GPU, 580.1"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert bench_machine.gpus() == []
    tool.unlink()
    assert bench_machine.gpus() == []


@pytest.mark.parametrize(("load", "warns"), [(0.9, False), (1.1, True)])
def test_a_machine_that_others_use_is_warned_about(load, warns, monkeypatch):
    monkeypatch.setattr(bench_machine, "cores", lambda: 2)
    monkeypatch.setattr(bench_machine, "load", lambda: load)
    assert bool(bench_machine.busy_warning()) == warns
