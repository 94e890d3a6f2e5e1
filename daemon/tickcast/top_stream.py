"""One instance's `/stream`, from the far end: document after document, each as soon as it is told.

Beside the way of a tick: on the side of whoever looks.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from typing import NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from tickcast import top_document
from tickcast.errors import TickcastError, UsageError
from tickcast.top_document import Document

PATH = "/stream"
EVENT_STREAM = "text/event-stream"
# Something comes twice a second; an instance that says nothing for so long is hung, or the way to it is cut.
SILENCE_S_MAX = 5.0
# A document of 1,000 symbols has some 200 KB.
EVENT_BYTES_MAX = 4 << 20
REASON_BYTES_MAX = 4_096

CONNECTIONS: dict[str, type[http.client.HTTPConnection]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


class Address(NamedTuple):
    """Where an instance serves: `http://host:9464`, or a prefix of that behind a proxy."""

    scheme: str
    host: str
    port: int | None
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """`host:9464` means `http://host:9464`. Raises UsageError for what is no such address."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url}: {error}") from error
        if parts.scheme not in CONNECTIONS or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"{url}: give it as http://HOST:PORT")
        if "@" in parts.netloc:
            raise UsageError("no user and password in the address: a tickcast instance asks for none")
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}{self.prefix}"


class Stream:
    """An open stream: a context manager, of one thread but for `break_off`."""

    def __init__(self, address: Address, query: Mapping[str, str | int]) -> None:
        """Ask `address`. Raises TickcastError, which says what to do about it, where no stream comes."""
        self._address = address
        connection = CONNECTIONS[address.scheme](address.host, address.port, timeout=SILENCE_S_MAX)
        try:
            connection.connect()
            self._socket: socket.socket = connection.sock
            asked = {name: value for name, value in query.items() if value != ""}
            connection.request("GET", f"{address.prefix}{PATH}?{urlencode(asked)}", headers={"Accept": EVENT_STREAM})
            self._response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise TickcastError(f"{address} does not answer: {_words(error)}") from error
        self._connection = connection
        if self._response.status != 200 or self._response.headers.get_content_type() != EVENT_STREAM:
            refusal = _refusal(address, self._response)
            self.close()
            raise refusal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Document:
        """The next document. Raises TickcastError where none comes."""
        data: list[bytes] = []
        room = EVENT_BYTES_MAX
        while True:
            line = self._line(room)
            room -= len(line)
            if line.startswith(b"data:"):
                data.append(line[5:].strip())
            elif not line and data:  # a blank line ends an event
                return top_document.read(b"\n".join(data))

    def break_off(self) -> None:
        """From any thread: `read` ends with an error, also one that is going on."""
        with contextlib.suppress(OSError):  # it ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it. May be called again."""
        self._response.close()
        self._connection.close()

    def _line(self, room: int) -> bytes:
        try:
            line = self._response.readline(max(room, 1))
        except TimeoutError as error:
            raise TickcastError(f"{self._address} has said nothing for {SILENCE_S_MAX:g} s") from error
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: closed meanwhile
            raise TickcastError(f"{self._address} does not answer any more: {_words(error)}") from error
        if not line.endswith(b"\n"):
            what = "tells too much at once" if len(line) >= room else "has ended the stream"
            raise TickcastError(f"{self._address} {what}")
        return line.rstrip(b"\r\n")


def _refusal(address: Address, response: http.client.HTTPResponse) -> TickcastError:
    if response.status == 404:
        return TickcastError(f"{address} has no {PATH}: an older tickcast, or another program")
    if response.status == 200:
        return TickcastError(f"{address} is no tickcast instance: its {PATH} is {response.headers.get_content_type()}")
    reason = _reason(response)
    return TickcastError(f"{address} refuses: {response.status} {response.reason}{f': {reason}' if reason else ''}")


def _reason(response: http.client.HTTPResponse) -> str:
    """What the instance says of why; empty where it does not, or not as one."""
    try:
        body = json.loads(response.read(REASON_BYTES_MAX))
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    return str(body.get("error") or body.get("reason") or "") if isinstance(body, dict) else ""


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
