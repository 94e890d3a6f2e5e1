"""Events as the journal gets them: on a real datagram socket, by its own protocol."""

import io
import json
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from manual_clock import ManualClock
from tickcast import journal, log
from tickcast.config import LogConfig
from tickcast.journal import Journal

DATAGRAM_BYTES = 1 << 18


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The journal's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.setblocking(False)
        yield listener


@pytest.fixture
def line(listener: socket.socket) -> Iterator[Journal]:
    line = Journal(listener.getsockname())
    yield line
    line.close()


@pytest.fixture(autouse=True)
def other_tests_keep_their_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def heard(listener: socket.socket) -> dict[str, str]:
    """The next entry; of a long one, what the descriptor sent with it holds."""
    content, descriptors, _, _ = socket.recv_fds(listener, DATAGRAM_BYTES, 1)
    for descriptor in descriptors:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            content = file.read()
    return decoded(content)


def decoded(content: bytes) -> dict[str, str]:
    """An entry's fields, as systemd's documentation of the protocol says they are to be read."""
    fields = {}
    while content:
        head, _, content = content.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", content[:8])
            value, content = content[8 : 8 + length], content[8 + length + 1 :]
        fields[name.decode()] = value.decode()
    return fields


class Stream(io.StringIO):
    """Standard error that leads to a file of ours, which is what JOURNAL_STREAM names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w")
        found = os.fstat(self._file.fileno())
        self.named = f"{found.st_dev}:{found.st_ino}"

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    with Stream(tmp_path / "stderr") as stream:
        yield stream


def test_values_of_one_line_and_of_several_arrive_as_they_are(line: Journal, listener: socket.socket) -> None:
    line.send({"MESSAGE": "one", "TICKCAST_LINES": "1\n2=3\n\n4", "TICKCAST_EMPTY": "", "TICKCAST_UMLAUT": "ä=ö"})
    assert heard(listener) == {
        "MESSAGE": "one",
        "TICKCAST_LINES": "1\n2=3\n\n4",
        "TICKCAST_EMPTY": "",
        "TICKCAST_UMLAUT": "ä=ö",
    }


def test_what_is_no_text_arrives_as_json(line: Journal, listener: socket.socket) -> None:
    line.send({"A": [0, 1], "B": 0.5, "C": None, "D": True, "E": Path("x"), "F": "\udce4"})
    assert heard(listener) == {"A": "[0, 1]", "B": "0.5", "C": "null", "D": "true", "E": '"x"', "F": "\\udce4"}


def test_names_are_such_as_the_journal_keeps(line: Journal, listener: socket.socket) -> None:
    line.send({"kafka.conn": "1", "_PID": "2", "9lives": "3", "_": "4", "long" * 30: "5"})
    assert heard(listener) == {"KAFKA_CONN": "1", "PID": "2", "LIVES": "3", "FIELD": "4", ("LONG" * 30)[:64]: "5"}


def test_an_entry_too_long_for_a_datagram_goes_by_descriptor(line: Journal, listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.send({"MESSAGE": "long", "TICKCAST_WHAT": "x\n" * 1_000_000})
    assert heard(listener) == {"MESSAGE": "long", "TICKCAST_WHAT": "x\n" * 1_000_000}


def test_an_event_has_a_message_for_people_and_a_field_for_each_of_its_keys(
    stream: Stream, line: Journal, listener: socket.socket
) -> None:
    log.configure(LogConfig(), ManualClock(), stream, line)
    log.get("ownership").warning("partitions lost", partitions=["ticks/0"], topic="a b")
    assert heard(listener) == {
        "MESSAGE": "ownership: partitions lost partitions=['ticks/0'] topic=\"a b\"",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "tickcast",
        "TICKCAST_COMPONENT": "ownership",
        "TICKCAST_EVENT": "partitions lost",
        "TICKCAST_PARTITIONS": '["ticks/0"]',
        "TICKCAST_TOPIC": "a b",
    }
    assert stream.getvalue() == ""


def test_a_traceback_keeps_its_lines_and_a_library_s_complaint_comes_the_same_way(
    stream: Stream, line: Journal, listener: socket.socket
) -> None:
    log.configure(LogConfig(), ManualClock(), stream, line)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("kafka.conn").exception("closed")
    entry = heard(listener)
    assert (entry["PRIORITY"], entry["TICKCAST_COMPONENT"]) == ("3", "kafka.conn")
    assert entry["MESSAGE"].splitlines()[:2] == ["kafka.conn: closed", "Traceback (most recent call last):"]
    assert entry["TICKCAST_EXCEPTION"].endswith("ValueError: two\nlines")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_format_that_was_asked_for_is_what_is_written(
    log_format: str, stream: Stream, line: Journal, listener: socket.socket
) -> None:
    log.configure(LogConfig.model_validate({"format": log_format}), ManualClock(), stream, line)
    log.get("pipeline").info("x")
    assert "pipeline" in stream.getvalue()
    with pytest.raises(BlockingIOError):
        heard(listener)


def test_standard_error_is_the_journal_where_the_supervisor_says_so_of_this_very_file(stream: Stream) -> None:
    found = Journal.behind(stream, {"JOURNAL_STREAM": stream.named})
    assert found is not None
    found.close()


@pytest.mark.parametrize("environment", [{}, {"JOURNAL_STREAM": ""}, {"JOURNAL_STREAM": "1:2"}])
def test_a_variable_inherited_from_somebody_else_s_service_says_nothing(
    environment: dict[str, str], stream: Stream
) -> None:
    assert Journal.behind(stream, environment) is None


def test_a_stream_without_a_file_is_no_journal() -> None:
    assert Journal.behind(io.StringIO(), {"JOURNAL_STREAM": "1:2"}) is None


def test_a_journal_that_does_not_take_events_is_said_once_and_none_is_lost(
    stream: Stream, line: Journal, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    log.configure(LogConfig(), clock, stream, line)
    logger = log.get("pipeline")
    tries = []
    encode = journal.encode
    monkeypatch.setattr(journal, "encode", lambda fields: tries.append(fields) or encode(fields))
    path = Path(listener.getsockname())
    path.rename(path.with_name("away"))
    for number in range(3):
        logger.info("lost?", number=number)
    written = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [entry["number"] for entry in written] == [0, 1, 2]
    assert [entry.get("journal", "") for entry in written] == [
        "does not take entries: [Errno 2] No such file or directory",
        "",
        "",
    ]
    assert len(tries) == 1

    path.with_name("away").rename(path)
    clock.advance(log.JOURNAL_PAUSE_NS / 1e9)
    logger.info("back")
    assert heard(listener)["TICKCAST_EVENT"] == "back"
    assert len(stream.getvalue().splitlines()) == 3


def test_a_journal_that_does_not_read_holds_nothing_up(stream: Stream, line: Journal) -> None:
    log.configure(LogConfig(), ManualClock(), stream, line)
    sent = 0
    while not stream.getvalue():
        log.get("pipeline").info("full", number=sent)
        sent += 1
    assert json.loads(stream.getvalue())["journal"] == "does not take entries: timed out"
