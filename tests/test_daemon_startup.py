"""How a daemon comes up, says what is wrong where it cannot, is watched while it runs, and ends."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import feeds
import psutil
import pytest
from daemons import DaemonProcess, Job, toml, wait_until
from feeds import Feed
from tickcast.manifest import MANIFEST_NAME, Manifest, sealed

EXIT_CONFIG = 78
NOT_FOR_THE_DAEMON = {"tensorflow", "keras", "tf2onnx", "onnx", "tickcast_export", "matplotlib", "pyarrow", "jgo"}


def test_the_daemon_loads_nothing_of_the_export() -> None:
    script = (
        "import importlib, json, pkgutil, sys, tickcast\n"
        "for module in pkgutil.walk_packages(tickcast.__path__, 'tickcast.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    assert {"tickcast", "onnxruntime", "kafka"} <= loaded
    assert loaded.isdisjoint(NOT_FOR_THE_DAEMON)


def test_a_running_daemon_has_no_tensorflow_mapped(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    daemon = start_daemon(job(exported("stacked").bundle).config())
    daemon.wait_ready()
    mapped = [Path(mapping.path).parts for mapping in psutil.Process(daemon.pid).memory_maps()]
    assert any("onnxruntime" in parts for parts in mapped)
    assert not [parts for parts in mapped if {"tensorflow", "keras", "tickcast_export"} & set(parts)]


def test_every_problem_of_a_configuration_is_named_at_once(tmp_path: Path, start_daemon) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(
        toml({"kafka": {"group_id": "", "outputtopic": "x", "session_timeout_ms": 0}, "http": {"port": -1}})
    )
    daemon = start_daemon(path)
    assert daemon.wait() == EXIT_CONFIG
    said = daemon.text().splitlines()
    keys = [
        "kafka.group_id",
        "kafka.outputtopic",
        "kafka.session_timeout_ms",
        "http.port",
        "kafka.input_topics",
        "models",
    ]
    for key in keys:
        assert any(f"{path}: {key}: " in line for line in said), key


def test_every_topic_that_does_not_exist_is_named(exported, job: Callable[..., Job], start_daemon) -> None:
    config = job(exported("stacked").bundle).config(
        kafka={"output_topic": "not-there", "dead_letter_topic": "nor-there"}
    )
    daemon = start_daemon(config)
    assert daemon.wait() == EXIT_CONFIG
    assert "nor-there, not-there" in daemon.text()


def test_a_tampered_bundle_is_refused_with_every_problem(
    exported, job: Callable[..., Job], tmp_path: Path, start_daemon: Callable[..., DaemonProcess]
) -> None:
    bundle = shutil.copytree(exported("stacked").bundle, tmp_path / "tampered")
    for name in ("window.onnx", "finish.onnx"):
        content = bytearray((bundle / name).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle / name).write_bytes(content)
    daemon = start_daemon(job(bundle).config())
    assert daemon.wait() == EXIT_CONFIG
    for name in ("window.onnx", "finish.onnx"):
        assert f"{bundle}: {name}: sha256 is " in daemon.text()


def test_a_bundle_whose_certificate_does_not_hold_here_is_refused(
    exported, job: Callable[..., Job], tmp_path: Path, start_daemon: Callable[..., DaemonProcess]
) -> None:
    """Hashes hold, answers do not: the manifest promises more than float32 can keep."""
    bundle = shutil.copytree(exported("stacked").bundle, tmp_path / "promising")
    tree = json.loads((bundle / MANIFEST_NAME).read_text())
    tree["certificate"]["tolerance"] = 1e-12
    (bundle / MANIFEST_NAME).write_text(sealed(Manifest.model_validate(tree)).model_dump_json())
    daemon = start_daemon(job(bundle).config())
    assert daemon.wait() == EXIT_CONFIG
    assert f"{bundle}: window path" in daemon.text()
    assert f"{bundle}: finish path" in daemon.text()


def test_cuda_without_a_gpu_is_an_error_and_never_ready(exported, job: Callable[..., Job], start_daemon) -> None:
    config = job(exported("stacked").bundle).config(inference={"provider": "cuda"})
    daemon = start_daemon(config, {"CUDA_VISIBLE_DEVICES": ""})
    assert daemon.wait() == EXIT_CONFIG
    assert "provider cuda cannot be had: cuda: " in daemon.text()
    assert not daemon.events("ready")


def test_auto_without_a_gpu_says_that_it_took_the_cpu(exported, job: Callable[..., Job], start_daemon) -> None:
    config = job(exported("stacked").bundle).config(inference={"provider": "auto"})
    daemon = start_daemon(config, {"CUDA_VISIBLE_DEVICES": ""})
    daemon.wait_ready()
    said = daemon.wait_for_event("provider")
    assert (said["level"], said["provider"]) == ("warning", "cpu")
    assert said["reason"].startswith("cuda: ")
    assert daemon.samples("tickcast_provider_info") == {frozenset({("provider", "cpu"), ("requested", "auto")}): 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(number: signal.Signals, exported, job: Callable[..., Job], start_daemon) -> None:
    daemon = start_daemon(job(exported("stacked").bundle).config())
    daemon.wait_ready()
    children = psutil.Process(daemon.pid).children()
    assert daemon.stop(number) == 0
    assert daemon.events("stopping")
    assert children
    assert not any(child.is_running() for child in children)


def test_a_signal_before_it_is_ready_ends_it_with_0_too(exported, job: Callable[..., Job], start_daemon) -> None:
    daemon = start_daemon(job(exported("stacked").bundle).config())
    daemon.wait_for_event("metrics and health")
    assert daemon.stop() == 0
    assert not daemon.events("ready")


def test_a_signal_while_it_connects_ends_it_with_0(exported, job: Callable[..., Job], start_daemon) -> None:
    with socket.socket() as deaf:  # takes connections and never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        servers = f"127.0.0.1:{deaf.getsockname()[1]}"
        daemon = start_daemon(job(exported("stacked").bundle).config(kafka={"bootstrap_servers": servers}))
        daemon.wait_for_event("model")
        assert daemon.stop() == 0
    assert [said["reason"] for said in daemon.events("stopped")] == ["signal before anything was consumed"]


def test_readyz_is_503_until_partitions_are_assigned(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    """A second daemon on a topic of one partition: it waits as a spare, alive and not ready."""
    work = job(exported("stacked").bundle)
    first = start_daemon(work.config("one"))
    first.wait_ready()
    spare = start_daemon(work.config("two"))
    status, body = spare.get("/readyz")
    assert status == 503
    assert json.loads(body)["ready"] is False
    assert spare.get("/livez")[0] == 200
    assert spare.total("tickcast_ready") == 0
    assert not spare.owned()
    assert len(first.owned()) == 1


def test_metrics_agree_with_the_audit(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    work = job(exported("stacked").bundle, 2)
    daemon = start_daemon(work.config(input={"record_bytes_max": feeds.OVERSIZE_BYTES}))
    with Feed(work.bootstrap_servers, work.input_topic, 2) as feed:
        feed.send(feeds.with_bad_records(feeds.ticks(600, seed=4), every=40))
    work.wait_done()
    whole = work.audit()
    assert whole["adds_up"]
    metrics = {
        "ticks": "tickcast_ticks_processed_total",
        "forecasts": "tickcast_forecasts_total",
        "warming": "tickcast_warming_ticks_total",
        "skipped": "tickcast_skipped_ticks_total",
        "dead_letters": "tickcast_dead_letters_total",
    }
    assert {part: daemon.total(metric) for part, metric in metrics.items()} == {part: whole[part] for part in metrics}
    assert whole["dead_letters"] == 600 // 40
    handed_over = whole["forecasts"] + whole["dead_letters"] + daemon.total("tickcast_state_records_total")
    assert daemon.total("tickcast_records_acknowledged_total") == handed_over
    wait_until(lambda: daemon.total("tickcast_lag_records") == 0, "no lag")
    assert daemon.get("/livez")[0] == 200
