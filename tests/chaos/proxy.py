"""A network that can be cut with nothing closed: a TCP proxy that stops forwarding.

What is on its way when it is cut arrives after it is mended, as after a cable was put back.
"""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


class Proxy:
    """From `port`, chosen by the system, to `HOST:target_port`. A context manager; leaving it closes everything."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._forwarding = threading.Event()
        self._forwarding.set()
        self._listening = socket.create_server((HOST, 0))
        self._open: set[socket.socket] = {self._listening}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def port(self) -> int:
        """Where it listens."""
        number: int = self._listening.getsockname()[1]
        return number

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._forwarding.set()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):  # the other end was first
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def cut(self) -> None:
        """Forward nothing from now on. Connections stay, and new ones are taken up without an answer."""
        self._forwarding.clear()

    def mend(self) -> None:
        """Forward again, what was held back first."""
        self._forwarding.set()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near = self._listening.accept()[0]
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._forwarding.wait()
        try:
            far = socket.create_connection((HOST, self._target_port))
        except OSError:  # the broker is away: so is this connection
            near.close()
            return
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {near, far}
        threads = [
            threading.Thread(target=self._forward, args=ends, daemon=True) for ends in ((near, far), (far, near))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while chunk := source.recv(CHUNK_BYTES):
                self._forwarding.wait()
                target.sendall(chunk)
        except OSError:  # an end is gone: so is the other
            pass
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
