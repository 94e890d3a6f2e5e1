"""What the second process serves over HTTP: `/metrics`, `/livez` and `/readyz`, from the board. Nothing else.

Loopback by default; bounded in threads, in seconds per connection and in bytes read. HTTP/1.0 on purpose: a connection
that ends with its answer holds no thread.
"""

import contextlib
import json
import socket
import socketserver
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tickcast.board_reader import BoardReader, Sample
from tickcast.metrics import BOUNDS_S, Metric

# A scraper, a page and a few probes at once; each answer takes some 10 ms of one core.
CONNECTIONS_MAX = 16
# A client that neither sends nor takes a byte for so long, or that is not done after so long, is cut off.
SILENCE_S_MAX = 2.0
CONNECTION_S_MAX = 5.0
# A request's line and headers; a scraper's are a few hundred bytes. The standard library takes 6 MB.
HEAD_BYTES_MAX = 16_384

_BOUND_LABELS = (*map(floatToGoString, BOUNDS_S), "+Inf")

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class BoardCollector(Collector):
    """The board as prometheus_client's metric families: the exposition format is the library's business."""

    def __init__(self, reader: BoardReader) -> None:
        self._reader = reader

    def collect(self) -> Iterable[Family]:
        """One family per metric with a series, each with all its samples."""
        families: dict[str, Family] = {}
        for sample in self._reader.samples():
            family = families.get(sample.metric.name)
            if family is None:
                family = families[sample.metric.name] = _family(sample.metric)
            _add(family, sample)
        return families.values()


class Health:
    """Whether the loop lives and is ready, as the board shows it."""

    def __init__(self, reader: BoardReader, live_timeout_s: float) -> None:
        self._reader = reader
        self._live_timeout_s = live_timeout_s

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Alive: the loop's last turn is younger than the timeout."""
        age_s = time.monotonic() - self._reader.turn_s()
        live = age_s < self._live_timeout_s
        answer: dict[str, Any] = {"live": live, "turn_age_s": round(age_s, 3)}
        if not live:
            answer["reason"] = f"the loop has made no turn for {age_s:.1f} s (allowed: {self._live_timeout_s:g} s)"
        return live, answer

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Ready: alive, and the loop says so; with the loop's own account of its state."""
        live, answer = self.live()
        ready, detail = live and self._reader.ready(), self._reader.detail()
        if live and not ready:
            answer["reason"] = ": ".join(["the loop is not ready", *([detail["status"]] if "status" in detail else [])])
        return ready, {"ready": ready, **answer, "detail": detail}


class Server(ThreadingHTTPServer):
    """A bounded HTTP server on the board."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, reader: BoardReader, live_timeout_s: float) -> None:
        """Listen on `host`:`port`, 0 being any free port. Raises OSError where that cannot be had."""
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        self.health = Health(reader, live_timeout_s)
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(BoardCollector(reader))
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
        """Answer one of the three paths."""
        answer = _PATHS.get(self.path.partition("?")[0])
        if answer is None:
            self.answer_json(HTTPStatus.NOT_FOUND, {"paths": list(_PATHS)})
        else:
            answer(self)

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

    def answer_json(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        """Send `body`."""
        self._answer(status, "application/json", json.dumps(body).encode() + b"\n")

    def log_message(self, *_: Any) -> None:
        """Requests are not logged: a scrape a second is noise."""

    def _answer_health(self, health: tuple[bool, dict[str, Any]]) -> None:
        good, body = health
        self.answer_json(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, body)

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


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
