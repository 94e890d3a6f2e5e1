"""What systemd would hear, on a real datagram socket."""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from manual_clock import ManualClock
from tickcast.errors import ConfigurationError
from tickcast.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """The supervisor's end; `NOTIFY_SOCKET` is `address(supervisor)`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        name = f"\0tickcast-{uuid.uuid4().hex}" if request.param == "abstract" else str(tmp_path / "notify")
        supervisor.bind(name)
        supervisor.setblocking(False)
        yield supervisor


def address(supervisor: socket.socket) -> str:
    name: str | bytes = supervisor.getsockname()
    return "@" + name[1:].decode() if isinstance(name, bytes) else name


def heard(supervisor: socket.socket) -> list[str]:
    """Every datagram so far."""
    datagrams = []
    try:
        while True:
            datagrams.append(supervisor.recv(4096).decode())
    except BlockingIOError:
        return datagrams


def test_a_service_s_life_is_told_in_datagrams(supervisor: socket.socket) -> None:
    clock = ManualClock(monotonic_ns=12_345_678_901)
    notifier = Notifier({"NOTIFY_SOCKET": address(supervisor)}, clock)
    notifier.status("rebuilding:\n3 partitions")
    notifier.ready("running")
    notifier.reloading()
    notifier.stopping("draining")
    notifier.close()
    assert heard(supervisor) == [
        "STATUS=rebuilding: 3 partitions",
        "READY=1\nSTATUS=running",
        "RELOADING=1\nMONOTONIC_USEC=12345678",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_the_watchdog_is_fed_three_times_a_period_however_often_the_loop_turns(supervisor: socket.socket) -> None:
    clock = ManualClock()
    environment = {"NOTIFY_SOCKET": address(supervisor), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environment, clock)
    for _ in range(30):
        notifier.watchdog()
        clock.advance(0.1)
    notifier.close()
    assert heard(supervisor) == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_of_nobody_or_of_another_process_is_not_fed(
    supervisor: socket.socket, watchdog: dict[str, str]
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address(supervisor), **watchdog}, ManualClock())
    notifier.watchdog()
    notifier.close()
    assert heard(supervisor) == []


def test_without_a_supervisor_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", no_socket)
    notifier = Notifier({"WATCHDOG_USEC": "1"}, ManualClock())
    notifier.ready("running")
    notifier.watchdog()
    notifier.stopping("draining")
    notifier.close()


def test_a_supervisor_that_is_gone_is_logged_and_does_not_stop_the_daemon(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, ManualClock())
        notifier.ready("running")
        notifier.close()
    assert [(entry["log_level"], entry["notification"]) for entry in logs] == [("warning", "READY=1")]


def test_a_supervisor_that_does_not_read_holds_nothing_up(supervisor: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address(supervisor)}, ManualClock())
    with structlog.testing.capture_logs() as logs:
        while not logs:
            notifier.status("full")
    notifier.close()
    assert logs[0]["event"] == "supervisor not notified"


@pytest.mark.parametrize(
    "environment", [{"NOTIFY_SOCKET": "vsock:2:1234"}, {"WATCHDOG_USEC": "soon", "NOTIFY_SOCKET": "/x"}]
)
def test_an_environment_that_makes_no_sense_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(environment))):
        Notifier(environment, ManualClock())
