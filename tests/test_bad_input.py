"""Everything that may lie in an input topic and should not, through the real broker and both clients: nothing stops."""

import gc
import gzip
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from daemons import DaemonProcess, Job
from kafka.admin import ConfigResource, ConfigResourceType
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from tickcast import clients, manifest, records
from tickcast.broker import Broker
from tickcast.clients import Partition, Record
from tickcast.manifest import WindowRules
from tickcast.windows import SymbolWindow
from toy_engine import ToyEngine

HUGE_BYTES = 10_000_000
TOPIC_BYTES_MAX = 12_000_000
DEEP = 10_000
START_NS = 1_735_806_600_000_000_000
YEAR_2200_NS = 7_258_118_400_000_000_000
STEP_NS = 20_000_000
FILLING = 40  # ticks, of each symbol: windows are full after them
SYMBOLS = ("A", "B")
INPUT = {
    "sequence": "sequence",
    "one_sided": "dead_letter",
    "crossed": "skip",
    "halted": "reset",
    "halted_path": "status.halted",
}

Headers = Sequence[tuple[str, bytes | None]]


class Sent(NamedTuple):
    """A record, and the reason with which it should be buried, if it should."""

    value: bytes | None
    reason: str | None
    key: bytes | None = b"key"
    headers: Headers = ()
    timestamp_ms: int = START_NS // 1_000_000


class Feed:
    """Ticks of two symbols in turn, each later than the one before, between them what the test is about."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._ticks = 0

    def tick(self, text: str = "", **changes: Any) -> bytes:
        """The next tick's value; `changes` to its fields, or `text` in the place of its bid."""
        self._ticks += 1
        fields = {
            "symbol": SYMBOLS[self._ticks % len(SYMBOLS)],
            "event_time_ns": START_NS + self._ticks * STEP_NS,
            "bid": 60_000 + self._ticks % 7,
            "ask": 60_010,
            "bid_size": 3,
            "ask_size": 4,
            "sequence": self._ticks,
            **changes,
        }
        value = json.dumps(fields, ensure_ascii=False)
        return (value.replace(f'"bid": {fields["bid"]}', f'"bid": {text}') if text else value).encode()

    def good(self, count: int) -> None:
        """So many ticks that nothing is wrong with."""
        self.sent += [Sent(self.tick(), None) for _ in range(count)]

    def odd(self, value: bytes, **rest: Any) -> None:
        """A tick that is odd, not bad, and two good ones of each symbol."""
        self.sent.append(Sent(value, None, **rest))
        self.good(2 * len(SYMBOLS))

    def bad(self, reason: str, value: bytes | None, **rest: Any) -> None:
        """A bad record, and a good tick of each symbol."""
        self.sent.append(Sent(value, reason, **rest))
        self.good(len(SYMBOLS))


def everything() -> list[Sent]:
    """The topic."""
    feed = Feed()
    feed.good(FILLING * len(SYMBOLS))
    nothing_wrong = [("trace", None), ("empty", b""), ("trace", b"1")]
    # bad by themselves
    feed.bad("empty", None)
    feed.bad("empty", b"")
    feed.bad("undecodable", feed.tick("NaN"))
    feed.bad("undecodable", feed.tick("-Infinity"))
    feed.bad("non_finite", feed.tick('"NaN"'))
    feed.bad("non_finite", feed.tick('"-inf"'))
    feed.bad("invalid", feed.tick("1e400"))
    feed.bad("invalid", feed.tick("9" * 400))
    feed.bad("invalid", feed.tick(event_time_ns=2**64))
    feed.bad("invalid", feed.tick(symbol=None))
    feed.bad("one_sided", feed.tick(bid=None))
    feed.bad("one_sided", feed.tick(ask_size=0))
    feed.bad("invalid", b"[" * DEEP + b"]" * DEEP)
    feed.bad("undecodable", feed.tick(more=[])[:-2] + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"]}")
    feed.bad("undecodable", feed.tick().decode().encode("utf-16"))
    feed.bad("undecodable", feed.tick(symbol="\u00fc").decode().encode("latin-1"))
    feed.bad("undecodable", b"\xef\xbb\xbf" + feed.tick())
    feed.bad("undecodable", gzip.compress(feed.tick()))
    feed.bad("oversize", feed.tick(more="x" * HUGE_BYTES), headers=nothing_wrong)
    feed.bad("oversize", b" " * HUGE_BYTES, key=None)
    feed.bad("undecodable", b"{", key=None, headers=nothing_wrong)
    feed.bad("undecodable", b"\x00\xff", key=b"\xff\xfe", headers=[("name", b"\x00" * 5_000)])
    # odd, and no error
    feed.odd(feed.tick(event_time_ns=YEAR_2200_NS))
    feed.odd(feed.tick(event_time_ns=START_NS - STEP_NS))
    feed.odd(feed.tick(event_time_ns=-(2**63)))
    feed.odd(feed.sent[-1].value or b"")
    feed.odd(feed.tick(), key=None, headers=nothing_wrong)
    feed.odd(feed.tick(), key=b"", timestamp_ms=int(time.time() * 1_000) + 600_000)
    feed.odd(feed.tick(), key=b"\xff\xfe", timestamp_ms=0)
    feed.odd(feed.tick(bid=60_010, ask=60_000))
    feed.odd(feed.tick(bid=60_010, ask=60_010))
    feed.odd(feed.tick(status={"halted": True}, bid=None))
    feed.odd(feed.tick(more={"deep": [[[[None]]]], "text": "\u20ac\u0000"}))
    feed.good(FILLING * len(SYMBOLS))
    return feed.sent


def send(broker: Broker, topic: str, sent: Sequence[Sent]) -> None:
    """Into partition 0, in order. By librdkafka: kafka-python sends no header without a value."""
    confluent_kafka = pytest.importorskip("confluent_kafka")
    settings = {"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True}
    producer = confluent_kafka.Producer({**settings, "message.max.bytes": TOPIC_BYTES_MAX})
    for value, _, key, headers, timestamp_ms in sent:
        producer.produce(topic, value, key, 0, timestamp=timestamp_ms, headers=list(headers))
    assert producer.flush(60) == 0


def allow_huge_records(broker: Broker, topic: str) -> None:
    """What the owner of a topic with such records has configured. Some are years old, and yet to be read."""
    setting = {"max.message.bytes": str(TOPIC_BYTES_MAX), "retention.ms": "-1"}
    with broker.admin() as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, setting)])


def with_rules(bundle: Path, folder: Path, **changes: Any) -> Path:
    """A copy of `bundle` in `folder`, with other window rules."""
    shutil.copytree(bundle, folder)
    found, _ = manifest.read(folder)
    rules = found.rules.model_copy(update=changes)
    changed = manifest.sealed(found.model_copy(update={"rules": rules}))
    (folder / manifest.MANIFEST_NAME).write_text(changed.model_dump_json())
    return folder


def test_bad_records_are_buried_odd_ones_accounted_for_and_the_next_tick_is_answered(
    exported: Callable[[str], Any],
    job: Callable[..., Job],
    start_daemon: Callable[..., DaemonProcess],
    broker: Broker,
    tmp_path: Path,
) -> None:
    bundle = with_rules(exported("stacked").bundle, tmp_path / "bundle", order="skip", duplicates="skip")
    first = job(bundle)
    jobs = dict(zip(clients.CLIENTS, (first, job(bundle, of=first)), strict=True))
    allow_huge_records(broker, first.input_topic)
    sent = everything()
    send(broker, first.input_topic, sent)
    answered = {}
    for client, each in jobs.items():
        daemon = start_daemon(each.config(kafka={"client": client}, input=INPUT))
        daemon.wait_ready()
        each.wait_done()
        assert daemon.stop() == 0
        whole = each.audit(input=INPUT)
        assert (whole["adds_up"], whole["missing"], whole["ticks"]) == (True, 0, len(sent))
        assert whole["skipped_by_reason"] == {"late": 3, "duplicate": 1, "crossed": 1, "halted": 1}
        check_letters(first.input_topic, each.records(each.dead_letter_topic), sent)
        answered[client] = {offset for _, offset in each.forecasts()}
        assert len(sent) - 1 in answered[client]
    assert len(set(map(frozenset, answered.values()))) == 1


def check_letters(topic: str, letters: Sequence[Record], sent: Sequence[Sent]) -> None:
    """Every bad record and none other, with reason, key, headers and bytes, all of them or what says so."""
    by_offset = {records.source_of(letter.headers)[1]: letter for letter in letters}
    assert len(by_offset) == len(letters)
    assert sorted(by_offset) == [offset for offset, each in enumerate(sent) if each.reason is not None]
    for offset, letter in by_offset.items():
        value, reason, key, headers, _ = sent[offset]
        said = dict(letter.headers)
        assert records.source_of(letter.headers) == (Partition(topic, 0), offset)
        assert said["reason"].decode() == reason, (offset, said)
        assert said["detail"]
        assert letter.key == key
        assert list(letter.headers[: len(headers)]) == [(name, value or b"") for name, value in headers]
        if value is None or len(value) < HUGE_BYTES:
            assert letter.value == value
        else:
            assert letter.value == value[:900_000]
            assert said["original-length"] == b"%d" % len(value)
            assert said["original-sha256"] == hashlib.sha256(value).hexdigest().encode()


# -- a flood of symbols, without a broker

SYMBOLS_MAX = 50
FLOOD = 3_000


def flooded(**models: Any) -> tuple[Line, int]:
    """A line that has seen a tick of A before each symbol's only one, and the most windows there were after a turn."""
    cluster, source = MemoryCluster(), Partition("ticks", 0)
    for number in range(2 * FLOOD):
        symbol = f"unknown-{number}" if number % 2 else "A"
        cluster.append(source, json.dumps({"symbol": symbol, "event_time_ns": number, "value": number % 7}).encode())
    config = config_with(recovery={"max_symbols": SYMBOLS_MAX}, **models)
    line = Line(config, MemoryClient(cluster, [source]), ToyEngine(WindowRules(window=3), ("value",)))
    most = 0
    while (state := line.ownership.states.get(source)) is None or state.position < 2 * FLOOD:
        line.turn()
        most = max(most, windows_held())
    line.turn(2)
    return line, most


@pytest.fixture
def few_objects() -> Iterator[None]:
    """Looking at all of them is quick: what other tests have left, TensorFlow's above all, is none of them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def windows_held() -> int:
    """How many there are in this process, since the test began."""
    gc.collect()
    return sum(type(each) is SymbolWindow for each in gc.get_objects())


@pytest.mark.usefixtures("few_objects")
def test_a_flood_of_unknown_symbols_is_counted_takes_no_room_and_costs_no_other_symbol_its_forecasts():
    line, most = flooded()
    (state,) = line.ownership.states.values()
    assert SYMBOLS_MAX <= most < SYMBOLS_MAX + 5
    assert len(state.windows) == SYMBOLS_MAX
    assert line.value("tickcast_symbols_evicted_total") == FLOOD + 1 - SYMBOLS_MAX
    answered = [records.decode(value).symbol for topic, value, _, _ in line.client.sent if value is not None]
    assert answered == ["A"] * (FLOOD - 4)
    line.close()


@pytest.mark.usefixtures("few_objects")
def test_a_flood_of_symbols_without_a_model_is_skipped_and_remembered_by_nobody():
    line, most = flooded(models=[{"bundle": "bundle", "symbols": ["A"]}])
    (state,) = line.ownership.states.values()
    assert most == len(state.windows) == 1
    assert line.value("tickcast_skipped_ticks_total", "no_model") == FLOOD
    assert line.value("tickcast_symbols_evicted_total") == 0
    line.close()
