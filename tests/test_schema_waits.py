"""Records whose schema is not known yet: they wait for the registry, others do not, nothing is lost or doubled."""

import threading
import time
from collections.abc import Iterator

import check_codec
import pytest
from codec_formats import Avro
from daemons import wait_until
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, models_of
from structlog.testing import capture_logs
from tickcast import codec, records, schema_registry
from tickcast.clients import Committed, Partition
from tickcast.errors import RegistryError
from tickcast.known_schemas import Schema, Schemas
from tickcast.manifest import WindowRules
from toy_engine import ToyEngine

FIRST, SECOND = Partition("ticks", 0), Partition("ticks", 1)
WINDOW = 1
WARMING = 2  # ticks of a symbol before its first forecast


class Registry:
    """Answers at once, when `open` is set, or not at all."""

    def __init__(self, form: Avro) -> None:
        self.asked: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.failing = False
        self._form = form

    def fetch(self, number: int) -> Schema | None:
        self.asked.append(number)
        self.open.wait(10.0)
        if self.failing:
            raise RegistryError("http://registry: no answer")
        return self._form.known().get(number)


@pytest.fixture
def form() -> Avro:
    return Avro()


@pytest.fixture
def registry(form: Avro) -> Iterator[Registry]:
    registry = Registry(form)
    yield registry
    registry.open.set()


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def start(monkeypatch, registry: Registry, cluster: MemoryCluster):
    """`start()`: a line that reads Avro of both partitions."""
    lines: list[Line] = []

    def make(**sections) -> Line:
        config = config_with(input={"format": "avro"}, registry={"url": "http://registry"}, **sections)
        client = MemoryClient(cluster, [FIRST, SECOND])
        lines.append(Line(config, client, ToyEngine(WindowRules(window=WINDOW), ("value",))))
        return lines[-1]

    monkeypatch.setattr(schema_registry, "fetch", lambda config, form: registry.fetch)
    yield make
    for line in lines:
        line.close()


def tick(cluster: MemoryCluster, form: Avro, partition: Partition, version: int = 1) -> None:
    """Write a tick by the schema of this version."""
    at = cluster.end(partition)
    more = {f"added_{number}": 1.0 for number in range(1, version)}
    cluster.append(
        partition, form.encode({"symbol": f"S{partition.number}", "event_time_ns": at, "value": float(at), **more})
    )


def answered(line: Line, partition: Partition) -> list[int]:
    """Offsets of its forecasts, in the order they were sent."""
    sent = [records.decode(value) for topic, value, _, _ in line.client.sent if topic == "forecasts" and value]
    return [forecast.offset for forecast in sent if forecast.partition == partition.number]


def test_a_schema_that_comes_at_once_makes_nothing_wait(cluster, form, registry, start):
    for version in (1, 1, 1, 2, 1, 3, 3):
        tick(cluster, form, FIRST, version)
    line = start()
    line.turn()
    assert answered(line, FIRST) == list(range(WARMING, 7))
    assert registry.asked == [1, 2, 3]
    assert line.assembly.schema_gate.waiting_ns(line.clock.monotonic_ns()) == 0


def test_a_partition_waits_for_its_schema_and_the_other_one_does_not(cluster, form, registry, start):
    line = start()
    for partition in (FIRST, SECOND):
        for _ in range(3):
            tick(cluster, form, partition)
    line.turn()
    registry.open.clear()
    for version in (1, 2, 1):
        tick(cluster, form, FIRST, version)
    for _ in range(5):
        tick(cluster, form, SECOND)
        began_s = time.monotonic()
        line.turn()
        assert time.monotonic() - began_s < 1.0  # no call in the loop blocks over a second
    assert answered(line, SECOND) == list(range(WARMING, 8))
    assert answered(line, FIRST) == [2, 3]
    gate = line.assembly.schema_gate
    assert gate.waiting_ns(line.clock.monotonic_ns()) > 0
    assert gate.reason == "asked for schemas: 2"
    assert cluster.committed[FIRST].offset == 4
    registry.open.set()
    wait_until(lambda: line.turn() or len(answered(line, FIRST)) == 4, "the schema came")
    assert answered(line, FIRST) == [2, 3, 4, 5]
    assert registry.asked == [1, 2]
    line.turn(2)
    assert cluster.committed[FIRST].offset == 6


def test_a_registry_that_does_not_answer_is_asked_again_and_nothing_is_lost(cluster, form, registry, start):
    registry.failing = True
    line = start()
    for _ in range(5):
        tick(cluster, form, FIRST)
    with capture_logs() as logs:
        line.turn(5)
    assert answered(line, FIRST) == []
    assert cluster.committed[FIRST].offset == 0
    assert len(registry.asked) >= 2
    assert {entry["reason"] for entry in logs if entry["event"] == "schema not known yet"} == {
        "http://registry: no answer"
    }
    assert line.assembly.schema_gate.reason == "http://registry: no answer"
    assert not [topic for topic, _, _, _ in line.client.sent if topic == "dead-letters"]
    registry.failing = False
    line.turn(5)
    assert answered(line, FIRST) == [2, 3, 4]


def test_a_schema_that_the_registry_does_not_know_makes_dead_letters_and_is_asked_for_once(
    cluster, form, registry, start
):
    line = start()
    for version in (1, 1, 1):
        tick(cluster, form, FIRST, version)
        cluster.append(FIRST, b"\0\0\0\x03\xe7" + b"x" * 20)
    line.turn(3)
    letters = [dict(headers)["reason"] for topic, _, _, headers in line.client.sent if topic == "dead-letters"]
    assert letters == [b"unknown_schema"] * 3
    assert answered(line, FIRST) == [4]
    assert registry.asked == [1, 999]
    assert line.value("tickcast_dead_letters_total", "unknown_schema") == 3


def test_windows_are_rebuilt_when_the_registry_answers(cluster, form, registry, start):
    for version in (1, 1, 1, 2, 2, 1):
        tick(cluster, form, FIRST, version)
    cluster.committed[FIRST] = Committed(5, "")
    registry.failing = True
    line = start()
    with capture_logs() as logs:
        line.turn(3)
    assert [entry["error"] for entry in logs if entry["event"] == "not read back yet"]
    assert line.assembly.schema_gate.waiting_ns(line.clock.monotonic_ns()) > 0
    assert answered(line, FIRST) == []
    registry.failing = False
    line.turn(5)
    assert answered(line, FIRST) == [5]
    assert line.assembly.schema_gate.waiting_ns(line.clock.monotonic_ns()) == 0
    cluster.committed.clear()
    undisturbed = start()
    undisturbed.turn(5)
    assert answered(undisturbed, FIRST) == [2, 3, 4, 5]
    last = [records.decode(each.client.sent[-1][1] or b"").forecast for each in (line, undisturbed)]
    assert last[0] == last[1]


def test_a_partition_given_away_while_it_waits_is_left_alone(cluster, form, registry, start):
    line = start()
    tick(cluster, form, FIRST)
    registry.open.clear()
    line.turn()
    line.client.revoked_next = [FIRST]
    line.turn()
    assert line.assembly.schema_gate.waiting_ns(line.clock.monotonic_ns()) == 0
    line.client.paused = {FIRST}
    registry.open.set()
    line.turn(3)
    assert line.client.paused == {FIRST}


def test_a_partition_paused_by_the_loop_is_resumed_by_the_loop_alone(cluster, form, registry, start):
    registry.open.clear()
    line = start()
    tick(cluster, form, FIRST)
    line.turn()
    client = line.ownership._client
    client.pause([FIRST, SECOND])
    registry.open.set()
    wait_until(lambda: line.turn() or not line.assembly.schema_gate.waiting_ns(1), "the schema came")
    assert FIRST in line.client.paused
    client.resume([FIRST, SECOND])
    assert line.client.paused == set()
    for _ in range(2):
        tick(cluster, form, FIRST)
    line.turn()
    assert answered(line, FIRST) == [2]


def test_another_model_begins_with_the_schemas_that_are_known(cluster, form, registry, start):
    line = start()
    for _ in range(3):
        tick(cluster, form, FIRST)
    line.turn()
    line.assembly.swap(models_of(line.config, ToyEngine(WindowRules(window=WINDOW), ("value",))))
    tick(cluster, form, FIRST)
    line.turn()
    assert answered(line, FIRST) == [2, 3]
    assert registry.asked == [1]


def test_records_that_name_any_number_are_asked_for_a_few_at_a_time(cluster, form, registry, start):
    """And every one of them gets its letter."""
    line = start()
    for number in range(200):
        cluster.append(FIRST, b"\0" + (number + 1_000).to_bytes(4) + b"x")
    for high in (2**31, 2**32 - 1):  # no registry has so many, so none is asked
        cluster.append(FIRST, b"\0" + high.to_bytes(4) + b"x")
    line.turn(8)
    assert len([topic for topic, _, _, _ in line.client.sent if topic == "dead-letters"]) == 202
    assert sorted(registry.asked) == list(range(1_000, 1_200))


def test_formats_without_schemas_have_no_gate(cluster):
    line = Line(config_with(), MemoryClient(cluster, [FIRST]), ToyEngine(WindowRules(window=WINDOW), ("value",)))
    assert line.assembly.schema_gate is None
    assert line.assembly.models.schemas is None
    line.close()


def test_outside_of_the_loop_the_decoder_asks_by_itself(form, registry):
    value = form.encode(check_codec.FIELDS)
    decoder = codec.decoder(
        config_with().input.model_copy(update={"format": "avro"}), check_codec.COLUMNS, Schemas(registry.fetch)
    )
    assert decoder.decode(check_codec.record(value)).symbol == "ES"
    registry.failing = True
    with pytest.raises(RegistryError):
        decoder.decode(check_codec.record(b"\0\0\0\0\x09" + value[5:]))
