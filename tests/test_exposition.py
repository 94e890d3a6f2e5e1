"""The server's limits, in this process, with limits short enough to reach."""

import socket
import threading
from collections.abc import Iterator

import pytest
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
