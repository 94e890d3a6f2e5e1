"""The second process, for real: a child, HTTP, and what happens when either side goes."""

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from tickcast.board import Board
from tickcast.clock import SystemClock
from tickcast.config import HttpConfig
from tickcast.errors import ConfigurationError, TickcastError
from tickcast.exposition import CONNECTION_S_MAX, CONNECTIONS_MAX
from tickcast.metrics import BOUNDS_S, METRICS
from tickcast.shared_memory import SharedMemory
from tickcast.sidecar import Sidecar

Ask = Callable[..., tuple[int, str]]

PARENT = """
import sys, time
from tickcast.clock import SystemClock
from tickcast.config import HttpConfig
from tickcast.shared_memory import SharedMemory
from tickcast.sidecar import Sidecar
sidecar = Sidecar.start(SharedMemory.create(SystemClock()), HttpConfig(port=0), 60)
print(sidecar.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedMemory]:
    shared = SharedMemory.create(SystemClock())
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def board(shared: SharedMemory) -> Board:
    return shared.board


@pytest.fixture(scope="module")
def sidecar(shared: SharedMemory) -> Iterator[Sidecar]:
    sidecar = Sidecar.start(shared, HttpConfig(port=0, live_timeout_ms=60_000), 60)
    yield sidecar
    sidecar.stop()


@pytest.fixture
def ask(sidecar: Sidecar) -> Ask:
    """`ask(path, method="GET", **headers)` is the answer's status and body."""
    return lambda path, method="GET", **headers: request(sidecar.url, path, method, **headers)


def request(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def readable(connection: socket.socket, timeout_s: float) -> bool:
    return bool(select.select([connection], [], [], timeout_s)[0])


def test_metrics_are_the_board_s(board: Board, ask: Ask) -> None:
    board.counter("tickcast_ticks_processed_total", topic="ticks").add(12)
    board.gauge("tickcast_lag_records", topic='odd "topic"', partition="3").set(-1.5)
    seconds = np.array([4e-6, 5e-6, 6e-6, 0.2, 11.0])
    board.histogram("tickcast_stage_seconds", stage="decode").observe(seconds)
    status, text = ask("/metrics?name=ignored")
    found = families(text)
    assert status == 200
    assert [(s.labels, s.value) for s in found["tickcast_ticks_processed"].samples] == [({"topic": "ticks"}, 12.0)]
    [lag] = found["tickcast_lag_records"].samples
    assert (lag.labels, lag.value) == ({"topic": 'odd "topic"', "partition": "3"}, -1.5)
    decode = [s for s in found["tickcast_stage_seconds"].samples if s.labels["stage"] == "decode"]
    buckets = {float(s.labels["le"]): s.value for s in decode if s.name.endswith("_bucket")}
    assert buckets == {bound: np.count_nonzero(seconds <= bound) for bound in (*BOUNDS_S, float("inf"))}
    totals = {s.name: s.value for s in decode if "le" not in s.labels}
    assert totals == {"tickcast_stage_seconds_count": 5.0, "tickcast_stage_seconds_sum": pytest.approx(seconds.sum())}


def test_kind_and_help_are_the_table_s(ask: Ask) -> None:
    for name, family in families(ask("/metrics")[1]).items():
        metric = METRICS.get(name) or METRICS[name + "_total"]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_openmetrics_for_who_asks_for_it(board: Board, ask: Ask) -> None:
    board.gauge("tickcast_build_info", version="1", python="3").set(1)
    _, text = ask("/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert text.endswith("# EOF\n")
    assert "tickcast_commits" in {family.name for family in parse_openmetrics(text)}


def test_readiness_is_the_loop_s_word_with_its_detail(board: Board, ask: Ask) -> None:
    board.turn(time.monotonic_ns())
    board.set_ready(False)
    board.set_detail({"state": "rebuilding", "partitions": {"ticks-0": 12}})
    status, body = ask("/readyz")
    answer = json.loads(body)
    assert (status, answer["ready"], answer["reason"]) == (503, False, "the loop is not ready")
    assert answer["detail"] == {"state": "rebuilding", "partitions": {"ticks-0": 12}}
    board.set_ready(True)
    status, body = ask("/readyz")
    assert (status, json.loads(body)["ready"]) == (200, True)


def test_a_loop_that_makes_no_turn_is_neither_live_nor_ready(board: Board, ask: Ask) -> None:
    board.set_ready(True)
    board.turn(time.monotonic_ns() - 61_000_000_000)
    status, body = ask("/livez")
    assert status == 503
    assert "no turn for 61" in json.loads(body)["reason"]
    status, body = ask("/readyz")
    assert status == 503
    assert "no turn for 61" in json.loads(body)["reason"]
    assert "\ntickcast_ready 0.0\n" in ask("/metrics")[1]
    board.turn(time.monotonic_ns())
    assert ask("/livez")[0] == 200
    assert ask("/readyz")[0] == 200
    assert "\ntickcast_ready 1.0\n" in ask("/metrics")[1]


@pytest.mark.parametrize("path", ["/index.html", "/metrics/", "/../etc/passwd", "/livez/x", "/stream/"])
def test_nothing_else_is_served(ask: Ask, path: str) -> None:
    assert ask(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(ask: Ask, method: str) -> None:
    assert ask("/metrics", method)[0] == 405


def test_a_slow_client_does_not_block_others_and_is_cut_off(sidecar: Sidecar, ask: Ask) -> None:
    address = urlsplit(sidecar.url)
    assert address.hostname is not None
    assert address.port is not None
    slow = [socket.create_connection((address.hostname, address.port)) for _ in range(CONNECTIONS_MAX - 1)]
    try:
        for connection in slow:
            connection.sendall(b"GET /metrics HT")
        assert ask("/livez")[0] == 200
        assert not readable(slow[0], 0.0)
        assert readable(slow[0], 3 * CONNECTION_S_MAX)
        assert slow[0].recv(1) == b""
    finally:
        for connection in slow:
            connection.close()


def test_who_asks_for_nothing_makes_room_for_who_does(sidecar: Sidecar, ask: Ask) -> None:
    address = urlsplit(sidecar.url)
    assert address.hostname is not None
    assert address.port is not None
    clients = [socket.create_connection((address.hostname, address.port)) for _ in range(CONNECTIONS_MAX + 8)]
    try:
        assert readable(clients[0], 1.0)
        assert clients[0].recv(1) == b""
        assert ask("/livez")[0] == 200
        assert psutil.Process(sidecar.pid).num_threads() <= 2 * CONNECTIONS_MAX + 3
    finally:
        for client in clients:
            client.close()


def test_many_scrapers_at_once_all_see_whole_histograms(board: Board, ask: Ask) -> None:
    histogram = board.histogram("tickcast_handed_to_acknowledged_seconds")
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(ask("/metrics")[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        histogram.observe(np.full(64, 1e-3))
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    for text in answers:
        samples = families(text)["tickcast_handed_to_acknowledged_seconds"].samples
        [count] = [s.value for s in samples if s.name.endswith("_count")]
        [below] = [s.value for s in samples if s.labels.get("le") == "0.001"]
        assert count == below
        assert count % 64 == 0


def test_the_child_starts_fast_and_loads_nothing_heavy(board: Board) -> None:
    script = (
        "import sys\n"
        "import tickcast.sidecar, tickcast.serving\n"
        "print([name for name in ('numpy', 'onnxruntime', 'kafka', 'pydantic', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"[]"


def test_the_page_is_of_the_instance_and_reads_what_the_loop_writes(shared: SharedMemory) -> None:
    sidecar = Sidecar.start(shared, HttpConfig(port=0), 60, "desk-1")
    try:
        shared.tape.begin(2, {"name": "toy", "horizons": [1, 2], "window": 4})
        document = json.loads(request(sidecar.url, "/snapshot")[1])
        assert document["instance"]["name"] == "desk-1"
        assert document["model"]["name"] == "toy"
        assert request(sidecar.url, "/snapshot", Accept="text/html")[0] == 200
    finally:
        sidecar.stop()


def test_a_port_in_use_is_a_configuration_error_that_names_it(shared: SharedMemory, sidecar: Sidecar) -> None:
    port = urlsplit(sidecar.url).port
    assert port is not None
    with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
        Sidecar.start(shared, HttpConfig(port=port), 60)


def test_a_host_that_is_not_ours_is_a_configuration_error(shared: SharedMemory) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        Sidecar.start(shared, HttpConfig(host="192.0.2.1", port=0), 60)


def test_ipv6_loopback(shared: SharedMemory) -> None:
    try:
        sidecar = Sidecar.start(shared, HttpConfig(host="::1", port=0), 60)
    except ConfigurationError as error:
        pytest.skip(f"no IPv6 here: {error}")
    try:
        assert request(sidecar.url, "/metrics")[0] == 200
    finally:
        sidecar.stop()


def test_stopping_ends_the_child_and_its_socket(shared: SharedMemory) -> None:
    sidecar = Sidecar.start(shared, HttpConfig(port=0), 60)
    sidecar.check()
    sidecar.stop()
    sidecar.stop()
    assert not psutil.pid_exists(sidecar.pid)
    with pytest.raises(ConnectionRefusedError):
        request(sidecar.url, "/livez")


def test_the_child_serves_on_when_the_whole_group_is_told_to_stop(shared: SharedMemory) -> None:
    sidecar = Sidecar.start(shared, HttpConfig(port=0), 60)
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(sidecar.pid, number)
        assert request(sidecar.url, "/metrics")[0] == 200
        sidecar.check()
    finally:
        sidecar.stop()


def test_a_child_that_died_is_noticed(shared: SharedMemory) -> None:
    sidecar = Sidecar.start(shared, HttpConfig(port=0), 60)
    os.kill(sidecar.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sidecar.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(TickcastError, match=f"pid {sidecar.pid}.* ended with status -9"):
        sidecar.check()
    sidecar.stop()


def test_the_child_dies_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
        gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone == [child]
