"""What the second process serves over HTTP: `/metrics`, `/livez` and `/readyz` from the board, and the page.

Loopback by default; bounded in threads, in seconds per connection and in bytes read. HTTP/1.0 on purpose: a connection
that ends with its answer holds no thread. Who looks at the page stays connected, and has places of his own for that:
a scrape and a probe are answered however many look.
"""

import contextlib
import json
import select
import socket
import socketserver
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tickcast import page_view
from tickcast.board_reader import BoardReader, Sample
from tickcast.health import Health
from tickcast.metrics import BOUNDS_S, Metric
from tickcast.page_server import HEADERS, PUSH_INTERVAL_S, VIEWERS_MAX, Page
from tickcast.page_view import View

# A scraper, a page and a few probes at once; each answer takes some 10 ms of one core.
CONNECTIONS_MAX = 16
# A client that neither sends nor takes a byte for so long, or that is not done after so long, is cut off.
SILENCE_S_MAX = 2.0
CONNECTION_S_MAX = 5.0
# A request's line and headers; a scraper's are a few hundred bytes. The standard library takes 6 MB.
HEAD_BYTES_MAX = 16_384
# Who looks at the page and takes nothing for so long is cut off; and what waits for him in the kernel is bounded, for
# what he sees would be of long ago.
VIEWER_SILENCE_S_MAX = 5.0
VIEWER_BUFFER_BYTES = 131_072

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_BOUND_LABELS = (*map(floatToGoString, BOUNDS_S), "+Inf")

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class BoardCollector(Collector):
    """The board as prometheus_client's metric families: the exposition format is the library's business."""

    def __init__(self, reader: BoardReader, health: Health) -> None:
        """`health` answers for `tickcast_ready`: a loop that hangs cannot take its word back."""
        self._reader = reader
        self._health = health

    def collect(self) -> Iterable[Family]:
        """One family per metric with a series, each with all its samples."""
        families: dict[str, Family] = {}
        for sample in self._reader.samples():
            family = families.get(sample.metric.name)
            if family is None:
                family = families[sample.metric.name] = _family(sample.metric)
            if sample.metric.name == "tickcast_ready":
                sample = sample._replace(values=[float(self._health.ready()[0])])
            _add(family, sample)
        return families.values()


class Server(ThreadingHTTPServer):
    """A bounded HTTP server on the board and the page."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, reader: BoardReader, health: Health, page: Page) -> None:
        """Listen on `host`:`port`, 0 being any free port. Raises OSError where that cannot be had."""
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        self.health = health
        self.page = page
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(BoardCollector(reader, health))
        self._deadlines_s: dict[socket.socket, float] = {}  # in the order of their coming
        self._asked: set[socket.socket] = set()  # of these, whose request has been read
        self._leaving: set[socket.socket] = set()  # cut off to make room; their threads are about to find out
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind only: the standard library's also asks the resolver for the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection; where there is none it is closed at once.

        Who has asked for nothing yet makes room for who comes: a probe that asks at once is answered, however many
        connections somebody else holds open.
        """
        if len(self._deadlines_s) >= CONNECTIONS_MAX and not self._made_room():
            return False
        self._deadlines_s[request] = time.monotonic() + CONNECTION_S_MAX
        return True

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        self._deadlines_s.pop(request, None)
        self._asked.discard(request)
        self._leaving.discard(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Every half second: cut off who outstayed his time; his thread then finds the connection closed."""
        now_s = time.monotonic()
        for connection, deadline_s in list(self._deadlines_s.items()):
            if now_s > deadline_s:
                _cut_off(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or was cut off is no error of ours; anything else is, and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def has_asked(self, connection: socket.socket) -> None:
        """A whole request has been read from `connection`."""
        self._asked.add(connection)

    def stays(self, connection: socket.socket) -> None:
        """`connection` is a viewer's: it may outstay the others, and takes no place of theirs."""
        self._deadlines_s.pop(connection, None)

    def _made_room(self) -> bool:
        """Whether somebody could be cut off who has not asked for anything; of these, who came first."""
        silent = next((each for each in list(self._deadlines_s) if each not in self._asked), None)
        if silent is None or len(self._leaving) >= CONNECTIONS_MAX:
            return False
        self._leaving.add(silent)
        self._deadlines_s.pop(silent, None)
        _cut_off(silent)
        return True


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = SILENCE_S_MAX
    server_version = "tickcast"
    sys_version = ""

    def setup(self) -> None:
        """Before the request is read."""
        super().setup()
        self.rfile = _Head(self.rfile)  # type: ignore[assignment]  # all that is read is lines

    def parse_request(self) -> bool:
        """Read the request's head; whether there is something to answer. Nothing here can be changed, only got."""
        if not super().parse_request():
            return False
        self.server.has_asked(self.connection)
        if self.command != "GET":
            self.answer_json(HTTPStatus.METHOD_NOT_ALLOWED, {"allowed": "GET"})
            return False
        return True

    def do_GET(self) -> None:
        """Answer one of the paths."""
        path, files = self.path.partition("?")[0], self.server.page.files
        if path in files:
            self._answer(HTTPStatus.OK, files[path].content_type, files[path].body, HEADERS)
        elif path in _PATHS:
            _PATHS[path](self)
        else:
            self.answer_json(HTTPStatus.NOT_FOUND, {"paths": [*_PATHS, *files]})

    def metrics(self) -> None:
        """`/metrics`, in the format the scraper prefers."""
        try:
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        except (TypeError, ValueError):  # of a version that is none
            self.answer_json(HTTPStatus.NOT_ACCEPTABLE, {"error": "Accept cannot be understood"})
            return
        self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))

    def live(self) -> None:
        """`/livez`."""
        self._answer_health(self.server.health.live())

    def ready(self) -> None:
        """`/readyz`."""
        self._answer_health(self.server.health.ready())

    def snapshot(self) -> None:
        """`/snapshot`: the page's document."""
        if (view := self._view()) is not None:
            self._answer(HTTPStatus.OK, "application/json", self.server.page.snapshot(view), HEADERS)

    def stream(self) -> None:
        """`/stream`: the same twice a second, until the viewer goes."""
        view = self._view()
        if view is None:
            return
        with self.server.page.place() as taken:
            if taken:
                self._push(view)
            else:
                reason = f"{VIEWERS_MAX} viewers look already; there is room when one of them goes"
                self.answer_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": reason})

    def answer_json(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        """Send `body`."""
        self._answer(status, "application/json", json.dumps(body).encode() + b"\n")

    def log_message(self, *_: Any) -> None:
        """Requests are not logged: a scrape a second is noise."""

    def _answer_health(self, health: tuple[bool, dict[str, Any]]) -> None:
        good, body = health
        self.answer_json(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, body)

    def _view(self) -> View | None:
        """What the request asks to see; None where it was refused, with the reason."""
        try:
            return page_view.parsed(self.path.partition("?")[2])
        except ValueError as error:
            self.answer_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            return None

    def _push(self, view: View) -> None:
        connection = self.connection
        self.server.stays(connection)
        connection.settimeout(VIEWER_SILENCE_S_MAX)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, VIEWER_BUFFER_BYTES)
        # Proxies that hold answers back until they are whole are told not to.
        self._head(HTTPStatus.OK, {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", **HEADERS})
        for event in self.server.page.events(view):
            self.wfile.write(event)
            if select.select([connection], [], [], PUSH_INTERVAL_S)[0]:
                return  # he has nothing more to say: he is gone

    def _answer(
        self, status: HTTPStatus, content_type: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        allowed = {"Allow": "GET"} if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        self._head(status, {"Content-Type": content_type, "Content-Length": str(len(body)), **allowed, **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()


class _Head:
    """The lines of a request; beyond `HEAD_BYTES_MAX` each is longer than any may be, which is answered as such."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = HEAD_BYTES_MAX

    def readline(self, limit: int) -> bytes:
        """The next line, of at most `limit` bytes."""
        line = self._stream.readline(min(limit, self._left + 1))
        self._left -= len(line)
        return line if self._left >= 0 else b"x" * limit

    def close(self) -> None:
        """See `BufferedIOBase`."""
        self._stream.close()


_PATHS: dict[str, Callable[[Handler], None]] = {
    "/metrics": Handler.metrics,
    "/livez": Handler.live,
    "/readyz": Handler.ready,
    "/snapshot": Handler.snapshot,
    "/stream": Handler.stream,
}


def _cut_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it ended by itself just now
        connection.shutdown(socket.SHUT_RDWR)


def _family(metric: Metric) -> Family:
    labels = tuple(metric.labels)
    if metric.kind == "histogram":
        return HistogramMetricFamily(metric.name, metric.help, labels=labels)
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.help, labels=labels)
    return GaugeMetricFamily(metric.name, metric.help, labels=labels)


def _add(family: Family, sample: Sample) -> None:
    if isinstance(family, HistogramMetricFamily):
        *counts, total_s = sample.values
        buckets = list(zip(_BOUND_LABELS, accumulate(counts), strict=True))
        family.add_metric(sample.labels, buckets, total_s)
    else:
        family.add_metric(sample.labels, sample.values[0])
