"""The log: one event at a time, as fields where the journal listens, else as a line on standard error.

structlog with keyword values (`log.info("assigned", partitions=3)`): nothing is formatted for a level that is not
written. What libraries say through the standard library's logging comes out the same way, from warning on, but not
over and over: in an outage a client may say the same ten times a second.
"""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from tickcast.clock import Clock
from tickcast.config import LogConfig
from tickcast.journal import Journal

# kafka-python tells every fetch and heartbeat at lower levels.
LIBRARY_LEVEL = logging.WARNING
# What a library says again within so long is only counted.
REPEAT_PAUSE_NS = 10_000_000_000
# Sayings remembered for that; some libraries make a new one of each.
SAYINGS_MAX = 1_000
# A journal that did not take an event is left alone for so long: each try may take a while.
JOURNAL_PAUSE_NS = 10_000_000_000
JOURNAL_IDENTIFIER = "tickcast"
FIELD_PREFIX = "TICKCAST_"

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Of syslog(3), as the journal has them.
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

Processor = Callable[[object, str, EventDict], EventDict]


def configure(config: LogConfig, clock: Clock, stream: TextIO = sys.stderr, journal: Journal | None = None) -> None:
    """Set up the process's log. Called once, at the start; `get` before it gives structlog's own defaults.

    `journal`: where events go as fields, unless a format was asked for.
    """
    json_wanted = config.format == "json" or (config.format == "auto" and not stream.isatty())
    journal = journal if config.format == "auto" else None
    level = _LEVELS[config.level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _timestamper(clock),
            structlog.processors.format_exc_info,
            *([] if journal is None else [_ToJournal(journal, clock)]),
            structlog.processors.JSONRenderer() if json_wanted else _render_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_LibraryHandler(clock)], level=max(level, LIBRARY_LEVEL), force=True)


def get(component: str) -> FilteringBoundLogger:
    """The log of one component; get it once, in a constructor."""
    logger: FilteringBoundLogger = structlog.get_logger(component=component)
    return logger


class _LibraryHandler(logging.Handler):
    """Passes a library's record on as an event of ours, with how often it was said since it was last passed on."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, int, str], _Saying] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now_ns, key = self._clock.monotonic_ns(), (record.name, record.levelno, str(record.msg))
        saying = self._said.get(key)
        if saying is not None and now_ns - saying.passed_ns < REPEAT_PAUSE_NS:
            saying.repeated += 1
            return
        repeated = {"repeated": saying.repeated} if saying is not None and saying.repeated else {}
        if len(self._said) >= SAYINGS_MAX:
            self._said.clear()
        self._said[key] = _Saying(now_ns)
        get(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info, **repeated)


@dataclass
class _Saying:
    """When a library's words were last passed on, and how often they came since."""

    passed_ns: int
    repeated: int = 0


class _ToJournal:
    """Sends events to the journal; one that it does not take goes on to standard error, with the reason."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._refused = ""  # why it did not take the last one
        self._retry_ns = 0

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        if self._refused and self._clock.monotonic_ns() < self._retry_ns:
            return event
        try:
            self._journal.send(_fields(event))
        except OSError as error:
            self._retry_ns = self._clock.monotonic_ns() + JOURNAL_PAUSE_NS
            first, self._refused = not self._refused, str(error)
            return {**event, "journal": f"does not take entries: {error}"} if first else event
        self._refused = ""
        raise structlog.DropEvent


def _fields(event: EventDict) -> dict[str, object]:
    """What the journal keeps of an event. Its time the journal knows; everything else can be looked for by its key."""
    keys = {key: value for key, value in event.items() if key not in ("time", "level")}
    return {
        "MESSAGE": _message(event),
        "PRIORITY": _PRIORITIES[event["level"]],
        "SYSLOG_IDENTIFIER": JOURNAL_IDENTIFIER,
        **{f"{FIELD_PREFIX}{key}": value for key, value in keys.items()},
    }


def _timestamper(clock: Clock) -> Processor:
    def stamp(_logger: object, _method: str, event: EventDict) -> EventDict:
        time = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC).isoformat(timespec="milliseconds")
        return {"time": time.replace("+00:00", "Z"), **event}

    return stamp


def _render_text(_logger: object, _method: str, event: EventDict) -> str:
    """`TIME LEVEL component: event key=value ...`, on one line whatever the values hold."""
    return f"{event['time']} {event['level']:<7} {_line(event)}"


def _message(event: EventDict) -> str:
    """For people: a traceback stands below the line, as it is."""
    below = event.get("exception")
    line = _line({key: value for key, value in event.items() if key != "exception"})
    return f"{line}\n{below}" if below else line


def _line(event: EventDict) -> str:
    """`component: event key=value ...`."""
    head = f"{event.get('component', '-')}: {_one_line(event['event'])}"
    rest = {key: value for key, value in event.items() if key not in ("time", "level", "component", "event")}
    return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in rest.items())])


def _one_line(value: object) -> str:
    """What moves a terminal's cursor, or paints, is written out: texts come from brokers and records, too."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(value))


def _quoted(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        return json.dumps(text)
    return text if text and " " not in text else json.dumps(text, ensure_ascii=False)
