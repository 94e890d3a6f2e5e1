"""The schemas that records name by number, as far as they are known: a bounded memory of what the registry said.

Stage `decode` of the way of a tick. A record in the registry's wire format begins with a zero byte and its writer's
schema's number in four bytes. The loop never waits for a registry: `schema_questions` asks beside it. Whoever has no
loop, as the audit, asks by `get`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tickcast.errors import UndecodableRecord

MAGIC = 0
HEADER_BYTES = 5
# Registries count in signed 32 bits, and one asked for more need not answer as a registry.
NUMBER_MAX = 2**31 - 1
# Schemas of one topic: its versions, or its events where it has many kinds.
SCHEMAS_MAX = 1_000
# Numbers that the registry does not know: those of records that only look like its own.
UNKNOWN_MAX = 10_000


class Reference(NamedTuple):
    """A schema that another one names."""

    name: str
    text: str


class Schema(NamedTuple):
    """A schema as the registry holds it; of Protobuf `text` is a file's descriptor in base64."""

    kind: str
    text: str
    references: tuple[Reference, ...] = ()  # each after those that it names


# Asks the registry for the schema of a number: None where it knows none. Raises RegistryError without an answer.
Fetch = Callable[[int], Schema | None]


class Schemas:
    """What is known of the schemas of a topic's records. Called on one thread; `fetch` may be called on any."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self._found: dict[bytes, Schema] = {}  # by the first bytes of a record
        self._unknown: dict[bytes, None] = {}

    def unsettled(self, value: bytes | None) -> int | None:
        """The number of the schema that has to be asked for before `value` can be read; None: it can be, or never."""
        if not value:
            return None
        head = value[:HEADER_BYTES]
        if head in self._found or head in self._unknown or value[0] != MAGIC or len(head) < HEADER_BYTES:
            return None
        number = int.from_bytes(head[1:])
        return number if number <= NUMBER_MAX else None

    def is_settled(self, number: int) -> bool:
        """Whether it is known what `number` is."""
        return self.unsettled(framed(number)) is None

    def get(self, number: int) -> Schema | None:
        """The schema of this number, None where the registry knows none. Asks, and waits, where it was not settled.

        Raises RegistryError without an answer.
        """
        if not self.is_settled(number):
            self.settle(number, self.fetch(number))
        return self._found.get(framed(number))

    def settle(self, number: int, schema: Schema | None) -> None:
        """The registry has said what `number` is."""
        if schema is None:
            _put(self._unknown, framed(number), None, UNKNOWN_MAX)
        else:
            _put(self._found, framed(number), schema, SCHEMAS_MAX)

    def learn(self, other: "Schemas") -> None:
        """Take over what another one knows."""
        self._found = dict(other._found)
        self._unknown = dict(other._unknown)


def number_of(value: bytes) -> int:
    """The number that `value` begins with. Raises UndecodableRecord where it is not in the registry's wire format."""
    if len(value) < HEADER_BYTES:
        raise UndecodableRecord(f"{len(value)} bytes: too short for the schema registry's wire format")
    if value[0] != MAGIC:
        raise UndecodableRecord(f"the first byte is {value[0]}, not 0: not in the schema registry's wire format")
    return int.from_bytes(value[1:HEADER_BYTES])


def framed(number: int) -> bytes:
    """What a record of schema `number` begins with."""
    return bytes([MAGIC]) + number.to_bytes(HEADER_BYTES - 1)


def _put(held: dict[bytes, Any], key: bytes, value: Any, most: int) -> None:
    """The oldest goes where there is no room."""
    if len(held) >= most and key not in held:
        del held[next(iter(held))]
    held[key] = value
