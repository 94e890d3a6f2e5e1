"""What the daemon tells systemd: ready, reloading, stopping, its status, and that it is alive.

The datagrams of sd_notify(3), https://www.freedesktop.org/software/systemd/man/sd_notify.html. The loop itself feeds
the watchdog, so that a stuck loop is restarted. Without a supervisor (no NOTIFY_SOCKET) every method does nothing.
"""

import os
import socket
from collections.abc import Mapping

from tickcast import log
from tickcast.clock import Clock
from tickcast.errors import ConfigurationError

# A supervisor whose queue is full must not hold up the loop.
SEND_TIMEOUT_S = 0.2
# Beats per watchdog period: one may be lost and another late.
WATCHDOG_BEATS = 3


class Notifier:
    """One service's line to its supervisor."""

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        """Raises ConfigurationError for a NOTIFY_SOCKET or WATCHDOG_USEC that cannot be one."""
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._beat_interval_ns = _watchdog_ns(environment) // WATCHDOG_BEATS if self._address else 0
        self._next_beat_ns = 0
        self._clock = clock
        self._log = log.get("notify")
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(SEND_TIMEOUT_S)

    def ready(self, status: str) -> None:
        """The service does what it is there for; also ends a reload."""
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(status))

    def reloading(self) -> None:
        """The configuration is read again; `ready` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._clock.monotonic_ns() // 1_000}")

    def stopping(self, status: str) -> None:
        """The service drains and will end."""
        self._send("STOPPING=1", _status(status))

    def watchdog(self) -> None:
        """The loop made a turn. Call it every turn: it sends only as often as the supervisor wants to hear."""
        if not self._beat_interval_ns:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + self._beat_interval_ns
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Nothing more is sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        """One datagram. A supervisor that does not listen is logged; forecasts go on without it."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._log.warning("supervisor not notified", notification=lines[0], error=str(error))


def _address(text: str) -> str:
    """The socket's address: a path, or with a leading `@` a name in Linux's abstract space."""
    if text and text[0] not in "/@":
        raise ConfigurationError(f"NOTIFY_SOCKET: {text!r} is neither a path nor an abstract name (`@name`)")
    return "\0" + text[1:] if text.startswith("@") else text


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _watchdog_ns(environment: Mapping[str, str]) -> int:
    """The watchdog's period, 0 where there is none or it is meant for another process."""
    period_us = environment.get("WATCHDOG_USEC", "0")
    process_id = environment.get("WATCHDOG_PID", "")
    if not period_us.isdecimal():
        raise ConfigurationError(f"WATCHDOG_USEC: {period_us!r} is not a number of microseconds")
    return int(period_us) * 1_000 if process_id in ("", str(os.getpid())) else 0
