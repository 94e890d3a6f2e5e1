"""The schema of forecasts: its text, the number it has in the registry, and what readers need of those before it.

Stage `encode` of the way of a tick, before the first one.
"""

from importlib import resources

import msgspec

from tickcast import known_schemas, schema_registry
from tickcast.config import Config
from tickcast.errors import UndecodableRecord
from tickcast.known_schemas import Schema, Schemas, framed
from tickcast.schema_registry import SchemaRegistry

FOLDER = "schemas"
# `output.format` -> file, and what a registry calls the kind.
FILES = {"avro": ("forecast.avsc", "AVRO"), "protobuf": ("forecast.proto", "PROTOBUF")}


def text(output_format: str) -> str:
    """The schema by which forecasts are written, as a registry takes it."""
    return resources.files(__package__).joinpath(FOLDER, FILES[output_format][0]).read_text("utf-8")


def header(config: Config) -> bytes:
    """What each forecast begins with to name its schema; nothing without a registry. Asks it.

    Raises RegistryError without an answer, ConfigurationError where it has not the schema, or does not take it.
    """
    if not config.registry.url:
        return b""
    registry, kind = SchemaRegistry(config.registry), FILES[config.output.format][1]
    ask = registry.register if config.output.auto_register else registry.number
    return framed(ask(subject(config), kind, text(config.output.format)))


def subject(config: Config) -> str:
    """Under what the schema is registered: the registry's own default, by the name of the topic."""
    return f"{config.kafka.output_topic}-value"


def known(config: Config) -> Schemas | None:
    """The schemas that forecasts name; None where they name none."""
    if not config.registry.url:
        return None
    return Schemas(schema_registry.fetch(config.registry, config.output.format))


def named(known: Schemas, value: bytes) -> Schema:
    """The schema that a forecast names. Raises msgspec.DecodeError where it names none, RegistryError."""
    try:
        schema = known.get(known_schemas.number_of(value))
    except UndecodableRecord as error:
        raise msgspec.DecodeError(f"no forecast: {error}") from error
    if schema is None:
        raise msgspec.DecodeError("no forecast: the registry does not know its schema")
    return schema
