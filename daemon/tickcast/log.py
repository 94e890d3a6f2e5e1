"""The log: one line per event on standard error, JSON for machines, text for a terminal.

structlog with keyword values (`log.info("assigned", partitions=3)`): nothing is formatted for a level that is not
written. What libraries say through the standard library's logging comes out the same way, from warning on.
"""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from tickcast.clock import Clock
from tickcast.config import LogConfig

# kafka-python tells every fetch and heartbeat at lower levels.
LIBRARY_LEVEL = logging.WARNING

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Processor = Callable[[object, str, EventDict], EventDict]


def configure(config: LogConfig, clock: Clock, stream: TextIO = sys.stderr) -> None:
    """Set up the process's log. Called once, at the start; `get` before it gives structlog's own defaults."""
    json_wanted = config.format == "json" or (config.format == "auto" and not stream.isatty())
    level = _LEVELS[config.level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _timestamper(clock),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if json_wanted else _render_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_LibraryHandler()], level=max(level, LIBRARY_LEVEL), force=True)


def get(component: str) -> FilteringBoundLogger:
    """The log of one component; get it once, in a constructor."""
    logger: FilteringBoundLogger = structlog.get_logger(component=component)
    return logger


class _LibraryHandler(logging.Handler):
    """Passes a library's record on as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        get(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _timestamper(clock: Clock) -> Processor:
    def stamp(_logger: object, _method: str, event: EventDict) -> EventDict:
        time = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC).isoformat(timespec="milliseconds")
        return {"time": time.replace("+00:00", "Z"), **event}

    return stamp


def _render_text(_logger: object, _method: str, event: EventDict) -> str:
    """`TIME LEVEL component: event key=value ...`, on one line whatever the values hold."""
    head = f"{event.pop('time')} {event.pop('level'):<7} {event.pop('component', '-')}: {_one_line(event.pop('event'))}"
    return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in event.items())])


def _one_line(value: object) -> str:
    return str(value).replace("\n", "\\n")


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text, ensure_ascii=False)
