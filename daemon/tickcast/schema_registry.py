"""The schema registry: what schema a number stands for, and the number of the schema that forecasts are written by.

Beside the way of a tick: every call waits for an answer, so that none is made by the loop. Through confluent-kafka's
client; what is wrong comes out as RegistryError, of which the next try may be better, or ConfigurationError.
Source: Confluent's Schema Registry REST API, which other registries speak, too.
"""

import importlib
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from tickcast import credentials
from tickcast.errors import ConfigurationError, MissingExtraError, RegistryError
from tickcast.known_schemas import Fetch, Reference, Schema
from tickcast.registry_config import RegistryConfig

EXTRA = "registry"
LIBRARY = "confluent_kafka.schema_registry"
# Schemas that one schema needs, in all.
REFERENCES_MAX = 100
# `input.format` -> how its schemas are asked for: of Protobuf a file's descriptor, as nothing here reads its source.
FORMATS: dict[str, str | None] = {"avro": None, "protobuf": "serialized"}
# The registry's own words for a number that it does not know (its error code); any other 404 is of somebody else.
SCHEMA_UNKNOWN = 40_403
SUBJECT_UNKNOWN = 40_401
UNKNOWN = frozenset({SCHEMA_UNKNOWN, SUBJECT_UNKNOWN})
# Incompatible with what is registered under the subject, or nothing that could be asked for (HTTP status).
REFUSED = frozenset({409, 422})

# What the client lets out where the answer is none of a registry's.
_NO_ANSWER = (ValueError, KeyError, TypeError, AttributeError)


class SchemaRegistry:
    """A client for the configured registry. Safe on any thread."""

    def __init__(self, config: RegistryConfig) -> None:
        """Asks nothing yet.

        Raises MissingExtraError where the library is absent, ConfigurationError where a file does not hold.
        """
        self._url = config.url
        self._settings = _settings(config)
        try:
            self._library = importlib.import_module(LIBRARY)
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"registry.url needs {error.name}: pip install 'tickcast[{EXTRA}]'") from error
        http = importlib.import_module("httpx2" if find_spec("httpx2") else "httpx")
        self._no_connection: type[Exception] = http.HTTPError
        logging.getLogger(http.__name__).setLevel(logging.WARNING)  # else a line for each request
        try:
            self._library.SchemaRegistryClient(self._settings).close()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"registry: the TLS files cannot be used: {error}") from error

    def schema(self, number: int, form: str | None) -> Schema | None:
        """The schema of this number, with all that it refers to, as `form` has it; None where there is none.

        Raises RegistryError without an answer.
        """
        with self._asking(f"schema {number}") as client:
            try:
                found = client.get_schema(number, fmt=form)
            except self._library.SchemaRegistryError as error:
                if error.error_code in UNKNOWN or error.http_status_code in REFUSED:
                    return None
                raise
            references: dict[str, Reference] = {}
            self._resolve(client, found, form, references)
            kind = found.schema_type or "AVRO"
            if len(references) > REFERENCES_MAX:
                kind = f"{kind} with more than {REFERENCES_MAX} references"  # which nobody reads
            return Schema(kind, found.schema_str, tuple(references.values()))

    def register(self, subject: str, kind: str, text: str) -> int:
        """The number of this schema under `subject`, where it is registered unless it is there already.

        Raises ConfigurationError where the registry does not take it, RegistryError without an answer.
        """
        with self._asking(f"subject {subject}") as client:
            number: int = client.register_schema(subject, self._library.Schema(text, kind))
            return number

    def number(self, subject: str, kind: str, text: str) -> int:
        """The number of this schema under `subject`.

        Raises ConfigurationError where it is not registered, RegistryError without an answer.
        """
        with self._asking(f"subject {subject}") as client:
            try:
                number: int = client.lookup_schema(subject, self._library.Schema(text, kind)).schema_id
            except self._library.SchemaRegistryError as error:
                if error.error_code not in UNKNOWN:
                    raise
                raise ConfigurationError(
                    f"registry: the schema of forecasts is not registered under {subject}; register it, or set "
                    "output.auto_register"
                ) from error
            return number

    def _resolve(self, client: Any, schema: Any, form: str | None, found: dict[str, Reference]) -> None:
        """Put all that `schema` refers to into `found`, each after what it refers to itself."""
        for reference in schema.references or ():
            if reference.name in found or len(found) > REFERENCES_MAX:
                continue
            below = client.get_version(reference.subject, reference.version, True, form).schema
            self._resolve(client, below, form, found)
            found[reference.name] = Reference(reference.name, below.schema_str)

    @contextmanager
    def _asking(self, what: str) -> Iterator[Any]:
        """The client, for one question: days may lie between two, and connections do not last so long."""
        url = self._url
        try:
            with self._library.SchemaRegistryClient(self._settings) as client:
                yield client
        except self._no_connection as error:
            raise RegistryError(f"{url}: {what}: no answer: {error or type(error).__name__}") from error
        except self._library.SchemaRegistryError as error:
            if error.http_status_code in REFUSED:
                raise ConfigurationError(f"registry: {what}: refused: {error}") from error
            raise RegistryError(f"{url}: {what}: {error}") from error
        except _NO_ANSWER as error:
            raise RegistryError(f"{url}: {what}: not the answer of a schema registry: {error!r}") from error


def fetch(config: RegistryConfig, input_format: str) -> Fetch:
    """What asks the registry for schemas of this format. Raises as `SchemaRegistry` does."""
    registry, form = SchemaRegistry(config), FORMATS[input_format]
    return lambda number: registry.schema(number, form)


def _settings(config: RegistryConfig) -> dict[str, Any]:
    """Settings of the client. Raises ConfigurationError where a file does not hold."""
    settings: dict[str, Any] = {
        "url": config.url,
        "timeout": config.timeout_ms / 1_000,
        "max.retries": 0,  # whoever asks decides whether to ask again
    }
    if config.encrypted:
        paths = ssl.get_default_verify_paths()
        settings["ssl.ca.location"] = config.ca_file or paths.cafile or paths.capath
    elif "https:" not in config.url:
        settings["ssl.ca.location"] = False  # or each client would read all that the system trusts, for nothing
    if config.certificate_file:
        settings["ssl.certificate.location"] = config.certificate_file
        key = config.key_file or config.certificate_file
        credentials.read("registry.key_file", key)  # may others read it?
        settings["ssl.key.location"] = key
    if config.key_password_file:
        settings["ssl.key.password"] = credentials.read("registry.key_password_file", config.key_password_file)
    if config.username:
        password = credentials.read("registry.password_file", config.password_file)
        settings["basic.auth.user.info"] = f"{config.username}:{password}"
    return settings
