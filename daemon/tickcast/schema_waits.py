"""Partitions whose next record names a schema that is not known yet: put back and paused until the registry has said.

Stage `poll` of the way of a tick, of records in the schema registry's wire format. All other partitions run on, and
nothing is lost: the record is polled again when its schema is known. Around the client and the reader, so that no other
stage knows of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from tickcast.clients import Client, Partition, Reader, RebalanceListener, Record
from tickcast.clock import Clock
from tickcast.errors import RegistryError
from tickcast.known_schemas import Schemas
from tickcast.schema_questions import SchemaQuestions

# Most answers take a few milliseconds: for them it is not worth to put records back.
ANSWER_WAIT_S = 0.1
# Between looks whether an answer is there.
LOOK_INTERVAL_S = 0.01


class SchemaWaits:
    """The partitions that wait, and for which schema. All of it is called on the loop's thread."""

    def __init__(self, questions: SchemaQuestions, clock: Clock) -> None:
        self._questions = questions
        self._clock = clock
        self._waiting: dict[Partition, int] = {}
        self._since_ns = 0

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def reason(self) -> str:
        """Why the registry has not answered."""
        numbers = ", ".join(map(str, sorted(set(self._waiting.values()))))
        return self._questions.reason or f"asked for schemas: {numbers}"

    def waiting_ns(self, now_ns: int) -> int:
        """For how long something has waited; 0 where nothing does."""
        return max(1, now_ns - self._since_ns) if self._waiting else 0

    def split(self, records: list[Record]) -> tuple[list[Record], Mapping[Partition, int]]:
        """Those of `records`, just polled, that can be decoded; and where each of the other partitions has to go on.

        A partition's records stay in order: none after the first that has to wait is taken.
        """
        unsettled = self._questions.schemas.unsettled
        wanted = [number for record in records if (number := unsettled(record.value)) is not None]
        if not wanted:
            return records, {}
        self._questions.ask(wanted, ANSWER_WAIT_S)
        kept: list[Record] = []
        offsets: dict[Partition, int] = {}
        for record in records:
            if record.partition in offsets:
                continue
            number = unsettled(record.value)
            if number is None:
                kept.append(record)
            else:
                self._wait(record.partition, number)
                offsets[record.partition] = record.offset
        return kept, offsets

    def settled(self) -> list[Partition]:
        """The partitions that wait no longer."""
        if not self._waiting:
            return []
        self._questions.ask(self._waiting.values(), 0.0)
        is_settled = self._questions.schemas.is_settled
        done = [partition for partition, number in self._waiting.items() if is_settled(number)]
        self.discard(done)
        return done

    def discard(self, partitions: Collection[Partition]) -> None:
        """`partitions` are read from elsewhere, or by somebody else."""
        for partition in partitions:
            self._waiting.pop(partition, None)

    def _wait(self, partition: Partition, number: int) -> None:
        if not self._waiting:
            self._since_ns = self._clock.monotonic_ns()
        self._waiting[partition] = number


class SchemaGate:
    """Lets records through, to the loop and to what it reads back, whose schemas are known. Asked by the loop alone."""

    def __init__(self, schemas: Schemas, clock: Clock) -> None:
        self._questions = SchemaQuestions(schemas, clock)
        self._live = SchemaWaits(self._questions, clock)
        self._read_back = SchemaWaits(self._questions, clock)

    def client(self, client: Client) -> Client:
        """`client`, whose records can all be decoded."""
        return cast(Client, _Client(client, self._live))

    def reader(self, reader: Reader) -> Reader:
        """`reader`, the same. Where none can be, its `poll` raises RegistryError."""
        return cast(Reader, _Reader(reader, self._read_back))

    def adopt(self, schemas: Schemas) -> None:
        """From now on `schemas` are what is known; they begin with what was known before."""
        self._questions.adopt(schemas)

    def waiting_ns(self, now_ns: int) -> int:
        """For how long something has waited for a schema; 0 where nothing does."""
        return max(self._live.waiting_ns(now_ns), self._read_back.waiting_ns(now_ns))

    @property
    def reason(self) -> str:
        """What is waited for."""
        return (self._live or self._read_back).reason


class _Client:
    """Whatever is not defined here goes to the client untouched."""

    def __init__(self, client: Client, waits: SchemaWaits) -> None:
        self._client = client
        self._waits = waits
        self._paused: set[Partition] = set()  # by the loop, for reasons of its own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        self._client.subscribe(topics, _Listener(listener, self._waits))

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        if self._waits:
            timeout_s = min(timeout_s, LOOK_INTERVAL_S)
            self._client.resume([partition for partition in self._waits.settled() if partition not in self._paused])
        kept, put_back = self._waits.split(self._client.poll(timeout_s, records_max))
        for partition, offset in put_back.items():
            self._client.seek(partition, offset)
        if put_back:
            self._client.pause(put_back)
        return kept

    def seek(self, partition: Partition, offset: int) -> None:
        self._waits.discard([partition])
        self._client.seek(partition, offset)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused |= set(partitions)
        self._client.pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self._paused -= set(partitions)
        self._client.resume([partition for partition in partitions if partition not in self._waits])


class _Listener:
    """Partitions that come and go wait for nothing: they come without a position."""

    def __init__(self, listener: RebalanceListener, waits: SchemaWaits) -> None:
        self._listener = listener
        self._waits = waits

    def assigned(self, partitions: Collection[Partition]) -> None:
        self._waits.discard(partitions)
        self._listener.assigned(partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        self._waits.discard(partitions)
        self._listener.revoked(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._waits.discard(partitions)
        self._listener.lost(partitions)


class _Reader:
    """Whatever is not defined here goes to the reader untouched."""

    def __init__(self, reader: Reader, waits: SchemaWaits) -> None:
        self._reader = reader
        self._waits = waits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def assign(self, partition: Partition, offset: int) -> None:
        self._waits.discard([partition])
        self._reader.assign(partition, offset)

    def drop(self, partition: Partition) -> None:
        self._waits.discard([partition])
        self._reader.drop(partition)

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        kept, put_back = self._waits.split(self._reader.poll(timeout_s, records_max))
        self._waits.discard({record.partition for record in kept} - put_back.keys())
        for partition, offset in put_back.items():
            self._reader.assign(partition, offset)
        if put_back and not kept:
            raise RegistryError(self._waits.reason)
        return kept
