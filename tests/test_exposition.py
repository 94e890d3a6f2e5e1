"""The server's limits, in this process, with limits short enough to reach."""

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import exposition
from tickcast.board import Board
from tickcast.board_reader import BoardReader
from tickcast.clock import SystemClock
from tickcast.exposition import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(exposition, "CONNECTION_S_MAX", 0.2)
    board = Board.create(SystemClock())
    with Server("127.0.0.1", 0, BoardReader(board.fd), 60.0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    board.close()


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
