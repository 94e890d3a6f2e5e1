"""The second process: started by the loop's process, it serves metrics, health and the page, and dies with it.

`Sidecar` is the parent's side; `main`, run as `python -m tickcast.sidecar`, the child's. A socket pair links the two:
over it the child reports the port it got (or why it got none), and its end of file tells it that the parent is gone.
"""

import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tickcast.errors import ConfigurationError, TickcastError

if TYPE_CHECKING:  # the child needs neither numpy nor pydantic, and starts in half the time without
    from tickcast.config import HttpConfig
    from tickcast.shared_memory import SharedMemory

# A Python process with a dozen imports: 0.2 s on an idle core, several on a host that starts everything at once.
START_TIMEOUT_S = 15.0
# The child ends when the link does; it has nothing to finish.
STOP_TIMEOUT_S = 2.0
REPORT_BYTES_MAX = 4096
# prctl(2): send this signal to the caller when its parent's thread ends.
PR_SET_PDEATHSIG = 1


class Sidecar:
    """The running child, as the loop's process sees it. Start it from the main thread: it dies with its thread."""

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket, config: "HttpConfig") -> None:
        self._process = process
        self._link = link
        self._config = config
        self._url = ""

    @classmethod
    def launch(cls, shared: "SharedMemory", config: "HttpConfig", hang_timeout_s: int, name: str = "") -> "Sidecar":
        """Start the child; it takes a while until it listens, in which there is other work to do.

        A parent that was ready once and makes no turn for `hang_timeout_s` is ended by it. `name` is the instance's,
        for the page.
        """
        link, child_link = socket.socketpair()
        with child_link:
            fds = {**shared.fds, "link-fd": child_link.fileno()}
            process = subprocess.Popen(
                _command(config, hang_timeout_s, name, fds),
                pass_fds=tuple(fds.values()),
                stdin=subprocess.DEVNULL,
                process_group=0,  # the terminal's Ctrl-C is for the loop, which is still watched while it drains
            )
        return cls(process, link, config)

    @classmethod
    def start(cls, shared: "SharedMemory", config: "HttpConfig", hang_timeout_s: int, name: str = "") -> "Sidecar":
        """Start the child and wait until it listens. Raises what `url` raises."""
        sidecar = cls.launch(shared, config, hang_timeout_s, name)
        try:
            sidecar.url  # noqa: B018 - asked for what it raises
        except TickcastError:
            sidecar.stop()
            raise
        return sidecar

    @property
    def url(self) -> str:
        """Where it listens; waits until it does.

        Raises ConfigurationError where `http.host`:`http.port` cannot be had, TickcastError where the child failed.
        """
        if not self._url:
            host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
            self._url = f"http://{host}:{_reported_port(self._link, self._config)}"
        return self._url

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def check(self) -> None:
        """Raises TickcastError when the child has ended: a daemon that nobody can watch must not go on."""
        status = self._process.poll()
        if status is not None:
            raise TickcastError(f"the metrics process (pid {self.pid}) ended with status {status}")

    def stop(self) -> None:
        """End the child. May be called again."""
        _end(self._process, self._link)


def main(arguments: Sequence[str] | None = None) -> int:
    """The child: report the port, serve until the link ends."""
    options = _options(arguments)
    _die_with_parent(options.parent_pid)
    # Imported here: the loop's process imports this module for `Sidecar` and serves nothing.
    from tickcast import hangs
    from tickcast.board_reader import BoardReader
    from tickcast.serving import Descriptors, serving

    with socket.socket(fileno=options.link_fd) as link:
        fds = Descriptors(options.board_fd, options.tape_fd, options.wish_fd)
        try:
            server = serving(options.host, options.port, fds, options.live_timeout_s, options.name)
        except OSError as error:
            _report(link, {"error": error.strerror or str(error)})
            return 1
        _report(link, {"port": server.server_address[1]})
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hung = (BoardReader(options.board_fd), options.parent_pid, options.hang_timeout_s)
        threading.Thread(target=hangs.end_when_hung, args=hung, daemon=True).start()
        with contextlib.suppress(ConnectionResetError):  # the parent went before it read the report
            link.recv(1)  # nothing is ever sent: returns when the parent closes its end or is gone
    return 0  # its threads end with it: there is no one left to ask


def _command(config: "HttpConfig", hang_timeout_s: int, name: str, fds: Mapping[str, int]) -> list[str]:
    options: dict[str, Any] = {
        **fds,
        "parent-pid": os.getpid(),
        "host": config.host,
        "port": config.port,
        "live-timeout-s": config.live_timeout_ms / 1e3,
        "hang-timeout-s": hang_timeout_s,
        "name": name,
    }
    # -P: the working folder is no place to import from.
    return [sys.executable, "-P", "-m", "tickcast.sidecar", *(f"--{name}={value}" for name, value in options.items())]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tickcast.sidecar", description="Serves a running daemon's metrics."
    )
    for name in ("board-fd", "tape-fd", "wish-fd", "link-fd", "parent-pid", "port", "hang-timeout-s"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--live-timeout-s", type=float, required=True)
    return parser.parse_args(arguments)


def _die_with_parent(parent_pid: int) -> None:
    """The supervisor signals the whole group while the loop still drains: only the loop's end is ours."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it went before prctl could know
        sys.exit(1)


def _report(link: socket.socket, report: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent has ended meanwhile, and said why
        link.sendall(json.dumps(report).encode() + b"\n")


def _reported_port(link: socket.socket, config: "HttpConfig") -> int:
    if not select.select([link], [], [], START_TIMEOUT_S)[0]:
        raise TickcastError(f"the metrics process did not start within {START_TIMEOUT_S:g} s")
    line = link.recv(REPORT_BYTES_MAX)
    if not line:
        raise TickcastError("the metrics process ended before it listened; its error is on standard error")
    report = json.loads(line)
    if "error" in report:
        raise ConfigurationError(f"http.port: cannot listen on {config.host}:{config.port}: {report['error']}")
    port: int = report["port"]
    return port


def _end(process: subprocess.Popen[bytes], link: socket.socket) -> None:
    link.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
