"""The server's limits, in this process, with limits short enough to reach."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from daemons import wait_until
from hypothesis import given
from hypothesis import strategies as st
from simulated_loop import SimulatedLoop
from tickcast import exposition
from tickcast.exposition import Server
from tickcast.page_server import VIEWERS_MAX
from tickcast.serving import Descriptors, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(exposition, "CONNECTION_S_MAX", 0.2)
    with SimulatedLoop(["SIM-A", "SIM-B"]) as loop:
        loop.begin()
        loop.tick(200)
        fds = Descriptors(loop.shared.board.fd, loop.shared.tape.fd, loop.shared.wish.fd)
        with serving("127.0.0.1", 0, fds, 60.0, "desk-1") as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            yield server
            server.shutdown()
            thread.join()


def test_a_client_that_never_falls_silent_is_cut_off_all_the_same(server: Server) -> None:
    with socket.create_connection(server.server_address[:2]) as client:
        client.settimeout(0.02)
        answer = None
        for _ in range(500):
            try:
                client.sendall(b"x")
                answer = client.recv(1)
                break
            except TimeoutError:
                continue
            except ConnectionError:
                answer = b""
                break
        assert answer == b""


def test_a_request_that_is_none_is_refused(server: Server) -> None:
    with socket.create_connection(server.server_address[:2]) as client:
        client.sendall(b"\x16\x03\x01 not http at all\r\n\r\n")
        assert b"400" in client.recv(4096)


def test_clients_that_go_away_leave_no_trace(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(50):
        with socket.create_connection(server.server_address[:2]) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with socket.create_connection(server.server_address[:2]) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.0 200")
    assert capfd.readouterr().err == ""


def answer_to(server: Server, *parts: bytes) -> bytes:
    """Everything that is said to a request, sent part by part."""
    with socket.create_connection(server.server_address[:2], timeout=30) as client:
        said = b""
        try:
            for part in parts:
                client.sendall(part)
            while part := client.recv(65_536):
                said += part
        except ConnectionError:
            pass  # closed with part of the request unread
        return said


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"GET /livez HTTP/1.0\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /livez HTTP/1.0\r\n" + b"X: x\r\n" * 4_000 + b"\r\n", b"431"),
        (b"GET /livez HTTP/1.0\r\n" + b"X: x\r\n" * 150 + b"\r\n", b"431"),
        (b"GET /livez HTTP/2.0\r\n\r\n", b"505"),
        (b"GET\r\n\r\n", b"400"),
    ],
)
def test_a_request_out_of_proportion_is_refused_before_it_is_read_to_its_end(
    server: Server, request_head: bytes, status: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    said = answer_to(server, request_head)
    # Closing a connection with much of it unread may take the answer along.
    assert status in said or (not said and len(request_head) > exposition.HEAD_BYTES_MAX)
    assert capfd.readouterr().err == ""
    assert b" 200 " in answer_to(server, b"GET /livez HTTP/1.0\r\n\r\n")


def test_of_several_requests_on_one_connection_the_first_is_answered(server: Server) -> None:
    said = answer_to(server, b"GET /livez HTTP/1.1\r\nConnection: keep-alive\r\n\r\n" * 5)
    assert said.count(b"HTTP/1.") <= 1


def test_a_body_is_not_waited_for(server: Server) -> None:
    head = b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    assert b" 405 " in answer_to(server, head)
    assert b" 200 " in answer_to(server, head.replace(b"POST", b"GET"))


def test_a_head_that_comes_byte_by_byte_is_cut_off(server: Server) -> None:
    with socket.create_connection(server.server_address[:2], timeout=30) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n")
        with pytest.raises(ConnectionError):  # noqa: PT012 - the first byte after the end may still be taken
            for _ in range(100_000):
                client.sendall(b"X")
                threading.Event().wait(0.01)


@pytest.mark.parametrize(
    "accept", ["text/plain;version=x0.0.1", "a/b;q=x", "\xff,;=;", "application/openmetrics-text;version=1.a"]
)
def test_an_accept_header_that_means_nothing_gets_an_answer_and_no_traceback(
    server: Server, accept: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = answer_to(server, b"GET /metrics HTTP/1.0\r\nAccept: " + accept.encode("latin-1") + b"\r\n\r\n")
    assert said.split(maxsplit=2)[1] in (b"200", b"406")
    assert capfd.readouterr().err == ""


def test_any_bytes_get_an_answer_or_an_end_and_no_traceback(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    @given(st.binary(max_size=300))
    def ask(content: bytes) -> None:
        answer_to(server, content, b"\r\n\r\n")

    ask()
    assert capfd.readouterr().err == ""


# -- the page


@contextlib.contextmanager
def viewer(server: Server, query: bytes = b"", buffer_bytes: int = 0) -> Iterator[socket.socket]:
    """Somebody who has asked for the stream."""
    with socket.socket() as client:
        if buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.settimeout(30)
        client.connect(server.server_address[:2])
        client.sendall(b"GET /stream?%s HTTP/1.0\r\n\r\n" % query)
        yield client


def read_until(client: socket.socket, wanted: bytes, count: int = 1) -> bytes:
    said = b""
    while said.count(wanted) < count and (part := client.recv(65_536)):
        said += part
    return said


def documents(said: bytes) -> list[dict[str, Any]]:
    body = said.partition(b"\r\n\r\n")[2]
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ") and line.endswith(b"}")]


def test_the_page_and_all_its_files_are_served_and_ask_nobody_else(server: Server) -> None:
    page = answer_to(server, b"GET / HTTP/1.0\r\n\r\n")
    assert page.startswith(b"HTTP/1.0 200")
    assert b"Content-Security-Policy: default-src 'self'" in page
    assert b"X-Content-Type-Options: nosniff" in page
    named = set(re.findall(rb'(?:href|src|from)="?\s?"?([\w./]+\.(?:css|js|svg))"', page)) | {b"svg.js", b"charts.js"}
    assert {b"page.css", b"page.js", b"icon.svg"} <= named
    for name in named:
        assert answer_to(server, b"GET /%s HTTP/1.0\r\n\r\n" % name).startswith(b"HTTP/1.0 200"), name
    for name, file in server.page.files.items():
        addresses = set(re.findall(rb"\w+://[^\s\"'<]+", file.body))
        assert addresses <= {b"http://www.w3.org/2000/svg"}, name  # the name of a language, never asked for
        assert b"innerHTML" not in file.body
        assert b"insertAdjacentHTML" not in file.body


@pytest.mark.parametrize("path", [b"/index.html", b"/page.py", b"/../page.css", b"/page/page.css", b"/page.css/"])
def test_nothing_beside_the_page_s_files_is_served(server: Server, path: bytes) -> None:
    assert answer_to(server, b"GET %s HTTP/1.0\r\n\r\n" % path).startswith(b"HTTP/1.0 404")


def test_one_document_is_what_the_stream_sends(server: Server) -> None:
    said = answer_to(server, b"GET /snapshot?symbol=SIM-B&limit=1 HTTP/1.0\r\n\r\n")
    document = json.loads(said.partition(b"\r\n\r\n")[2])
    with viewer(server, b"symbol=SIM-B&limit=1") as client:
        streamed = documents(read_until(client, b"\n\n", 2))
    assert b"application/json" in said
    assert document["symbol"]["symbol"] == "SIM-B"
    assert document.keys() == streamed[0].keys() == streamed[1].keys()
    assert streamed[0]["symbol"]["path"] == document["symbol"]["path"]
    assert streamed[1]["instance"]["now_ms"] > streamed[0]["instance"]["now_ms"]


@pytest.mark.parametrize("path", [b"/snapshot", b"/stream"])
def test_a_bad_query_is_refused_with_the_reason(server: Server, path: bytes) -> None:
    said = answer_to(server, b"GET %s?sort=<script> HTTP/1.0\r\n\r\n" % path)
    assert said.startswith(b"HTTP/1.0 400")
    assert b"application/json" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2]) == {"error": "sort is one of movers, errors, rate, name"}


def test_viewers_take_no_scraper_s_place_and_outstay_other_connections(server: Server) -> None:
    with contextlib.ExitStack() as viewers:
        clients = [viewers.enter_context(viewer(server)) for _ in range(VIEWERS_MAX)]
        for client in clients:
            assert b" 200 " in read_until(client, b"\n\n")
        refused = answer_to(server, b"GET /stream HTTP/1.0\r\n\r\n")
        assert refused.startswith(b"HTTP/1.0 503")
        assert b"8 viewers look already" in refused
        crowd = [viewers.enter_context(socket.create_connection(server.server_address[:2])) for _ in range(16)]
        for path in (b"/metrics", b"/livez", b"/snapshot"):
            assert b" 200 " in answer_to(server, b"GET %s HTTP/1.0\r\n\r\n" % path)
        assert crowd
        # The limit for other connections is 0.2 s here, and is looked at every 0.05 s.
        for client in clients:
            assert read_until(client, b"\n\n", 2).count(b"data: ") == 2


def test_a_viewer_who_goes_makes_room_before_anything_more_is_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "PUSH_INTERVAL_S", 3_600.0)
    for _ in range(2):
        with contextlib.ExitStack() as viewers:
            clients = [viewers.enter_context(viewer(server)) for _ in range(VIEWERS_MAX)]
            assert all(b" 200 " in read_until(client, b"\n\n") for client in clients)
        wait_until(lambda: server.page.viewers == 0, "all places are free")


def test_a_viewer_who_takes_nothing_is_cut_off_and_nobody_waits_for_him(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exposition, "VIEWER_SILENCE_S_MAX", 0.2)
    monkeypatch.setattr(exposition, "VIEWER_BUFFER_BYTES", 4_096)
    monkeypatch.setattr(exposition, "PUSH_INTERVAL_S", 0.01)
    with viewer(server, buffer_bytes=4_096) as slow, viewer(server) as quick:
        assert len(documents(read_until(quick, b"\n\n", 30))) >= 29
        said = b"x"
        while said:  # what was sent before he was cut off
            try:
                said = slow.recv(65_536)
            except ConnectionError:
                said = b""
        assert b" 200 " in answer_to(server, b"GET /livez HTTP/1.0\r\n\r\n")
    assert capfd.readouterr().err == ""
