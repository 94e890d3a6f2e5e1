"""Tables and examples that repeat what the code says: the README's, and `systemd/example.toml`.

Beside the way of a tick. `python -m tickcast.reference FOLDER` rewrites both in a checkout; a test holds them to this.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tickcast.cli import COMMANDS
from tickcast.config import Config
from tickcast.metrics import METRICS
from tickcast.records import Forecast

README = Path("README.md")
EXAMPLE = Path("systemd/example.toml")
LINE_MAX = 110

# What the example gives the settings that have no default.
EXAMPLE_VALUES: Mapping[str, Any] = {
    "kafka.bootstrap_servers": "127.0.0.1:9092",
    "kafka.group_id": "tickcast",
    "kafka.input_topics": ["ticks"],
    "kafka.output_topic": "forecasts",
    "kafka.dead_letter_topic": "dead-letters",
    "models.bundle": "/var/lib/tickcast/bundles/example",
}

# What each field of a forecast says; `records.Forecast` has their order and types.
FORECAST_FIELDS: Mapping[str, str] = {
    "v": "version of this record: 1",
    "symbol": "the tick's symbol; also the record's key",
    "topic": "input topic of the tick",
    "partition": "its partition",
    "offset": "its offset: with topic and partition, the name of the tick that is answered",
    "event_time_ns": "event time of the tick, nanoseconds since the epoch",
    "tick_time_ns": "Kafka timestamp of the tick (whole milliseconds), in nanoseconds",
    "received_time_ns": "when the daemon had the tick in hand, wall clock",
    "sent_time_ns": "when the daemon handed the forecast to the producer, wall clock",
    "horizons": "how many sampled ticks ahead each value looks",
    "forecast": "one value per horizon: change of the mid from this tick on; of a foreign model its own target",
    "unit": "unit of the values, from the bundle",
    "reference_mid": "mid of the tick itself: add a value to it for a price; null where the bundle names no columns",
    "skipped_before": "due ticks of this symbol skipped by `lag` since its last forecast; 0 by default",
    "bundle": "`name`, `version` and `sha256` (of `manifest.json`) of the bundle that answered",
    "path": "which graphs answered; values by `finish` and `window` differ by rounding only",
    "flags": "`stale`: older than `lag.max_age_ms`; `resumed`: `skipped_before` is not known from before here",
    "bands": "`level` and `half_widths`: the share `level` of what happens is expected no farther from each value; "
    "not there where the bundle has none",
    "attention": "how much each row of the window weighed, oldest first, sum 1; only of symbols in `output.attention`",
}


def settings() -> str:
    """Every setting: key, what is allowed, default, meaning."""
    rows = []
    for key, schema in _settings():
        default = "the file's name" if key == "name" else _code(_toml(schema["default"])) if "default" in schema else ""
        rows.append((_code(key), _allowed(schema), default or "required", schema["description"]))
    return _table(("setting", "allowed", "default", "meaning"), rows)


def metrics() -> str:
    """Every metric: name, kind, labels, help."""
    rows = [(_code(metric.name), metric.kind, _labels(metric.labels), metric.help) for metric in METRICS.values()]
    return _table(("metric", "kind", "labels", "meaning"), rows)


def forecast() -> str:
    """Every field of an output record, in order."""
    schemas = msgspec.json.schema(Forecast)["$defs"]["Forecast"]["properties"]
    rows = [(_code(name), _allowed(schema), FORECAST_FIELDS[name]) for name, schema in schemas.items()]
    return _table(("field", "type", "meaning"), rows)


def commands() -> str:
    """Every subcommand, and the extra it needs."""
    rows = [(_code(f"tickcast {name}"), c.summary, _code(c.extra) if c.extra else "") for name, c in COMMANDS.items()]
    return _table(("command", "what it does", "extra"), rows)


# Name between the README's markers -> what stands there.
TABLES: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "forecast": forecast,
    "metrics": metrics,
}


def rewritten(text: str) -> str:
    """`text` with every table between its markers as the code has it. Raises ValueError where a marker is absent."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: made by `make docs` -->", f"<!-- end of {name} -->"
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"{begin} ... {end} is absent")
        text = f"{before}{begin}\n{table()}\n{end}{after}"
    return text


def example() -> str:
    """A configuration with every setting: what must be given, and as comments the defaults of all others."""
    lines = [
        "# Example configuration of `tickcast run`: every setting there is; what is commented out is its default.",
        "# `tickcast check-config --config FILE` names every mistake. TICKCAST_SECTION__KEY overrides section.key.",
    ]
    section = ""
    for key, schema in _settings():
        parent, _, name = key.rpartition(".")
        if parent != section:
            section = parent
            lines += ["", f"[[{section}]]" if section == "models" else f"[{section}]"]
        lines += _wrapped(f"{schema['description']} ({_allowed(schema).replace('`', '')})")
        if "default" in schema:
            lines.append(f"#{name} = {_toml(schema['default'])}")
        elif key in EXAMPLE_VALUES:
            lines.append(f"{name} = {_toml(EXAMPLE_VALUES[key])}")
        else:
            lines.append(f"#{name} = {_toml(EXAMPLE.stem)}")
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Rewrite the files of the checkout in `folder`."""
    readme = folder / README
    readme.write_text(rewritten(readme.read_text("utf-8")), "utf-8")
    (folder / EXAMPLE).write_text(example(), "utf-8")


def _settings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and JSON schema of every setting."""
    schema = Config.model_json_schema()
    return _settings_of("", schema, schema["$defs"])


def _settings_of(prefix: str, section: dict[str, Any], defined: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those of one section, and after them those of the sections in it."""
    inner: list[tuple[str, dict[str, Any]]] = []
    for name, part in section["properties"].items():
        reference = part.get("$ref") or part.get("items", {}).get("$ref")
        if reference is not None:
            inner.append((f"{prefix}{name}.", defined[reference.rpartition("/")[2]]))
            continue
        empty: dict[str, Any] = {"default": {}} if part.get("type") == "object" else {}
        yield f"{prefix}{name}", empty | part
    for name, part in inner:
        yield from _settings_of(name, part, defined)


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a JSON schema admits, in words."""
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "$ref" in schema:
        return "object"
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices:
        return ", ".join(_code(_toml(choice)) for choice in choices)
    match schema["type"]:
        case "integer" | "number" as kind:
            return " ".join([kind, *_range(schema)])
        case "array":
            return f"list of {_allowed(schema['items'])}" + (", at least one" if schema.get("minItems") else "")
        case "object":
            return "table of text"
        case "string" if "pattern" in schema:
            return f"text like {_code(schema['pattern'])}"
        case "string":
            kind = "path" if schema.get("format") == "path" else "text"
            return f"{kind}, not empty" if schema.get("minLength") else kind
        case other:
            return str(other)


def _range(schema: Mapping[str, Any]) -> Iterator[str]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        yield f"{least} to {most}"
    elif least is not None:
        yield f"from {least}"


def _labels(labels: Mapping[str, Sequence[str]]) -> str:
    cells = (f"{_code(name)}: {', '.join(values)}" if values else _code(name) for name, values in labels.items())
    return "; ".join(cells)


def _toml(value: Any) -> str:
    """`value` as TOML, which for these is JSON."""
    return json.dumps(value)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _wrapped(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > LINE_MAX:
            yield line
            line = "#"
        line += f" {word}"
    yield line


if __name__ == "__main__":
    main(Path(sys.argv[1]))
