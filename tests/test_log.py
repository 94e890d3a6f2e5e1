"""One line per event, in both formats, libraries included."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from manual_clock import ManualClock
from tickcast import log
from tickcast.config import LogConfig


@pytest.fixture(autouse=True)
def other_tests_keep_their_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # configure closes the handlers it finds
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def written(config: LogConfig) -> io.StringIO:
    stream = io.StringIO()
    log.configure(config, ManualClock(), stream)
    return stream


def raise_and_log() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.get("pipeline").exception("failed")


def test_json_is_one_object_per_line() -> None:
    stream = written(LogConfig(format="json"))
    log.get("pipeline").info("assigned", partitions=[0, 1], topic="ticks")
    log.get("engine").warning("slow")
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {
            "time": "2023-11-14T22:13:20.000Z",
            "level": "info",
            "component": "pipeline",
            "event": "assigned",
            "partitions": [0, 1],
            "topic": "ticks",
        },
        {"time": "2023-11-14T22:13:20.000Z", "level": "warning", "component": "engine", "event": "slow"},
    ]


def test_text_quotes_what_would_break_the_line() -> None:
    stream = written(LogConfig(format="text"))
    log.get("pipeline").info("bad\nrecord", key="a b", lines="1\n2", offset=7, empty="")
    line = r'2023-11-14T22:13:20.000Z info    pipeline: bad\nrecord key="a b" lines="1\n2" offset=7 empty=""'
    assert stream.getvalue() == line + "\n"


def test_text_from_elsewhere_cannot_steer_a_terminal() -> None:
    stream = written(LogConfig(format="text"))
    log.get("kafka").warning("caf\u00e9\r\x1b[2J\u2028", reason="\x9b2J", name="caf\u00e9 cr\u00e8me")
    [line] = stream.getvalue().splitlines()
    assert line.endswith(r'kafka: café\r\x1b[2J\u2028 reason="\u009b2J" name="café crème"')


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_stays_on_its_line(log_format: str) -> None:
    stream = written(LogConfig.model_validate({"format": log_format}))
    raise_and_log()
    assert len(stream.getvalue().splitlines()) == 1
    assert "Traceback" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_auto_is_json_where_nobody_watches_and_text_on_a_terminal() -> None:
    stream = written(LogConfig())
    log.get("pipeline").info("x")
    assert json.loads(stream.getvalue())["event"] == "x"

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    log.configure(LogConfig(), ManualClock(), terminal)
    log.get("pipeline").info("x")
    assert terminal.getvalue().endswith("pipeline: x\n")


def test_levels_below_the_configured_one_are_not_written() -> None:
    stream = written(LogConfig(level="warning"))
    log.get("pipeline").info("no")
    log.get("pipeline").warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_a_log_got_before_the_set_up_follows_it() -> None:
    early = log.get("pipeline")
    stream = written(LogConfig(format="json"))
    early.info("x")
    assert json.loads(stream.getvalue())["component"] == "pipeline"


def test_what_kafka_python_says_comes_out_from_warning_on() -> None:
    stream = written(LogConfig(level="debug", format="json"))
    library = logging.getLogger("kafka.conn")
    library.info("connecting")
    library.warning("node %s closed:\n%s", 3, "reset")
    [entry] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (entry["level"], entry["component"], entry["event"]) == ("warning", "kafka.conn", "node 3 closed:\nreset")


def test_setting_up_twice_writes_each_event_once() -> None:
    written(LogConfig(format="json"))
    stream = written(LogConfig(format="json"))
    logging.getLogger("kafka").error("x")
    assert len(stream.getvalue().splitlines()) == 1


def test_what_a_library_says_over_and_over_is_said_once_in_a_while_with_how_often() -> None:
    clock, stream = ManualClock(), io.StringIO()
    log.configure(LogConfig(format="json"), clock, stream)
    library = logging.getLogger("kafka.net")
    for attempt in range(30):
        library.warning("node %d is away", attempt)
        clock.advance(0.5)
    library.warning("another thing")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(entry["event"], entry.get("repeated")) for entry in entries] == [
        ("node 0 is away", None),
        ("node 20 is away", 19),
        ("another thing", None),
    ]
